//! Simulated `libcuda.so.1`: the CUDA driver API on a machine without a GPU.
//!
//! Enters: calls of the driver API, and the environment variable `GPU_AGENT_CUDA_SIM`. Leaves: true status codes,
//! device memory that is host memory, work done in stream order, and for the simulated CUPTI a report of every call
//! and every piece of work. Refuses: NVIDIA's private tables, what `tests/cuda-sim/README.md` lists as not simulated,
//! and to bring its process down.
//!
//! ```text
//!  program ─► export/*  ─► call ──────────────────────────────► hooks ─► libcupti
//!                │          (status, fork, failures, panics)       ▲
//!                ▼                                                 │
//!         context · memory · module · event · graph · capture      │
//!                │                                                 │
//!                ▼                                                 │
//!             stream ─queue─► its thread ─► work: kernel, copy, ───┘
//!                                           event, host function, graph
//! ```

mod call;
mod capture;
mod cbid;
mod clock;
mod context;
mod contract;
mod copy;
mod device;
mod error;
mod event;
mod export;
mod failure;
mod ffi;
mod graph;
mod hooks;
mod kernel;
mod known;
mod memory;
mod module;
mod occupancy;
mod ptx;
mod state;
mod stream;
mod sync;
mod table;
mod work;
