//! `attach --pid`: the processes that were named.
//!
//! Enters: pids. Leaves: each attached, or the reason why it is not; as long as that may help, it is tried again. Refuses: to let
//! one that fails keep the others from being attached.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::crew::{Crew, Over};
use super::join::{Joined, Joining};
use crate::cli::Error;
use crate::event::Pid;

/// Most processes that are attached to at the same time.
const THREADS: usize = 8;
/// Time between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// What became of one of them.
type Answer = (Pid, Result<(), Error>);

/// See the module.
pub(super) struct Named {
    crew: Crew<Pid>,
    answers: mpsc::UnboundedReceiver<Answer>,
    waiting: usize,
    attached: usize,
    failed: usize,
}

impl Named {
    /// Begins to attach; each process is waited for until `wait` is over.
    pub(super) fn start(pids: &[u32], joining: Joining, wait: Duration) -> Result<Self, Error> {
        let pids: BTreeSet<u32> = pids.iter().copied().collect();
        let deadline = Instant::now() + wait;
        let (answer, answers) = mpsc::unbounded_channel();
        let work = move |pid, over: &Over| {
            // A session that is over wants no answers.
            let _ = answer.send((pid, attach(&joining, pid, deadline, over)));
        };
        let crew = Crew::start(THREADS.min(pids.len()), work)
            .map_err(Error::system("start the threads that attach to processes"))?;
        for &pid in &pids {
            crew.give(Pid(pid));
        }
        Ok(Self { crew, answers, waiting: pids.len(), attached: 0, failed: 0 })
    }

    /// Whether some of them have not been answered for.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Waits for the next answer.
    ///
    /// # Errors
    /// None of them can be attached to.
    pub(super) async fn next(&mut self) -> Result<(), Error> {
        let Some((pid, outcome)) = self.answers.recv().await else {
            self.waiting = 0;
            return Ok(());
        };
        self.waiting -= 1;
        let Err(error) = outcome else {
            self.attached += 1;
            return Ok(());
        };
        self.failed += 1;
        let is_last = self.waiting == 0 && self.attached == 0;
        if is_last && self.failed == 1 {
            return Err(error);
        }
        error!(pid = pid.0, %error, "not attached");
        if is_last { Err(Error::NoneAttached { pids: self.failed }) } else { Ok(()) }
    }

    /// 0 where all were attached to, 1 where some were not.
    pub(super) fn exit_code(&self) -> ExitCode {
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Waits for what is under way.
    pub(super) async fn end(self) {
        self.crew.end().await;
    }
}

/// Tries until it works or cannot help any more.
fn attach(joining: &Joining, pid: Pid, deadline: Instant, over: &Over) -> Result<(), Error> {
    let mut told = String::new();
    info!(pid = pid.0, "looking at the process");
    loop {
        let (error, is_probed) = match joining.join(pid) {
            Ok(Joined::Ring) => return Ok(()),
            Ok(Joined::Probes(error)) => (error, true),
            Err(error) => (error, false),
        };
        if error.may_pass() && Instant::now() < deadline && !over.is_now() {
            let why = error.to_string();
            if told != why {
                warn!(pid = pid.0, error = why, "not yet");
                told = why;
            }
            std::thread::sleep(PAUSE);
        } else if is_probed {
            warn!(pid = pid.0, %error, "no GPU times, only what probes see");
            return Ok(());
        } else {
            return Err(error);
        }
    }
}
