//! The agent against other processes: honest ones, dying ones, hostile ones, and a second agent.
//!
//! A check that needs root or another user is skipped without, with a line that says so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must say so at once"
)]

mod targets {
    mod agents;
    mod honest;
    mod namespaces;
    mod refusals;
    mod rig;
}
