//! Reference CUDA kernels, their launchers and their CPU references.
