//! The agent at work: one thread that owns the targets, and what the rest of the agent sees of it.
//!
//! Enters: opened targets ([`Pipeline::attach`]). Leaves: snapshots, names, health; events to the sink. Refuses: to let
//! anybody slow it down: snapshots hold the aggregate's lock for as long as they copy, sinks get what fits their queue.
//!
//! The thread sleeps between looks into the rings, 5 to 50 ms by how full they were. Each second it renews the leases, looks
//! whether targets still run, reads the clocks and brings the bandwidths up to date.

use std::io;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::aggregate::{Aggregator, Limits};
use crate::classes::Classifier;
use crate::clock::{Anchor, Clock};
use crate::event::TargetId;
use crate::export::{EventSender, ExportStats};
use crate::health::Board;
use crate::source::cupti::{AttachError, Lease, Opened};

pub mod options;
mod pace;
mod recovery;
mod registry;
mod snapshots;
mod state;
mod worker;

pub use registry::{Registry, State, TargetStatus};

/// What the pipeline is to do.
#[derive(Debug)]
pub struct Config {
    /// How targets are held.
    pub lease: Lease,
    /// Bounds of the aggregate.
    pub limits: Limits,
    /// How kernels are classed.
    pub classifier: Classifier,
    /// How long a graceful stop waits for the shims' last flush.
    pub stop_timeout: Duration,
    /// How long a shim that failed rests before it is tried again; each further rest is twice as long.
    pub retry: Duration,
}

/// What the thread shares with exporters and the table.
#[derive(Debug)]
pub struct Shared {
    /// When the pipeline started: the agent's own counters count from then on.
    start_unix_ns: u64,
    aggregator: Mutex<Aggregator>,
    registry: Registry,
    clock: Mutex<Clock>,
    board: Board,
    exporters: Vec<Arc<ExportStats>>,
    pace: pace::Measured,
}

/// A running pipeline.
#[derive(Debug)]
pub struct Pipeline {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    thread: Option<JoinHandle<()>>,
}

/// Attaches targets from other threads.
#[derive(Debug, Clone)]
pub struct Attacher {
    commands: mpsc::Sender<Command>,
}

/// The pipeline's thread has ended.
#[derive(Debug, thiserror::Error)]
#[error("the pipeline has stopped")]
pub struct Stopped;

/// Why a target was not attached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// There is nobody to do it.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

#[derive(Debug)]
enum Command {
    Attach { opened: Box<Opened>, from_start: bool, answer: mpsc::SyncSender<Result<TargetId, AttachError>> },
    Stop,
}

impl Pipeline {
    /// Starts the thread. `exporters` are counted in the self-metrics, `events` gets a copy of what the sink wants.
    pub fn start(config: Config, exporters: Vec<Arc<ExportStats>>, events: EventSender) -> io::Result<Self> {
        let anchor = Anchor::now();
        let shared = Arc::new(Shared {
            start_unix_ns: anchor.unix_ns,
            aggregator: Mutex::new(Aggregator::new(config.limits)),
            registry: Registry::default(),
            clock: Mutex::new(Clock::new(anchor)),
            board: Board::default(),
            exporters,
            pace: pace::Measured::default(),
        });
        let (commands, received) = mpsc::channel();
        let worker = worker::Worker::new(config, Arc::clone(&shared), events);
        let thread = std::thread::Builder::new()
            .name("gpu-agent-rings".into())
            .spawn(move || worker.run(&received))?;
        Ok(Self { shared, commands, thread: Some(thread) })
    }

    /// What other threads see.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// A handle to attach with from other threads.
    #[must_use]
    pub fn attacher(&self) -> Attacher {
        Attacher { commands: self.commands.clone() }
    }

    /// Attaches to an opened target; see [`Attacher::attach`].
    pub fn attach(&self, opened: Opened, from_start: bool) -> Result<TargetId, Error> {
        self.attacher().attach(opened, from_start)
    }

    /// Ends the leases, waits for the shims' last records, takes them in, and ends the thread. Snapshots taken afterwards
    /// hold the final values.
    pub fn stop(mut self) -> Arc<Shared> {
        self.end();
        Arc::clone(&self.shared)
    }

    fn end(&mut self) {
        // A thread that is gone already needs no command.
        let _ = self.commands.send(Command::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that reads the rings panicked");
        }
    }
}

impl Attacher {
    /// Takes the lease of an opened target and reads it from then on; `from_start` also what its ring holds already.
    pub fn attach(&self, opened: Opened, from_start: bool) -> Result<TargetId, Error> {
        let (answer, answered) = mpsc::sync_channel(1);
        let command = Command::Attach { opened: Box::new(opened), from_start, answer };
        self.commands.send(command).map_err(|_unsent| Stopped)?;
        Ok(answered.recv().map_err(|_disconnected| Stopped)??)
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.end();
        }
    }
}

impl Shared {
    /// The targets.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Health of the components.
    #[must_use]
    pub fn board(&self) -> &Board {
        &self.board
    }
}

/// A thread that panicked with the lock held left whole values behind: no invariant spans two statements under any lock of
/// this module.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
