//! Reference CUDA kernels, their launchers and their CPU references.

pub mod device;
pub mod element;
pub mod kernel;
#[cfg(feature = "launch")]
pub mod launch;
#[cfg(feature = "launch")]
pub mod program;
pub mod reference;
pub mod tally;
#[cfg(feature = "launch")]
pub mod workload;
