//! The simulated device's kernels against the references, over random shapes: GQA, partial last blocks, contexts
//! from one token on, shuffled block tables, caches whose unused slots hold NaN. Tolerances are those of
//! `reference::tolerance`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops where its expectations do not hold"
)]
#![allow(unsafe_code, reason = "kernels are run as the driver runs them, through raw parameters")]

#[path = "device_kernels/attention.rs"]
mod attention;
#[path = "device_kernels/cache.rs"]
mod cache;
#[path = "device_kernels/dense.rs"]
mod dense;
#[path = "device_kernels/launch.rs"]
mod launch;
