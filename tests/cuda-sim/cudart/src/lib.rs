//! Simulated `libcudart.so.12` and `libcudart.so.13`: the CUDA runtime API for programs that link it dynamically.
//!
//! Enters: runtime calls of a C, C++ or nvcc-made program. Leaves: driver calls of the simulated `libcuda.so.1`,
//! announced so that both and the device work share a correlation id. Refuses: NVIDIA's `libcuda` (this library finds
//! the simulator's contract in it, or fails every call with `cudaErrorInsufficientDriver`).
//!
//! ```text
//!  program ─► entry/* ─► call ─► binding (device of the thread) ─► driver (dlopen libcuda.so.1)
//!                │         └── runtime_enter / runtime_exit ──────────┘
//!                └─► registration: what nvcc's start-up code registers: images, kernels, variables
//! ```

mod binding;
mod call;
mod cbid;
mod driver;
mod entry;
mod error;
mod failure;
mod registration;
