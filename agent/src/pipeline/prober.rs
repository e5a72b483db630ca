//! The prober: the thread that finds out what can be probed in which process, and attaches it.
//!
//! Enters: requests of the rings' thread, notices of the dynamic linker, specifications. Leaves: attached probes, news of what
//! their slots mean. Refuses: to hold up the rings' thread: looking for symbols and attaching take up to seconds, so they happen
//! here, and answers are messages.
//!
//! ```text
//!  rings' thread ── Requests ──► prober: mapped files ─► plans ─► attach
//!        ▲                          │
//!        └───────── News ───────────┘
//! ```
//!
//! A process's files are looked at when it is added, when its dynamic linker says that it has loaded or dropped some, and, where
//! there is no dynamic linker to say so, every [`SLOW_LOOK`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::{Attacher, Command};
use crate::capability::Capabilities;
use crate::event::Pid;
use crate::identity::Process;
use crate::source::ebpf::{self, Slot};
use crate::symbols::process::ProcessError;

mod descendants;
mod files;
mod requests;
mod source;

use files::Files;
pub(super) use requests::{Request, Requests};
pub(super) use source::{Source, is_simulated};

/// Time between two looks at what may have changed unnoticed.
const TICK: Duration = Duration::from_secs(1);
/// Time between two looks at a process whose dynamic linker cannot be watched.
const SLOW_LOOK: Duration = Duration::from_secs(5);

/// What the prober tells the rings' thread.
#[derive(Debug)]
pub(super) enum News {
    /// Slots mean something.
    Told(Vec<Slot>),
    /// Slots mean nothing any more.
    Gone(Vec<(u32, u32)>),
    /// A process that was followed has something to probe.
    Found {
        /// Which.
        process: Box<Process>,
        /// Its device is simulated.
        simulated: bool,
    },
    /// The files of a process cannot be looked at.
    Unreadable {
        /// Which.
        pid: Pid,
        /// Why, and what would help.
        why: String,
    },
    /// What is attached in a process.
    Attached {
        /// Which.
        pid: Pid,
        /// How many probes, by engine.
        probes: Vec<(Arc<str>, usize)>,
        /// Its device is simulated.
        simulated: bool,
    },
    /// A request is done.
    Done(Pid),
}

/// The thread's state.
pub(super) struct Prober {
    attacher: ebpf::Attacher,
    source: Source,
    commands: Sender<Command>,
    rings: Attacher,
    processes: BTreeMap<Pid, Probed>,
}

/// A process that is looked at.
struct Probed {
    process: Process,
    files: Files,
    /// It is a target, not only followed.
    is_target: bool,
    /// CUDA's own functions are probed.
    wants_cuda: bool,
    /// Its children are looked at too.
    is_followed: bool,
    looked: Instant,
    /// That its files cannot be looked at was said.
    is_refused: bool,
}

impl Prober {
    pub(super) fn new(attacher: ebpf::Attacher, source: Source, commands: Sender<Command>) -> Self {
        let rings = Attacher { commands: commands.clone() };
        Self { attacher, source, commands, rings, processes: BTreeMap::new() }
    }

