//! Link arguments of the shared library. Enters: nothing. Leaves: flags for the linker. Refuses: nothing.

fn main() {
    // CUPTI keeps pointers into the library for good, so `dlclose` must not unmap it.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libgpu_agent_cupti.so");
    println!("cargo::rerun-if-changed=build.rs");
}
