//! How series and events leave the agent.
//!
//! Enters: snapshots (pulled through [`SnapshotSource`], cumulative, never modified) and events (pushed through
//! [`EventSender`], bounded). Leaves: Prometheus exposition, OTLP metrics, JSON lines. Refuses: to slow the pipeline
//! down. A scrape or a push takes one snapshot and then works on its own copy; an event that finds the queue full is
//! dropped and counted; an endpoint that is gone costs one pending snapshot at most.
//!
//! ```text
//!                       ┌── scrape ──► prometheus   text, OpenMetrics, protobuf (native histograms)
//!  SnapshotSource ──────┼── period ──► otlp         gRPC or HTTP/protobuf, any `PushExporter`
//!  (core)               └── period ─┐
//!  EventSender ─ bounded queue ─────┴► json_log     one object a line, stdout or file
//! ```
//!
//! Each exporter owns its `Options` (what a user may say), its `Config` (what that means) and its `build()`;
//! [`Config::build`] composes them, [`Exporters::start`] sets them going, [`Running::shutdown`] flushes them.
//! A new push exporter implements [`push::PushExporter`] and is given to [`push::spawn`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::aggregate::snapshot::Snapshot;
use crate::classes::KernelName;
use crate::event::{DeviceId, NameId, Pid, TargetId};

pub mod document;
pub mod events;
mod exponential;
pub mod json_log;
pub mod otlp;
pub mod prometheus;
pub mod push;
pub mod resource;
pub mod stats;

pub use events::EventSender;
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
    fn kernel(&self, target: TargetId, name: NameId) -> Option<KernelName>;
    /// A device, by its ordinal in that target.
    fn device(&self, target: TargetId, device: DeviceId) -> Option<Arc<DeviceInfo>>;
    /// Name of an API function, by CUPTI callback id.
    fn api(&self, is_runtime: bool, cbid: u32) -> Option<&'static str>;
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

/// A device, as log lines name it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceInfo {
    /// As nvidia-smi prints it: `GPU-xxxxxxxx-…`.
    pub uuid: String,
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

/// What runs, and how.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the agent calls itself.
    pub resource: resource::Resource,
    /// The HTTP endpoint, if any.
    pub prometheus: Option<prometheus::Config>,
    /// OTLP, if asked for.
    pub otlp: Option<otlp::Config>,
    /// The JSON log, if asked for.
    pub json_log: Option<json_log::Config>,
}

impl Config {
    /// Takes the port and opens the files: what can go wrong at once goes wrong here.
    pub fn build(self) -> Result<Exporters, Error> {
        let resource = Arc::new(self.resource);
        let otlp = self.otlp.map(|config| config.build(&resource)).transpose()?;
        let json_log = self.json_log.map(json_log::Config::build).transpose()?;
        let prometheus = self.prometheus.map(|config| config.build(resource)).transpose()?;
        Ok(Exporters { prometheus, otlp, json_log })
    }
}

/// Why an exporter cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The HTTP endpoint.
    #[error(transparent)]
    Prometheus(#[from] prometheus::Error),
    /// OTLP's certificates.
    #[error(transparent)]
    Otlp(#[from] otlp::TlsError),
    /// The JSON log's file.
    #[error(transparent)]
    JsonLog(#[from] json_log::Error),
    /// The system would not give what running takes.
    #[error("cannot start {exporter}: {source}")]
    Start {
        /// Which.
        exporter: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// Exporters that are ready, not yet running: the core takes their counters and the sender, then starts them.
#[derive(Debug)]
pub struct Exporters {
    prometheus: Option<prometheus::Endpoint>,
    otlp: Option<otlp::Exporter>,
    json_log: Option<json_log::JsonLog>,
}

impl Exporters {
    /// Counters of each exporter, for the self-metrics.
    #[must_use]
    pub fn stats(&self) -> Vec<Arc<ExportStats>> {
        let prometheus = self.prometheus.as_ref().map(prometheus::Endpoint::stats);
        let otlp = self.otlp.as_ref().map(otlp::Exporter::stats);
        let json_log = self.json_log.as_ref().map(json_log::JsonLog::stats);
        [prometheus, otlp, json_log].into_iter().flatten().collect()
    }

    /// Where the pipeline offers events; wants nothing where the JSON log is off. One for each thread.
    #[must_use]
    pub fn event_sender(&self) -> EventSender {
        self.json_log.as_ref().map_or_else(EventSender::disabled, json_log::JsonLog::event_sender)
    }

    /// Where metrics are served, with the port really taken.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.prometheus.as_ref().map(prometheus::Endpoint::address)
    }

    /// Sets them going. Needs a tokio runtime.
    pub fn start(self, wiring: Wiring) -> Result<Running, Error> {
        let failed = |exporter| move |source| Error::Start { exporter, source };
        let prometheus = self.prometheus.map(|endpoint| endpoint.start(wiring.clone())).transpose();
        let json_log = self.json_log.map(|log| log.start(wiring.clone())).transpose();
        let otlp = self.otlp.map(|exporter| {
            let schedule = exporter.schedule();
            push::spawn(exporter, schedule, wiring.source)
        });
        Ok(Running {
            prometheus: prometheus.map_err(failed("the metrics endpoint"))?,
            json_log: json_log.map_err(failed("the JSON log"))?,
            otlp,
        })
    }
}

/// Running exporters.
#[derive(Debug)]
pub struct Running {
    prometheus: Option<prometheus::Serving>,
    otlp: Option<push::Pushing>,
    json_log: Option<json_log::Logging>,
}

impl Running {
    /// Sends and writes what is left, all at once, within `limit`, and ends. Call it after the last event was
    /// flushed.
    pub async fn shutdown(self, limit: Duration) {
        let prometheus = async {
            if let Some(serving) = self.prometheus {
                serving.shutdown(limit).await;
            }
        };
        let otlp = async {
            if let Some(pushing) = self.otlp {
                pushing.shutdown(limit).await;
            }
        };
        let json_log = async {
            if let Some(logging) = self.json_log {
                logging.shutdown(limit).await;
            }
        };
        tokio::join!(prometheus, otlp, json_log);
    }
}
