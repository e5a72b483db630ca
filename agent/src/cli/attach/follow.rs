//! `attach --all`: every CUDA process of the host, those that run and those that come.
//!
//! Enters: `/proc`, once a second. Leaves: attached processes. Refuses: to let one process that is slow or stuck hold up the
//! others; its own agent and that one's children. Why a program cannot be attached to is told once.

use std::time::Instant;

use tokio::sync::mpsc;
use tracing::warn;

use super::crew::{Crew, Over};
use super::join::{Joined, Joining};
use super::known::{Finding, Known, Subject};
use crate::capability::Capabilities;
use crate::cli::Error;
use crate::event::Pid;
use crate::identity::Glance;
use crate::source::cupti;

/// Most processes that are looked at at the same time.
const THREADS: usize = 8;

/// What became of one look.
struct Answer {
    subject: Subject,
    finding: Finding,
    /// Why there are no GPU times, where there is CUDA.
    why: Option<Error>,
}

/// See the module.
pub(super) struct Follower {
    known: Known,
    crew: Crew<Subject>,
    answers: mpsc::UnboundedReceiver<Answer>,
}

impl Follower {
    /// Nothing is looked at yet.
    pub(super) fn start(joining: Joining) -> Result<Self, Error> {
        let own = Capabilities::own();
        match (own.missing_for_others(), own.map_files) {
            ("", true) => {}
            ("", false) => warn!(
                missing = "CAP_CHECKPOINT_RESTORE",
                "processes that have the shim and have closed its descriptors are not attached to"
            ),
            (missing, _) => warn!(missing, "processes of other users are not seen"),
        }
        let (answer, answers) = mpsc::unbounded_channel();
        let work = move |subject: Subject, _: &Over| {
            // A session that is over wants no answers.
            let _ = answer.send(look(&joining, subject));
        };
        let crew = Crew::start(THREADS, work)
            .map_err(Error::system("start the threads that look for CUDA processes"))?;
        Ok(Self { known: Known::new(Pid(std::process::id())), crew, answers })
    }

    /// Glances at all processes, and has those looked at that may have come to use CUDA.
    pub(super) fn glance(&mut self) {
        for subject in self.known.due(Instant::now(), processes()) {
            self.crew.give(subject);
        }
    }

    /// Waits for the next answer.
    pub(super) async fn next(&mut self) {
        let Some(Answer { subject, finding, why }) = self.answers.recv().await else {
            return std::future::pending().await;
        };
        let is_first = self.known.hear(Instant::now(), subject, finding);
        let Some(error) = why.filter(|_| is_first) else { return };
        let pid = subject.pid.0;
        match finding {
            Finding::Later => warn!(pid, %error, "not yet"),
            Finding::NoCuda | Finding::Settled => warn!(pid, %error, "no GPU times of this process"),
        }
    }

    /// Waits for what is under way.
    pub(super) async fn end(self) {
        self.crew.end().await;
    }
}

/// Looks at one process, and attaches to it if it uses CUDA.
fn look(joining: &Joining, subject: Subject) -> Answer {
    if !cupti::has_cuda(subject.pid) {
        return Answer { subject, finding: Finding::NoCuda, why: None };
    }
    let why = match joining.join(subject.pid) {
        Ok(Joined::Ring) => None,
        Ok(Joined::Probes(error)) | Err(error) => Some(error),
    };
    let finding = if why.as_ref().is_some_and(Error::may_pass) { Finding::Later } else { Finding::Settled };
    Answer { subject, finding, why }
}

fn processes() -> impl Iterator<Item = (Pid, Glance)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid = Pid(entry.file_name().to_str()?.parse().ok()?);
        Some((pid, Glance::at(pid).ok()?))
    })
}
