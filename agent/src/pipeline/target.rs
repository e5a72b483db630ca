//! One attached process: its ring, its probes, or both.
//!
//! Enters: an opened ring, a process to probe. Leaves: what became of the process. Refuses: nothing; the worker decides.

use std::cell::Cell;
use std::time::Duration;

use super::recovery::Recovery;
use crate::event::{Pid, TargetId};
use crate::identity::{Process, Program};
use crate::source::cupti::{Fate, Hops, Opened, Target};

/// An attached process.
pub(super) struct Attached {
    pub(super) id: TargetId,
    pub(super) pid: Pid,
    /// The shim's ring.
    pub(super) ring: Option<Ring>,
    /// Whose entry points are probed.
    pub(super) probed: Option<Probed>,
}

/// A ring, and how its shim does.
pub(super) struct Ring {
    pub(super) target: Target,
    pub(super) recovery: Recovery,
    /// Graphs from before the attach, at the last look; `None` once they were told of.
    pub(super) unseen_graphs: Option<u64>,
}

/// A probed process.
pub(super) struct Probed {
    process: Process,
    /// Not known while `exec` puts it in place.
    program: Cell<Option<Program>>,
}

impl Ring {
    pub(super) fn new(target: Target, retry: Duration) -> Self {
        Self { target, recovery: Recovery::new(retry), unseen_graphs: Some(0) }
    }
}

impl Probed {
    pub(super) fn new(process: Process) -> Self {
        let program = Cell::new(process.program());
        Self { process, program }
    }

    fn fate(&self) -> Fate {
        if self.process.has_ended() {
            return Fate::Ended;
        }
        let now = self.process.program();
        match (self.program.get(), now) {
            (Some(before), Some(now)) if before != now => Fate::Replaced,
            (None, now) => {
                self.program.set(now);
                Fate::Running
            }
            _ => Fate::Running,
        }
    }
}

impl Attached {
    /// What became of the process, as either source sees it.
    pub(super) fn fate(&self) -> Fate {
        let ring = self.ring.as_ref().map_or(Fate::Running, |ring| ring.target.fate());
        match (ring, &self.probed) {
            (Fate::Running, Some(probed)) => probed.fate(),
            (fate, _) => fate,
        }
    }

    /// Counts of the ring's records.
    pub(super) fn hops(&mut self) -> Hops {
        self.ring.as_mut().map(|ring| ring.target.hops()).unwrap_or_default()
    }

    /// Whether this is the running program whose ring `opened` is.
    pub(super) fn has_ring_of(&self, opened: &Opened) -> bool {
        let is_same = self.ring.as_ref().is_some_and(|ring| ring.target.reads(opened));
        is_same && self.fate() == Fate::Running
    }

    /// Whether this is the process that `other` is.
    pub(super) fn is(&self, other: &Process) -> bool {
        let started = match (&self.ring, &self.probed) {
            (Some(ring), _) => ring.target.process().start_time_ticks,
            (None, Some(probed)) => probed.process.start_time_ticks,
            (None, None) => return false,
        };
        self.pid == other.pid && started == other.start_time_ticks
    }
}
