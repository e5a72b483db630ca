//! An agent's side of the control page.
//!
//! Enters: a lease and wishes. Leaves: the shim's report. Refuses: a page that is unsealed, of another size,
//! version or ring; a lease that another agent holds.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;
use std::os::fd::AsFd;

use rustix::fs::fstat;

use super::{
    Finalized, HandOver, Lease, LeaseError, Report, ShimState, control_of, deadline, mono_ns, wake,
    write_wishes,
};
use crate::layout::{CONTROL_MAGIC, Control, FORMAT_VERSION, GRANTED, PAGE_BYTES};
use crate::map::Map;
use crate::reader::{OpenError, check_seals};

/// An agent's side of the control page.
#[derive(Debug)]
pub struct AgentControl {
    map: Map,
    pid: u32,
    /// The deadline that this agent wrote last; 0 while it holds no lease.
    held: AtomicU64,
}

impl AgentControl {
    /// Checks and maps the page behind `fd` (opened for reading and writing), and makes sure that it belongs to
    /// the ring with id `ring_id`. `pid` is the agent's own, for the messages that other agents print.
    pub fn open(fd: impl AsFd, ring_id: u64, pid: u32) -> Result<Self, OpenError> {
        let io =
            |operation| move |error: rustix::io::Errno| OpenError::Io { operation, source: error.into() };
        check_seals(&fd)?;
        let bytes = u64::try_from(fstat(&fd).map_err(io("stat"))?.st_size).unwrap_or(0);
        if bytes != PAGE_BYTES as u64 {
            return Err(OpenError::Size { bytes });
        }
        let map = Map::open(&fd, PAGE_BYTES, true)
            .map_err(|source| OpenError::Io { operation: "map the control page of", source })?;
        let control = control_of(&map);
        let magic = control.magic.load(Ordering::Acquire);
        if magic != CONTROL_MAGIC {
            return Err(OpenError::Magic { found: magic });
        }
        let version = control.version.load(Ordering::Relaxed);
        if version != FORMAT_VERSION {
            return Err(OpenError::Version { found: version });
        }
        let found = control.ring_id.load(Ordering::Relaxed);
        if found != ring_id {
            return Err(OpenError::Header { field: "ring id of the control page", value: found });
        }
        Ok(Self { map, pid, held: AtomicU64::new(0) })
    }

    /// Takes the lease, or renews it if this agent holds it already, and writes the wishes that go with it.
    pub fn acquire(&self, lease: &Lease) -> Result<(), LeaseError> {
        let request = &self.control().request;
        let seen = request.lease_deadline_ns.load(Ordering::Acquire);
        let now = mono_ns();
        let held = |until_ns: u64| LeaseError::Held {
            holder_pid: request.lease_pid.load(Ordering::Relaxed),
            remaining_ms: until_ns.saturating_sub(now) / 1_000_000,
        };
        let mine = seen != 0 && seen == self.held.load(Ordering::Relaxed);
        if seen >= now && seen & GRANTED == 0 && !mine {
            return Err(held(seen));
        }
        self.swap_deadline(seen, deadline(lease.duration)).map_err(held)?;
        request.lease_pid.store(self.pid, Ordering::Relaxed);
        write_wishes(request, lease);
        Ok(())
    }

    /// Extends the lease; nothing else changes. An agent whose lease ran out gets it back if nobody took it.
    pub fn renew(&self, duration: Duration) -> Result<(), LeaseError> {
        let request = &self.control().request;
        let before = self.held.load(Ordering::Relaxed);
        let lost = || LeaseError::Lost { holder_pid: request.lease_pid.load(Ordering::Relaxed) };
        if before == 0 {
            return Err(lost());
        }
        self.swap_deadline(before, deadline(duration)).map_err(|_taken| lost())?;
        // A shim that already went dormant must be told; one that is armed looks at the deadline by itself.
        if before < mono_ns() {
            wake(&request.generation);
        }
        Ok(())
    }

    /// Ends the lease at once: the shim flushes and goes dormant. Does nothing if another agent holds it.
    pub fn release(&self) {
        let before = self.held.load(Ordering::Relaxed);
        if before != 0 && self.swap_deadline(before, 0).is_ok() {
            wake(&self.control().request.generation);
        }
    }

    /// Puts `next` in the place of the deadline `seen`; gives the deadline that stands if it is another.
    fn swap_deadline(&self, seen: u64, next: u64) -> Result<(), u64> {
        let word = &self.control().request.lease_deadline_ns;
        let swapped = word.compare_exchange(seen, next, Ordering::AcqRel, Ordering::Acquire);
        self.held.store(if swapped.is_ok() { next } else { 0 }, Ordering::Relaxed);
        swapped.map(|_seen| ())
    }

    /// Asks the shim to let go of CUPTI, or takes that wish back. No lease is needed. `ending` are bits of
    /// [`crate::layout::ending`] that hold from now on, besides those of the lease.
    pub fn hand_over(&self, wish: HandOver, ending: u32) {
        let request = &self.control().request;
        request.ending.fetch_or(ending, Ordering::Relaxed);
        request.hand_over.store(wish as u32, Ordering::Release);
        wake(&request.generation);
    }

    /// Puts the wish `next` in the place of the wish `seen`, and only of that one; whether it stood.
    #[must_use]
    pub fn change_hand_over(&self, seen: HandOver, next: HandOver) -> bool {
        let request = &self.control().request;
        let (seen, next) = (seen as u32, next as u32);
        let stood =
            request.hand_over.compare_exchange(seen, next, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if stood {
            wake(&request.generation);
        }
        stood
    }

    /// The newest request's number; [`Report::generation`] reaches it once the shim has acted.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.control().request.generation.load(Ordering::Acquire)
    }

    /// What the shim says.
    #[must_use]
    pub fn report(&self) -> Report {
        let report = &self.control().report;
        let load = |word: &AtomicU32| word.load(Ordering::Relaxed);
        Report {
            state: ShimState::from_number(report.state.load(Ordering::Acquire)),
            status: load(&report.status).cast_signed(),
            function: load(&report.function),
            generation: load(&report.generation),
            kinds: load(&report.kinds),
            armed: load(&report.armed),
            finalized: Finalized::from_number(load(&report.finalized)),
            counters: core::array::from_fn(|index| {
                report.counters.get(index).map_or(0, |counter: &AtomicU64| counter.load(Ordering::Relaxed))
            }),
        }
    }

    fn control(&self) -> &Control {
        control_of(&self.map)
    }
}
