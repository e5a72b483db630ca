//! Gives the simulated driver the soname of the real one, and keeps it mapped once loaded: its stream threads run
//! code of this library for as long as the process lives.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcuda.so.1,-z,nodelete");
}
