//! Reference CUDA kernels of LLM inference, three times: as CUDA C++ (`cuda/`, compiled to `ptx/`), as what the
//! simulated device runs ([`device`]), and as the definition both are measured against ([`mod@reference`]).
//!
//! ```text
//!  cuda/*.cu ──tools/build-ptx.sh──► ptx/*.ptx ──┐
//!                                                ▼
//!  workload, bench ──► launch::entry, dense ──► libcuda ──► a GPU
//!        │                    │                    └──────► the simulated device ──► device
//!        ▼                    ▼ counts every call                                      ▲
//!      plan ──── equal? ──── tally                      tests hold it to ──── reference
//! ```
//!
//! [`kernel`] is the closed list of what exists and how it is named. All that needs no CUDA driver is a crate of its
//! own, `gpu-agent-kernels-cpu`, which the simulated driver links.

pub mod bench;
pub mod launch;
pub mod program;
mod random;
pub mod tally;
pub mod workload;

pub use gpu_agent_kernels_cpu::{device, element, kernel, reference};
