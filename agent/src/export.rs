//! How series and events leave the agent.
//!
//! Enters: snapshots (pulled through [`SnapshotSource`], cumulative, never modified) and events (pushed through
//! [`EventSender`], bounded). Leaves: Prometheus exposition, OTLP metrics, JSON lines. Refuses: to slow the pipeline
//! down. A scrape or a push takes one snapshot and then works on its own copy; an event that finds the queue full is
//! dropped and counted; an endpoint that is gone costs one pending snapshot at most.
//!
//! ```text
//!                       ┌── scrape ──► prometheus   text, OpenMetrics, protobuf (native histograms)
//!  SnapshotSource ──────┼── period ──► otlp         gRPC or HTTP/protobuf, any [`PushExporter`]
//!  (core)               └── period ─┐
//!  EventSender ─ bounded queue ─────┴► json_log     one object a line, stdout or file
//! ```
//!
//! Each exporter owns its `Options` (what a user may say), its `Config` (what that means) and its `build()`;
//! [`Config::build`] composes them, [`Exporters::start`] sets them going, [`Running::shutdown`] flushes them.
//! A new push exporter implements [`PushExporter`] and is given to [`push::spawn`].

use std::sync::Arc;

use crate::aggregate::snapshot::Snapshot;
use crate::event::{DeviceId, NameId, Pid, TargetId};

pub mod stats;

pub use stats::ExportStats;

/// Where exporters take their points from. Must return quickly: it holds the aggregate's lock.
pub trait SnapshotSource: Send + Sync + 'static {
    /// Every instrument's points now, cumulative.
    fn snapshot(&self) -> Arc<Snapshot>;
}

/// What a per-event line says about the ids in an event. `None` = not known (yet); the line then leaves the fields out.
pub trait Directory: Send + Sync + 'static {
    /// The target process.
    fn target(&self, target: TargetId) -> Option<Arc<TargetInfo>>;
    /// A kernel name of that target.
    fn kernel(&self, target: TargetId, name: NameId) -> Option<Arc<KernelInfo>>;
    /// A device, by its ordinal in that target.
    fn device(&self, target: TargetId, device: DeviceId) -> Option<Arc<DeviceInfo>>;
    /// Name of an API function, by CUPTI callback id.
    fn api(&self, is_runtime: bool, cbid: u32) -> Option<&'static str>;
    /// CLOCK_MONOTONIC nanoseconds to Unix nanoseconds.
    fn unix_ns(&self, ktime_ns: u64) -> u64;
}

/// A target process, as log lines name it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TargetInfo {
    /// Process id in the agent's pid namespace.
    pub pid: Pid,
    /// Base name of its executable.
    pub executable: String,
    /// Whether its device is the simulated one.
    pub simulated: bool,
}

/// A kernel name, as log lines name it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KernelInfo {
    /// Demangled name.
    pub name: String,
    /// Class, as in the attribute `kernel.class`.
    pub class: String,
    /// For paged attention: whether it is the v1 kernel.
    pub use_v1: Option<bool>,
}

/// A device, as log lines name it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceInfo {
    /// As in the attribute that names the GPU: `GPU-xxxxxxxx-…`.
    pub gpu: String,
    /// Model, e.g. `NVIDIA H200`.
    pub model: String,
}

/// Answers `/healthz` and `/readyz`.
pub trait Health: Send + Sync + 'static {
    /// Whether the agent itself works (its threads live, its pipeline moves).
    fn live(&self) -> Verdict;
    /// Whether it delivers what it was asked for (sources up, at least one target where one was named).
    fn ready(&self) -> Verdict;
}

/// An answer to a health probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// HTTP 200, else 503.
    pub ok: bool,
    /// The body: for people, one line a component.
    pub detail: String,
}

/// What the core gives the exporters.
#[derive(Clone)]
pub struct Wiring {
    /// Series.
    pub source: Arc<dyn SnapshotSource>,
    /// Names for ids.
    pub directory: Arc<dyn Directory>,
    /// Health.
    pub health: Arc<dyn Health>,
}
