//! One try to attach to one process.
//!
//! Enters: a pid. Leaves: a target that has a ring, the shim loaded if need be, or at least probes. Refuses: to wait; whoever
//! asks may try again.

use crate::cli::{Error, inject};
use crate::event::Pid;
use crate::identity::Process;
use crate::pipeline::{Attacher, Probing};
use crate::source::cupti::AttachError;

/// How it is tried.
#[derive(Debug, Clone)]
pub(super) struct Joining {
    pub(super) attacher: Attacher,
    pub(super) loading: inject::Loading,
    pub(super) probing: Probing,
    /// Takes back that somebody had the shim let go (`gpu-agent detach`).
    pub(super) takes_back: bool,
}

/// What tells of the process now.
#[derive(Debug)]
pub(super) enum Joined {
    /// Its ring, and probes where they can be had.
    Ring,
    /// Probes alone, and why there is no ring.
    Probes(Error),
}

impl Joining {
    /// Tries it now.
    ///
    /// # Errors
    /// Neither can be had.
    pub(super) fn join(&self, pid: Pid) -> Result<Joined, Error> {
        let attached = inject::find(pid, &self.loading).and_then(|opened| {
            let opened = if self.takes_back { opened.taking_back() } else { opened };
            self.attacher.attach(opened, false).map_err(Error::from)
        });
        match attached {
            Ok(_) => Ok(Joined::Ring),
            Err(error) if error.has_no_ring() && self.probing.is_possible() => {
                self.attacher.probe(Process::look_up(pid).map_err(AttachError::from)?)?;
                Ok(Joined::Probes(error))
            }
            Err(error) => Err(error),
        }
    }
}
