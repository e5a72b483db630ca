//! The shim in real processes, on the simulated CUDA libraries.
//!
//! Enters: a C program that knows nothing of the shim (`tests/target/target.c`), the shim as it is shipped, the
//! simulator's ways to fail. Leaves: exact counts. Refuses: nothing is skipped; needs a C compiler and Linux.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test binary: a panic is how it fails, and nobody imports it"
)]

mod arming;
mod counts;
mod dormancy;
mod endings;
mod faults;
mod forks;
mod graphs;
mod letting_go;
mod target;
