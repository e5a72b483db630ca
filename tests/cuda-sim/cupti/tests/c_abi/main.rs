//! The simulated CUPTI through its C functions, on a mock of the simulated `libcuda`.
//!
//! Enters: work reported by the mock. Leaves: assertions about what a client gets. Refuses: to look inside; offsets here
//! are numbers from NVIDIA's headers, not this crate's.

#![allow(unsafe_code, reason = "calls C functions as a client does")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod buffers;
mod callbacks;
mod child;
mod client;
mod enabling;
mod every_kind;
mod exports;
mod faults;
mod generations;
mod mock;
mod real_library;
mod real_walk;
mod records;
mod sessions;

/// `CUpti_ActivityKernel4` and later: `start`, `end`, `correlationId`.
const KERNEL_START: usize = 16;
const KERNEL_END: usize = 24;
const KERNEL_CORRELATION: usize = 92;
/// Bytes of `CUpti_ActivityKernel9`.
const KERNEL9: usize = 208;

/// Correlation ids of kernel records, in order.
fn correlations(records: &[client::Record]) -> Vec<u32> {
    records.iter().map(|record| record.u32(KERNEL_CORRELATION)).collect()
}
