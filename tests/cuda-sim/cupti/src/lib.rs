//! Simulated `libcupti.so.12` and `libcupti.so.13`: a test double that is true to NVIDIA's where a profiler could go
//! wrong.
//!
//! Enters: calls of a CUPTI client; hooks of the simulated `libcuda` (contract: `cuda_sim_abi`); the environment variable
//! `GPU_AGENT_CUDA_SIM`. Leaves: activity records in the true layout of a selectable release, and callbacks. Refuses:
//! to work beside a real `libcuda`, and whatever the real library refuses.
//!
//! ```text
//!  client ──► entry ──► subscription, enablement, attributes ──► Hooks::wanted ──► libcuda
//!    ▲                                                                                │
//!    │ bufferCompleted                                                        hooks ◄─┘
//!  delivery ◄── worker, flush ◄── queues (buffers being filled) ◄── tracing ◄──┘
//!                                      ▲  bufferRequested              │
//!                                      └── records (layout, release) ◄─┘
//! ```
//!
//! It answers only what was subscribed and enabled: a client that forgets to enable a kind gets no records of it.
//! What it simulates, and what not, stands in `tests/cuda-sim/README.md`.

#![allow(
    unsafe_code,
    reason = "a C library: raw pointers of its clients, the driver's and the client's functions"
)]
#![allow(non_snake_case, reason = "exported functions have NVIDIA's names")]

mod attributes;
mod buffer;
mod callback_data;
mod callback_names;
mod clock;
mod delivery;
mod driver;
mod enablement;
mod faults;
mod handles;
mod hooks;
mod in_flight;
mod layout;
mod locks;
mod queues;
mod records;
mod release;
mod session;
mod subscription;
mod thread;
mod tracing;
mod worker;

pub mod entry;
pub mod kind;
pub mod status;

pub use clock::TimestampCallback;
pub use queues::{BufferCompleted, BufferRequested};
pub use session::begin_session;
pub use subscription::{CallbackFunction, Subscriber};
