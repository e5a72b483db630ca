//! Processes that mean harm to who looks into them: `doctor --pid` and `attach --inject auto` come to an end, in bounded time and
//! memory, with words; and the process lives on.
//!
//! The process is a small C program; what it maps is made here. ptrace needs root, or the same user and no Yama.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must say so at once"
)]

mod hostile {
    mod files;
    mod killed;
    mod mappings;
    mod rig;
}
