//! Keeps the library mapped once it is loaded: CUPTI's own thread calls into it for as long as the process lives.
//! Enters: nothing. Leaves: one linker argument. Refuses: nothing.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
