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
//! [`kernel`] is the closed list of what exists and how it is named. The feature `launch` (on by default) is all
//! that needs a CUDA driver; without it the crate is what the simulated driver links.

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
