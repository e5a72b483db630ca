//! Reference CUDA kernels, their launchers and their CPU references.

pub mod device;
pub mod element;
