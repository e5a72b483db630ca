//! New shims of the program's processes, attached as they announce themselves.
//!
//! Enters: announcements. Leaves: attached targets. Refuses: to give up because one of them is no good.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use gpu_agent_ring::{AnnounceError, AnnounceListener};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use tracing::warn;

use super::Error;
use crate::pipeline::Attacher;
use crate::source::cupti::from_announcement;

/// How often the thread looks whether it is still wanted; announcements wake it at once.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// The thread that listens.
pub(super) struct Announced {
    name: String,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Announced {
    /// Listens at a name that nobody can guess.
    pub(super) fn listen(attacher: Attacher) -> Result<Self, Error> {
        let name = format!("gpu-agent-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let listener = AnnounceListener::bind(&name)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("gpu-agent-new".into())
            .spawn(move || listen(&listener, &attacher, &stopped))
            .map_err(Error::system("start the thread that listens for new processes"))?;
        Ok(Self { name, stop, thread: Some(thread) })
    }

    /// The socket's abstract name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Attaches what was announced until now, and ends.
    pub(super) fn finish(mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that listens for new processes panicked");
        }
    }
}

fn listen(listener: &AnnounceListener, attacher: &Attacher, stop: &AtomicBool) {
    loop {
        // Read before the queue is emptied: whatever came before the stop is attached.
        let last = stop.load(Ordering::Acquire);
        while let Some(announcement) = listener.receive().unwrap_or_else(refused) {
            let pid = announcement.pid;
            let attached = from_announcement(announcement).map_err(crate::pipeline::Error::from);
            if let Err(error) = attached.and_then(|opened| attacher.attach(opened, true)) {
                warn!(pid, %error, "a new CUDA process is not reported on");
            }
        }
        if last {
            return;
        }
        let mut fds = [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
        // Every outcome means the same: look again.
        let _ = poll(&mut fds, Some(&LOOK));
    }
}

fn refused(error: AnnounceError) -> Option<gpu_agent_ring::Announcement> {
    warn!(%error, "announcement");
    None
}
