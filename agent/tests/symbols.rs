//! Symbols of real files: made here by the system's compilers, or the system's own. Oracles are the programs themselves, which
//! print where their functions lie, and binutils.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must say so at once"
)]

mod symbols {
    mod debug_files;
    mod hostile;
    mod names;
    mod processes;
    mod returns;
    mod rig;
    mod tables;
}