    /// Until nobody is left to ask. What is attached is detached with the end of the thread.
    pub(super) fn run(mut self, requests: &Receiver<Request>) {
        let mut ticked = Instant::now();
        loop {
            match requests.recv_timeout(TICK.saturating_sub(ticked.elapsed())) {
                Ok(request) => self.handle(request),
                Err(RecvTimeoutError::Timeout) => {
                    ticked = Instant::now();
                    self.tick();
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn handle(&mut self, request: Request) {
        let pid = request.pid();
        match request {
            Request::Add { wants_cuda, .. } => self.add(pid, true, false, wants_cuda),
            Request::Follow { .. } => self.add(pid, false, true, true),
            Request::Cuda { wants_cuda, .. } => {
                if let Some(probed) = self.processes.get_mut(&pid) {
                    probed.wants_cuda = wants_cuda;
                    self.look(pid);
                }
            }
            Request::Look { .. } => self.look(pid),
            Request::Remove { .. } => self.remove(pid),
        }
        self.tell(News::Done(pid));
    }

    fn add(&mut self, pid: Pid, is_target: bool, is_followed: bool, wants_cuda: bool) {
        if let Some(known) = self.processes.get_mut(&pid)
            && !known.process.has_ended()
        {
            known.is_target |= is_target;
            known.is_followed |= is_followed;
            known.wants_cuda = wants_cuda;
        } else {
            self.remove(pid);
            let process = match Process::look_up(pid) {
                Ok(process) => process,
                Err(error) => {
                    debug!(pid = pid.0, %error, "nothing to probe");
                    return;
                }
            };
            let (files, looked) = (Files::default(), Instant::now());
            let probed =
                Probed { process, files, is_target, wants_cuda, is_followed, looked, is_refused: false };
            self.processes.insert(pid, probed);
        }
        self.look(pid);
    }

    /// Brings what is attached in a process up to date with the files that it maps.
    fn look(&mut self, pid: Pid) {
        let Self { attacher, source, processes, .. } = self;
        let Some(probed) = processes.get_mut(&pid) else { return };
        probed.looked = Instant::now();
        let change = files::may_be_read(&probed.process)
            .and_then(|()| probed.files.update(pid, probed.wants_cuda, source, attacher));
        // A pid that changed hands meanwhile was attached to in vain: its files were another's.
        if probed.process.has_ended() {
            return;
        }
        let change = match change {
            Ok(change) => change,
            Err(error) => {
                let why = way_out(&error);
                if !std::mem::replace(&mut probed.is_refused, true) {
                    warn!(
                        pid = pid.0,
                        why, "no entry point of the process is probed: its files cannot be looked at"
                    );
                    self.tell(News::Unreadable { pid, why });
                }
                return;
            }
        };
        let is_found = !probed.is_target && probed.files.has_engine();
        let (probes, simulated) = (probed.files.by_engine(), probed.files.is_simulated());
        // In this order: a slot may have been given on, and what came early is taken in where it is told what it means.
        if !change.gone.is_empty() {
            self.tell(News::Gone(change.gone));
        }
        if is_found {
            self.found(pid, simulated);
        }
        if !change.told.is_empty() {
            self.tell(News::Told(change.told));
        }
        self.tell(News::Attached { pid, probes, simulated });
        self.look_for_ring(pid);
    }

    /// A followed process turns out to be worth a target.
    fn found(&mut self, pid: Pid, simulated: bool) {
        if let Ok(process) = Process::look_up(pid)
            && let Some(probed) = self.processes.get_mut(&pid)
        {
            probed.is_target = true;
            self.tell(News::Found { process: Box::new(process), simulated });
        }
    }

    /// A target without the shim's ring may have one by now.
    fn look_for_ring(&mut self, pid: Pid) {
        let wants = self.processes.get(&pid).is_some_and(|probed| probed.is_target && probed.wants_cuda);
        if wants && let Ok(opened) = crate::source::cupti::find(pid) {
            // It says itself that it wants no more of CUDA's own functions probed.
            if let Err(error) = self.rings.attach(opened, false) {
                debug!(pid = pid.0, %error, "no ring");
            }
        }
    }

    fn remove(&mut self, pid: Pid) {
        if let Some(mut probed) = self.processes.remove(&pid) {
            let gone = probed.files.clear(&mut self.attacher);
            self.tell(News::Gone(gone));
        }
    }

    fn tick(&mut self) {
        let pids: Vec<Pid> = self.processes.keys().copied().collect();
        for pid in pids {
            let Some(probed) = self.processes.get(&pid) else { continue };
            let (is_target, is_followed) = (probed.is_target, probed.is_followed);
            if probed.process.has_ended() {
                // Targets are removed by the rings' thread, which has their records to take in first.
                if !is_target {
                    self.remove(pid);
                }
                continue;
            }
            if is_followed {
                for child in descendants::children(pid) {
                    if !self.processes.contains_key(&child) {
                        self.add(child, false, true, true);
                    }
                }
            }
            let Some(probed) = self.processes.get(&pid) else { continue };
            if !probed.files.is_watched() && probed.looked.elapsed() >= SLOW_LOOK {
                self.look(pid);
            } else {
                self.look_for_ring(pid);
            }
        }
    }

    fn tell(&self, news: News) {
        // A rings' thread that is gone wants no news.
        let _ = self.commands.send(Command::News(news));
    }
}

/// The error, and the capability that is missing if one is.
fn way_out(error: &ProcessError) -> String {
    match error {
        ProcessError::Maps { source, .. }
            if source.kind() == std::io::ErrorKind::PermissionDenied && !Capabilities::own().sys_ptrace =>
        {
            format!("{error}; run the agent as root, or give it CAP_SYS_PTRACE")
        }
        error => error.to_string(),
    }
}
