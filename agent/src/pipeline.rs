//! The agent at work: one thread that owns the targets, and what the rest of the agent sees of it.
//!
//! Enters: opened targets ([`Pipeline::attach`]), processes to probe ([`Attacher::probe`]). Leaves: snapshots, names, health; events to the sink. Refuses: to let
//! anybody slow it down: snapshots hold the aggregate's lock for as long as they copy, sinks get what fits their queue.
//!
//! The thread sleeps between looks into the rings, 5 to 50 ms by how full they were. Each second it renews the leases, looks
//! whether targets still run, reads the clocks and brings the bandwidths up to date. A second thread finds out what can be
//! probed, because looking for symbols takes long.

use std::io;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::aggregate::{Aggregator, Latest, Limits};
use crate::classes::Classifier;
use crate::clock::{Anchor, Clock};
use crate::event::{Pid, TargetId};
use crate::export::{EventSender, ExportStats};
use crate::health::{Board, Status};
use crate::identity::Process;
use crate::probes::resolve;
use crate::source::cupti::{AttachError, Lease, Opened};
use crate::source::ebpf;
use crate::symbols;

pub mod options;
mod pace;
pub mod probe_options;
mod prober;
mod probes;
mod recovery;
mod registry;
mod snapshots;
mod state;
mod target;
mod worker;

pub use probes::Hops as ProbeHops;
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
    /// How entry points are probed, if they are.
    pub probes: Option<probe_options::Config>,
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
    /// What became of probes' records; `None` where there are no probes.
    probes: Mutex<Option<ProbeHops>>,
}

/// A running pipeline.
#[derive(Debug)]
pub struct Pipeline {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    thread: Option<JoinHandle<()>>,
    prober: Option<JoinHandle<()>>,
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
    Probe { process: Box<Process>, simulated: bool, answer: mpsc::SyncSender<TargetId> },
    Follow(Pid),
    News(prober::News),
    Stop,
}

impl Pipeline {
    /// Starts the thread. `exporters` are counted in the self-metrics, `events` gets a copy of what the sink wants.
    pub fn start(
        mut config: Config,
        exporters: Vec<Arc<ExportStats>>,
        events: EventSender,
    ) -> io::Result<Self> {
        let anchor = Anchor::now();
        let shared = Arc::new(Shared {
            start_unix_ns: anchor.unix_ns,
            aggregator: Mutex::new(Aggregator::new(config.limits)),
            registry: Registry::default(),
            clock: Mutex::new(Clock::new(anchor)),
            board: Board::default(),
            exporters,
            pace: pace::Measured::default(),
            probes: Mutex::default(),
        });
        let (commands, received) = mpsc::channel();
        let (probes, prober) = match config.probes.take().and_then(|probes| shared.load(probes)) {
            Some(loaded) => {
                let (probes, prober) = loaded.start(&commands)?;
                (Some(probes), Some(prober))
            }
            None => (None, None),
        };
        let worker = worker::Worker::new(config, Arc::clone(&shared), events, probes);
        let thread = std::thread::Builder::new()
            .name("gpu-agent-rings".into())
            .spawn(move || worker.run(&received))?;
        Ok(Self { shared, commands, thread: Some(thread), prober })
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

    /// Whether processes can be probed here. Why not has been said.
    #[must_use]
    pub fn can_probe(&self) -> bool {
        self.prober.is_some()
    }

    /// Probes this process and all its descendants, present and future; those with something to probe become targets.
    pub fn follow(&self, pid: Pid) -> Result<(), Stopped> {
        self.commands.send(Command::Follow(pid)).map_err(|_unsent| Stopped)
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
        if let Some(prober) = self.prober.take()
            && prober.join().is_err()
        {
            tracing::error!("the thread that attaches probes panicked");
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

    /// Reports on calls of entry points in a process that need not have the shim. Where it gets one, both feed one report.
    pub fn probe(&self, process: Process) -> Result<TargetId, Stopped> {
        let files = symbols::process::mapped(process.pid).unwrap_or_default();
        let simulated = prober::is_simulated(&files);
        let (answer, answered) = mpsc::sync_channel(1);
        let command = Command::Probe { process: Box::new(process), simulated, answer };
        self.commands.send(command).map_err(|_unsent| Stopped)?;
        answered.recv().map_err(|_disconnected| Stopped)
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.end();
        }
    }
}

/// BPF programs that are loaded, not yet used.
struct Loaded {
    attacher: ebpf::Attacher,
    drain: ebpf::Drain,
    ring_bytes: u32,
    source: prober::Source,
}

impl Loaded {
    /// Starts the prober's thread.
    fn start(self, commands: &mpsc::Sender<Command>) -> io::Result<(probes::Probes, JoinHandle<()>)> {
        let (requests, asked) = mpsc::channel();
        let prober = prober::Prober::new(self.attacher, self.source, commands.clone());
        let thread =
            std::thread::Builder::new().name("gpu-agent-probes".into()).spawn(move || prober.run(&asked))?;
        Ok((probes::Probes::new(self.drain, self.ring_bytes, prober::Requests::new(requests)), thread))
    }
}

impl Shared {
    /// Loads the BPF programs. Where that cannot be, says once why, and the rest goes on.
    fn load(&self, config: probe_options::Config) -> Option<Loaded> {
        let probe_options::Config { catalog, ring_bytes, cache } = config;
        match ebpf::load(ebpf::Config { ring_bytes, ..ebpf::Config::default() }) {
            Ok((attacher, drain)) => {
                self.board.set("probes", Status::Healthy, "loaded");
                // Without attach cookies, a uretprobe cannot tell which function returned.
                let options = resolve::Options { trampolines: attacher.features().cookies };
                let source = prober::Source::new(catalog, cache, options);
                Some(Loaded { attacher, drain, ring_bytes, source })
            }
            Err(error) => {
                let source = std::error::Error::source(&error).map(|source| format!(" ({source})"));
                let why = format!("{error}{}", source.unwrap_or_default());
                tracing::warn!(why, "entry points are not probed: no tensors, no calls of engines");
                self.board.set("probes", Status::Unsupported, why);
                None
            }
        }
    }

    /// The targets.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What the tensors of each probe's latest call looked like.
    #[must_use]
    pub fn latest_tensors(&self) -> Vec<Latest> {
        lock(&self.aggregator).latest_tensors().collect()
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
