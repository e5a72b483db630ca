//! The workload and the benchmark end to end, on the simulated driver. Where that is not built, every test here
//! prints `skipped: why`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops where its expectations do not hold"
)]

#[path = "simulated/bench.rs"]
mod bench;
#[path = "simulated/program.rs"]
mod program;
#[path = "simulated/workload.rs"]
mod workload;
