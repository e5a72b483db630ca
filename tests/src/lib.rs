//! The whole pipeline, held against what a program says it did.
//!
//! ```text
//! gpu-agent-workload ──► its own exact counts ─────────────────────────► GroundTruth ┐
//!   │ libcuda, libcupti: simulated                                                    ├─► compare
//!   │ shim ─► ring ─► gpu-agent ─► Prometheus ─► scrape ─► Observed ─────────────────┤
//!                        ├───────► OTLP ──► otlp_receiver.py ─► Observed ────────────┤
//!                        └───────► JSON lines ─► file ─► Observed ───────────────────┘
//! ```
//!
//! Enters: programs that `tests/tools/build.sh` has built, settings of the simulated device. Leaves: what was done, what
//! each exporter said of it, and every difference that no loss counter explains. Refuses: to compare numbers that the
//! agent's own crates have parsed; all three outputs are read independently here.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test harness: any failure must end the test, with words"
)]

pub mod agent;
pub mod alone;
pub mod bare;
pub mod cudarc;
pub mod engine;
pub mod entry_points;
pub mod ground_truth;
pub mod json_log;
pub mod observed;
pub mod otlp;
pub mod probed;
pub mod process;
pub mod programs;
pub mod prometheus;
pub mod workload;

pub use agent::Agent;
pub use alone::alone;
pub use ground_truth::GroundTruth;
pub use observed::{Observed, Volume};
pub use workload::Workload;
