//! The table: what a person at a terminal sees.
//!
//! Enters: snapshots and the states of targets. Leaves: text. Refuses: to pass over losses, and to show numbers of a
//! simulated device without saying so.

mod calls;
mod model;
mod render;

pub use model::Table;

/// Lines for kernels, at most; the rest is summed up in one.
const KERNEL_ROWS: usize = 24;
/// Lines for entry points, at most; likewise.
const CALL_ROWS: usize = 16;
