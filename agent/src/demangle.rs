//! From a mangled name to one that people can read, of bounded length.
//!
//! Enters: a linker's name: Itanium C++, Rust (v0 and legacy) or plain. Leaves: the demangled name, with or without parameters,
//! never with a return type, a Rust hash or a crate's disambiguator. Refuses: to let a name grow. A crafted name of 8 KiB can
//! demangle to gigabytes; output ends at 16 KiB, and what does not fit stays as it came.

use std::fmt::Write;

use cpp_demangle::{BorrowedSymbol, DemangleOptions};

/// Longest demangled name, bytes.
const FULL_BYTES: usize = 16 * 1024;

/// The demangled name, without return type and parameters; `raw` itself where it is not mangled.
#[must_use]
pub fn name(raw: &str) -> String {
    let options = DemangleOptions::new().no_params().no_return_type();
    demangled(raw, &options).unwrap_or_else(|| raw.to_owned())
}

/// The demangled name with its parameters, without return type; `raw` itself where it is not mangled. Rust's names hold no
/// parameters.
#[must_use]
pub fn signature(raw: &str) -> String {
    demangled(raw, &DemangleOptions::new().no_return_type()).unwrap_or_else(|| raw.to_owned())
}

fn demangled(raw: &str, options: &DemangleOptions) -> Option<String> {
    let mut out = Bounded(String::new());
    if is_rust(raw) {
        let symbol = rustc_demangle::try_demangle(raw).ok()?;
        write!(out, "{symbol:#}").ok()?;
    } else if raw.starts_with("_Z") {
        let symbol = BorrowedSymbol::new(raw.as_bytes()).ok()?;
        symbol.structured_demangle(&mut out, options).ok()?;
    } else {
        return None;
    }
    Some(out.0)
}

/// Whether rustc mangled `raw`: by the v0 scheme, or by the legacy one, whose names are Itanium's with a hash at the end.
fn is_rust(raw: &str) -> bool {
    let has_hash = || {
        let (path, hash) = raw.strip_suffix('E')?.split_at_checked(raw.len().checked_sub(20)?)?;
        let digits = hash.strip_prefix("17h")?;
        Some(path.starts_with("_ZN") && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
    };
    raw.starts_with("_R") || has_hash() == Some(true)
}

/// A string that refuses to grow past [`FULL_BYTES`].
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.0.len() + text.len() > FULL_BYTES {
            return Err(std::fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{FULL_BYTES, name, signature};

    #[test]
    fn plain_names_stay() {
        assert_eq!(name("paged_attention_v1_f16_h128_b16"), "paged_attention_v1_f16_h128_b16");
        assert_eq!(name(""), "");
    }

    #[test]
    fn a_template_loses_return_type_and_parameters() {
        let raw = "_ZN4vllm15rms_norm_kernelIN3c104HalfELi8EEEvPT_PKS3_lS6_fii";
        assert_eq!(name(raw), "vllm::rms_norm_kernel<c10::Half, 8>");
        assert!(
            signature(raw).starts_with("vllm::rms_norm_kernel<c10::Half, 8>(c10::Half*, "),
            "{}",
            signature(raw)
        );
    }

    #[test]
    fn rust_names_lose_their_hash() {
        let v0 = "_RNvMNtCsec7i7NdmX3A_14mistralrs_core8kv_cacheNtB2_7KvCache6append";
        assert_eq!(name(v0), "<mistralrs_core::kv_cache::KvCache>::append");
        let legacy = "_ZN14mistralrs_core8kv_cache7KvCache6append17h0123456789abcdefE";
        assert_eq!(name(legacy), "mistralrs_core::kv_cache::KvCache::append");
    }

    #[test]
    fn a_name_that_explodes_stays_as_it_came() {
        // Each substitution doubles the text before it.
        let mut raw = String::from("_Z1fI1aE");
        for _ in 0..200 {
            raw.push_str("S_S_");
        }
        assert!(name(&raw).len() <= FULL_BYTES);
    }

    proptest::proptest! {
        #[test]
        fn anything_that_looks_mangled_has_a_bounded_name(scheme in "_Z|_ZN|_R", tail in "[A-Za-z0-9_]{0,300}") {
            let raw = format!("{scheme}{tail}");
            proptest::prop_assert!(name(&raw).len() <= FULL_BYTES && signature(&raw).len() <= FULL_BYTES);
        }
    }
}
