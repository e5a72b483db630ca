//! Gives the cdylib NVIDIA's soname, so that the dynamic linker takes it for the copy of libcupti that a program
//! needs, and keeps it mapped, for libcuda holds pointers into it. Enters: nothing. Leaves: two linker arguments.
//! Refuses: nothing.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcupti.so.12");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
