//! Reference CUDA kernels, their launchers and their CPU references.

#[cfg(feature = "launch")]
pub mod bench;
pub mod device;
pub mod element;
pub mod kernel;
#[cfg(feature = "launch")]
pub mod launch;
#[cfg(feature = "launch")]
pub mod program;
#[cfg(feature = "launch")]
mod random;
pub mod reference;
pub mod tally;
#[cfg(feature = "launch")]
pub mod workload;
