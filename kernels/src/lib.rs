//! Reference CUDA kernels, their launchers and their CPU references.

pub mod device;
pub mod element;
pub mod kernel;
pub mod reference;
pub mod tally;
