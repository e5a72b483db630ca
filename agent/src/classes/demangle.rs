//! From a mangled kernel name to one that people can read, of bounded length.
//!
//! Enters: a name as CUPTI gives it: Itanium C++, Rust or plain. Leaves: the demangled name without return type and
//! parameters, and a short form of it. Refuses: to let a name grow. A crafted name of 8 KiB can demangle to
//! gigabytes; output ends at [`FULL_BYTES`], and what does not fit stays as it came.

use std::fmt::Write;

use cpp_demangle::{BorrowedSymbol, DemangleOptions};

/// Longest short form, characters.
pub const DISPLAY_CHARS: usize = 128;
/// Longest demangled name, bytes.
const FULL_BYTES: usize = 16 * 1024;
/// Characters of the mark that tells shortened names apart: `#` and 32 bits in hexadecimal.
const MARK_CHARS: usize = 9;
/// Operators made of characters that otherwise open or close template arguments, the longest first.
const OPERATORS: [&str; 11] = ["<=>", "<<=", ">>=", "->*", "<<", ">>", "<=", ">=", "->", "<", ">"];

/// The demangled name, without return type and parameters; `raw` itself where it is not mangled.
#[must_use]
pub(super) fn full_name(raw: &str) -> String {
    let mut out = Bounded(String::new());
    if let Ok(symbol) = BorrowedSymbol::new(raw.as_bytes()) {
        let options = DemangleOptions::new().no_params().no_return_type();
        if symbol.structured_demangle(&mut out, &options).is_ok() {
            return out.0;
        }
    } else if let Ok(symbol) = rustc_demangle::try_demangle(raw)
        && write!(out, "{symbol:#}").is_ok()
    {
        return out.0;
    }
    raw.to_owned()
}

/// The short form of a name: at most [`DISPLAY_CHARS`] characters.
///
/// Template arguments give way first, the innermost before the outermost, then the end of the name. A name that lost
/// anything ends in a mark made of `raw`, so that two kernels never share a short form, in this run or another.
#[must_use]
pub(super) fn display_name(raw: &str, full: &str) -> String {
    let full = full.strip_prefix("void ").unwrap_or(full);
    if full.chars().count() <= DISPLAY_CHARS {
        return full.to_owned();
    }
    let room = DISPLAY_CHARS - MARK_CHARS;
    let mut short = [2, 1]
        .into_iter()
        .map(|depth| fold_arguments(full, depth))
        .find(|short| short.chars().count() <= room)
        .unwrap_or_else(|| fold_arguments(full, 1).chars().take(room).collect());
    // Infallible: a String takes any text.
    let _ = write!(short, "#{:08x}", mark(raw));
    short
}

/// Replaces what lies `depth` or more template brackets deep by one ellipsis a bracket.
fn fold_arguments(name: &str, depth: usize) -> String {
    let mut out = String::with_capacity(name.len());
    let mut level = 0_usize;
    let mut rest = name;
    while let Some(character) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("operator") {
            let symbol =
                OPERATORS.iter().find(|symbol| after.starts_with(**symbol)).map_or(0, |symbol| symbol.len());
            let (operator, tail) = rest.split_at("operator".len() + symbol);
            if level < depth {
                out.push_str(operator);
            }
            rest = tail;
            continue;
        }
        rest = rest.get(character.len_utf8()..).unwrap_or_default();
        match character {
            '<' => {
                level += 1;
                if level <= depth {
                    out.push('<');
                }
                if level == depth {
                    out.push('…');
                }
            }
            '>' => {
                if level > 0 && level <= depth {
                    out.push('>');
                }
                level = level.saturating_sub(1);
            }
            _ if level < depth => out.push(character),
            _ => {}
        }
    }
    out
}

/// FNV-1a, 32 bits.
fn mark(raw: &str) -> u32 {
    raw.bytes().fold(0x811C_9DC5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
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
    use super::{DISPLAY_CHARS, display_name, fold_arguments, full_name};

    #[test]
    fn plain_names_stay() {
        assert_eq!(full_name("paged_attention_v1_f16_h128_b16"), "paged_attention_v1_f16_h128_b16");
        assert_eq!(full_name(""), "");
    }

    #[test]
    fn a_template_loses_return_type_and_parameters() {
        let raw = "_ZN4vllm15rms_norm_kernelIN3c104HalfELi8EEEvPT_PKS3_lS6_fii";
        assert_eq!(full_name(raw), "vllm::rms_norm_kernel<c10::Half, 8>");
    }

    #[test]
    fn rust_names_lose_their_hash() {
        let raw = "_RNvMNtCsec7i7NdmX3A_14mistralrs_core8kv_cacheNtB2_7KvCache6append";
        assert_eq!(full_name(raw), "<mistralrs_core::kv_cache::KvCache>::append");
    }

    #[test]
    fn arguments_fold_from_the_inside() {
        assert_eq!(fold_arguments("a::k<b<c, d<e>>, f>::g", 2), "a::k<b<…>, f>::g");
        assert_eq!(fold_arguments("a::k<b<c, d<e>>, f>::g", 1), "a::k<…>::g");
        assert_eq!(fold_arguments("a::operator<<<b>", 1), "a::operator<<<…>", "an operator opens nothing");
    }

    #[test]
    fn short_names_are_shown_whole_and_long_ones_are_told_apart() {
        let long = |last: &str| format!("kernel<{}, {last}>", "argument, ".repeat(40));
        let (first, second) = (long("1"), long("2"));
        assert_eq!(display_name("k", "kernel<1>"), "kernel<1>");
        let shown = display_name(&first, &first);
        assert!(shown.starts_with("kernel<…>#") && shown.chars().count() <= DISPLAY_CHARS, "{shown}");
        assert_ne!(shown, display_name(&second, &second));
    }

    #[test]
    fn a_name_that_explodes_stays_as_it_came() {
        // Each substitution doubles the text before it.
        let mut raw = String::from("_Z1fI1aE");
        for _ in 0..200 {
            raw.push_str("S_S_");
        }
        assert!(full_name(&raw).len() <= 16 * 1024);
        let plain = "x".repeat(8192);
        assert_eq!(display_name(&plain, &plain).chars().count(), DISPLAY_CHARS);
    }

    proptest::proptest! {
        #[test]
        fn any_text_has_a_bounded_short_form(raw in ".{0,400}") {
            let full = full_name(&raw);
            proptest::prop_assert!(display_name(&raw, &full).chars().count() <= DISPLAY_CHARS);
        }

        #[test]
        fn anything_that_looks_mangled_has_one_too(tail in "[A-Za-z0-9_]{0,300}") {
            let raw = format!("_Z{tail}");
            proptest::prop_assert!(display_name(&raw, &full_name(&raw)).chars().count() <= DISPLAY_CHARS);
        }
    }
}
