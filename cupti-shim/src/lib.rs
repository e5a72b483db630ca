//! The CUPTI shim: a library inside the target process that moves CUPTI's activity records into shared memory.
//!
//! Enters: activity buffers of whatever CUPTI 11.8 to 13.5 the process uses; the wishes of an agent, through a control
//! page. Leaves: ring records (`gpu-agent-ring`), state and counters. Refuses: to harm the process it is in. It never
//! blocks, prints, panics across C, or allocates without bound; it has nothing enabled unless an agent holds a lease;
//! after the first error of CUPTI it undoes everything and stays quiet.
//!
//! ```text
//!  LD_PRELOAD ─► constructor ── CUDA_INJECTION64_PATH ──► cuInit ─► InitializeInjection          [entry]
//!                                                                        │ ring, control page     [shim]
//!                                                                        ▼ one thread
//!   agent ── lease, kinds ──► control page ──► dormant ⇄ armed, yielded, detached, …     [session, phase]
//!                                                 │ arm: find libcupti, subscribe, enable  [locate, arming]
//!                                                 ▼
//!   CUPTI ── buffer, please ──► a free one                                        [trampolines, buffer_pool]
//!         ── here it is back ─► queue ─► one thread at a time ─► ring record, name    [outlet, activity]
//!         ── a graph was made ─► its number; a call has ended ─► CUPTI goes           [graphs, finalize]
//! ```
//!
//! Dormant, it is one thread asleep in a futex and 7 MiB of untouched address space: CUPTI is not even loaded, so a
//! launch makes no system call and no jump more than without it.
//!
//! The environment variables are in [`mod@env`].

pub mod activity;
pub mod arming;
pub mod buffer_pool;
pub mod entry;
pub mod env;
pub mod finalize;
pub mod flushing;
pub mod graphs;
pub mod hooks;
pub mod locate;
pub mod outlet;
pub mod phase;
pub mod session;
pub mod shim;
pub mod trampolines;
