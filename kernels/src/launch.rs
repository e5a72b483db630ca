//! Launching the kernels through the CUDA driver, and the driver objects that this takes.
//!
//! ```text
//! entry    extern "C" entry points with the argument lists of mistral.rs 0.8; where probes attach
//! dense    rms_norm and gemm, with checked shapes
//! swap     swap_blocks: copies of cache blocks between device and host
//! module   PTX modules per context, functions by kernel, the one call of cuLaunchKernel
//! runtime  device, context, stream, event
//! buffer   device and pinned host memory
//! graph    stream capture and replay
//! ```
//!
//! It stands on `cudarc::driver::result`, not on cudarc's safe layer: that one adds events, allocations and copies
//! of its own, and here every call must be accounted for in [`crate::tally`].

pub mod buffer;
pub mod dense;
pub mod entry;
mod error;
pub mod graph;
mod module;
pub mod runtime;
pub mod swap;

pub use error::LaunchError;
pub use module::preload;
