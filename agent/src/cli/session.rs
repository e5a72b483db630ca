//! A collecting session: pipeline and exporters, from start to final flush.
//!
//! Enters: options. Leaves: a running [`Session`]; at its end, the final values everywhere. Refuses: to start by halves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use super::{Common, Error};
use crate::config;
use crate::export::json_log::Destination;
use crate::export::{Running, SnapshotSource, Wiring};
use crate::pipeline::{Pipeline, Shared};
use crate::table::Table;

/// How long the exporters may take for what is left.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// Everything that runs.
pub(super) struct Session {
    pub(super) pipeline: Pipeline,
    pub(super) runtime: Runtime,
    pub(super) mode: crate::source::cupti::Mode,
    pub(super) metrics_address: Option<SocketAddr>,
    pub(super) log_path: Option<String>,
    exporters: Running,
}

/// What is left of a session: the final values.
pub(super) struct Outcome {
    shared: Arc<Shared>,
    pub(super) metrics_address: Option<SocketAddr>,
    pub(super) log_path: Option<String>,
}

impl Session {
    /// Starts pipeline and exporters. `finalize` has CUPTI taken out of the targets at the end.
    pub(super) fn start(common: &Common, finalize: bool) -> Result<Self, Error> {
        let options = config::load(common.options.clone(), common.config.as_deref(), &config::environment)?;
        let mut collect = options.collect.clone().resolve()?;
        collect.probes = options.probes.clone().resolve()?;
        collect.lease.finalize = finalize;
        let mode = collect.lease.mode;
        let log_path = match &options.json_log.to {
            Some(Destination::File(path)) => Some(path.display().to_string()),
            Some(Destination::Off | Destination::Stdout) | None => None,
        };
        if common.table && options.json_log.to == Some(Destination::Stdout) {
            return Err(Error::BothOnStdout);
        }
        let exporters = options.exporters()?.build()?;
        let metrics_address = exporters.metrics_address();
        let pipeline = Pipeline::start(collect, exporters.stats(), exporters.event_sender())
            .map_err(Error::system("start the pipeline's thread"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("gpu-agent-export")
            .enable_all()
            .build()
            .map_err(Error::system("start the exporters' threads"))?;
        let shared = pipeline.shared();
        let wiring = Wiring {
            source: Arc::clone(shared) as Arc<_>,
            directory: Arc::clone(shared) as Arc<_>,
            health: Arc::clone(shared) as Arc<_>,
        };
        let running = {
            let _entered = runtime.enter();
            // A handled signal leaves the write to fail with EFBIG, which the log counts; unhandled it ends the process.
            // Unlike an ignored one it is not inherited by the program of `run`.
            let _handled = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))
                .map_err(Error::system("handle the signal of the file size limit"))?;
            exporters.start(wiring)?
        };
        if let Some(address) = metrics_address {
            info!(url = format!("http://{address}/metrics"), "serving metrics");
        }
        Ok(Self { pipeline, runtime, mode, metrics_address, log_path, exporters: running })
    }

    /// The table now.
    pub(super) fn table(&self) -> Table {
        table(self.pipeline.shared())
    }

    /// Takes in the last records, and lets the exporters finish with them.
    pub(super) fn finish(self) -> Outcome {
        let shared = self.pipeline.stop();
        self.runtime.block_on(self.exporters.shutdown(FLUSH_LIMIT));
        Outcome { shared, metrics_address: self.metrics_address, log_path: self.log_path }
    }
}

impl Outcome {
    /// The final table.
    pub(super) fn table(&self) -> Table {
        table(&self.shared)
    }
}

fn table(shared: &Arc<Shared>) -> Table {
    Table::new(&shared.snapshot(), shared.registry().targets(), &shared.latest_tensors())
}
