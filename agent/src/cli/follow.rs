//! `attach --all`: every CUDA process of the host, those that run and those that come.
//!
//! Enters: `/proc`, once a second. Leaves: attached processes. Refuses: a process twice, and its own agent; one that cannot be
//! attached to is told once.

use std::collections::HashMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{debug, warn};

use super::inject::{self, Loading};
use super::{Error, session::Session};
use crate::event::Pid;
use crate::identity;
use crate::pipeline::Attacher;
use crate::source::cupti;

/// Time between two looks at all processes.
const LOOK: Duration = Duration::from_secs(1);

/// A thread that looks; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Follower {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What was found out about a process, by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// It had no CUDA when it was last looked at.
    NoCuda,
    /// Attached, or refused for good.
    Settled,
}

impl Follower {
    /// Starts to look.
    pub(super) fn start(session: &Session, loading: Loading) -> Result<Self, Error> {
        let attacher = session.pipeline.attacher();
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("gpu-agent-follow".to_owned())
            .spawn(move || {
                let mut known = HashMap::new();
                loop {
                    look(&attacher, &loading, &mut known);
                    if stopped.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                }
            })
            .map_err(Error::system("start the thread that looks for processes"))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.take();
        // It ends after the process that it is at.
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that looks for processes panicked");
        }
    }
}

/// One look at all processes. A process that ended and whose pid came back is another one: it has another start time.
fn look(attacher: &Attacher, loading: &Loading, known: &mut HashMap<Pid, (u64, Known)>) {
    let mut seen = HashMap::new();
    for (pid, start_time_ticks) in processes() {
        let before = known.get(&pid).filter(|(ticks, _)| *ticks == start_time_ticks).map(|(_, known)| *known);
        let now = match before {
            Some(Known::Settled) => Known::Settled,
            Some(Known::NoCuda) | None => try_attach(attacher, loading, pid),
        };
        seen.insert(pid, (start_time_ticks, now));
    }
    *known = seen;
}

fn try_attach(attacher: &Attacher, loading: &Loading, pid: Pid) -> Known {
    if !cupti::has_cuda(pid) {
        return Known::NoCuda;
    }
    let attached =
        inject::find(pid, loading).and_then(|opened| attacher.attach(opened, false).map_err(Error::from));
    match attached {
        Ok(_) => Known::Settled,
        // It is looked at again in a second.
        Err(error) if error.may_pass() => {
            debug!(pid = pid.0, %error, "not yet");
            Known::NoCuda
        }
        Err(error) => {
            warn!(pid = pid.0, %error, "not attached");
            Known::Settled
        }
    }
}

fn processes() -> impl Iterator<Item = (Pid, u64)> {
    let own = std::process::id();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(move |entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok().filter(|pid| *pid != own)?;
        Some((Pid(pid), identity::start_time_ticks(Pid(pid)).ok()?))
    })
}
