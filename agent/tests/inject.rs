//! The shim's way into processes that run: busy ones, odd ones, ones that forbid it, and agents that die half-way.
//!
//! What is loaded here is a library that only counts, into a C program that watches itself. ptrace needs root, or the same
//! user and no Yama; a check that needs more says `skipped: why` where it cannot run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must say so at once"
)]

mod inject {
    mod busy;
    mod containers;
    mod endings;
    mod limits;
    mod namespaces;
    mod refusals;
    mod rig;
    mod stops;
}
