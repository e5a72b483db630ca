//! Names of C++ and Rust.

use super::rig::{Workshop, all, demangled, exact, names, one, open};

#[test]
fn functions_of_cpp_are_found_by_their_demangled_names() {
    let workshop = Workshop::new();
    let source = r#"
        #include <string>
        #include <vector>
        namespace engine {
        struct Tensor { int x; };
        template <typename T> struct Cache {
            __attribute__((noinline)) int append(const Tensor &t, T s) { return t.x + (int)s; }
            int operator()(int x) { return x; }
        };
        template struct Cache<float>;
        template struct Cache<std::vector<int>::size_type>;
        int decode(int) { return 1; }
        int decode(const std::string &text, std::vector<Tensor> &out) { return (int)text.size() + (int)out.size(); }
        namespace { __attribute__((noinline, used)) int secret(Tensor *t) { return t->x; } }
        }
    "#;
    let image = open(&workshop.compile("c++", ("l.cc", source), "l.so", &["-shared", "-fPIC", "-O0"]));
    assert_eq!(all(&image, demangled("engine::decode")).len(), 2);
    assert_eq!(&*one(&image, demangled("engine::decode(int)")).raw, "_ZN6engine6decodeEi");
    assert_eq!(all(&image, demangled("engine::decode(std::*string*, *)")).len(), 1);
    assert_eq!(all(&image, demangled("engine::Cache<*>::append")).len(), 2);
    assert_eq!(
        &*one(&image, demangled("engine::Cache<float>::append")).demangled,
        "engine::Cache<float>::append"
    );
    assert_eq!(all(&image, demangled("engine::Cache<float>::operator()")).len(), 1);
    assert_eq!(
        &*one(&image, demangled("engine::(anonymous namespace)::secret")).demangled,
        "engine::(anonymous namespace)::secret"
    );
    assert_eq!(all(&image, demangled("*::secret(engine::Tensor*)")).len(), 1);
    assert!(all(&image, demangled("decode")).is_empty() && all(&image, exact("engine::decode")).is_empty());
}

const RUST: &str = r#"
    pub mod cache {
        pub struct KvCache(pub u32);
        impl KvCache {
            #[inline(never)]
            pub fn append(&mut self, more: u32) -> u32 { self.0 = self.0.wrapping_mul(more); std::hint::black_box(self.0) }
        }
        pub trait Backend { fn run(&self) -> u32; }
        impl Backend for KvCache {
            #[inline(never)]
            fn run(&self) -> u32 { std::hint::black_box(self.0) + 1 }
        }
        #[inline(never)]
        pub fn generic<T: Copy + Into<u64>>(value: T) -> u64 { std::hint::black_box(value).into() * 3 }
    }
    fn main() {
        use cache::Backend;
        let mut cache = cache::KvCache(std::env::args().count() as u32);
        println!("{} {} {}", cache.append(5), cache.run(), cache::generic(3_u32));
    }
"#;

#[test]
fn functions_of_rust_are_found_whatever_their_hashes() {
    let workshop = Workshop::new();
    for (scheme, append, run, generic) in [
        (
            "legacy",
            "engine::cache::KvCache::append",
            "<engine::cache::KvCache as engine::cache::Backend>::run",
            "engine::cache::generic",
        ),
        (
            "v0",
            "<engine::cache::KvCache>::append",
            "<engine::cache::KvCache as engine::cache::Backend>::run",
            "engine::cache::generic::<u32>",
        ),
    ] {
        // Without `-Z unstable-options` the legacy scheme can be had from some compilers only; v0 from all.
        let mangling = format!("symbol-mangling-version={scheme}");
        let options = ["--crate-name", "engine", "-O", "-C", &mangling, "-Z", "unstable-options"];
        workshop.write("main.rs", RUST);
        let arguments = [&["RUSTC_BOOTSTRAP=1", "rustc", "main.rs", "-o", scheme][..], &options].concat();
        workshop.run("env", &arguments);
        let image = open(&workshop.path(scheme));
        for glob in [append, run, generic, "*KvCache*::append", "*Backend>::run"] {
            let found = names(&image, demangled(glob));
            assert_eq!(found.len(), 1, "{glob}, {scheme}: {found:?}");
            assert_eq!(found[0].starts_with("_R"), scheme == "v0", "{found:?}");
        }
    }
}
