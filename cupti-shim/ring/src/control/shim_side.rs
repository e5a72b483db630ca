//! The shim's side of the control page.
//!
//! Enters: state, faults and counters of the shim. Leaves: the agent's wishes, clamped. Refuses: to look at who
//! holds the lease.

use core::sync::atomic::Ordering;
use core::time::Duration;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::SealFlags;
use rustix::thread::futex;

use super::{Finalized, HandOver, Lease, ShimState, Wish, control_of, deadline, wake, write_wishes};
use crate::layout::{CONTROL_MAGIC, CONTROL_NAME, Control, Counter, FORMAT_VERSION, GRANTED, PAGE_BYTES};
use crate::map::Map;

/// The shim's side of the control page.
#[derive(Debug)]
pub struct ShimControl {
    map: Map,
    /// `None` once it was taken.
    fd: Option<OwnedFd>,
}

impl ShimControl {
    /// Creates and maps the page, without a lease.
    pub fn create(ring_id: u64) -> io::Result<Self> {
        Self::create_granted(ring_id, None)
    }

    /// Creates and maps the page, with a first lease ([`Self::grant`]) in it before an agent can open it.
    pub fn create_granted(ring_id: u64, lease: Option<&Lease>) -> io::Result<Self> {
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        let (fd, map) = Map::create(CONTROL_NAME, PAGE_BYTES, seals)?;
        let page = Self { map, fd: Some(fd) };
        let control = page.control();
        control.version.store(FORMAT_VERSION, Ordering::Relaxed);
        control.ring_id.store(ring_id, Ordering::Relaxed);
        control.report.state.store(ShimState::Dormant as u32, Ordering::Relaxed);
        if let Some(lease) = lease {
            page.grant(lease);
        }
        control.magic.store(CONTROL_MAGIC, Ordering::Release);
        Ok(page)
    }

    /// The agent's wishes now. Values out of range are clamped: a period to 1 ms … 60 s.
    #[must_use]
    pub fn wish(&self) -> Wish {
        let request = &self.control().request;
        let generation = request.generation.load(Ordering::Acquire);
        Wish {
            generation,
            deadline_ns: request.lease_deadline_ns.load(Ordering::Relaxed),
            kinds: request.kinds.load(Ordering::Relaxed),
            flush_period: Duration::from_millis(
                request.flush_period_ms.load(Ordering::Relaxed).clamp(1, 60_000).into(),
            ),
            budget_ppm: request.budget_ppm.load(Ordering::Relaxed),
            hand_over: HandOver::from_number(request.hand_over.load(Ordering::Relaxed)),
            ending: request.ending.load(Ordering::Relaxed),
        }
    }

    /// Writes a first lease on behalf of an agent that will come for it: `gpu-agent run` wants the very first
    /// kernel. It belongs to nobody, so that any agent may take it over at once. An agent that is at the page already
    /// would lose its own lease to it.
    pub fn grant(&self, lease: &Lease) {
        let request = &self.control().request;
        request.lease_deadline_ns.store(deadline(lease.duration) | GRANTED, Ordering::Release);
        write_wishes(request, lease);
    }

    /// Sleeps until the agent has written something newer than `generation`, or `timeout` is over, or a signal
    /// came; without a time-out the thread costs nothing while it waits.
    pub fn wait(&self, generation: u32, timeout: Option<Duration>) {
        let timeout = timeout.and_then(|timeout| timeout.try_into().ok());
        // Every outcome (woken, changed already, timed out, interrupted) means the same: look again.
        let _ = futex::wait(
            &self.control().request.generation,
            futex::Flags::empty(),
            generation,
            timeout.as_ref(),
        );
    }

    /// Wakes this process's own waiter, for the end of the process.
    pub fn wake(&self) {
        wake(&self.control().request.generation);
    }

    /// Tells the agent the state, and which request it answers.
    pub fn report(&self, state: ShimState, generation: u32, kinds: u32) {
        let report = &self.control().report;
        if state == ShimState::Armed && report.state.load(Ordering::Relaxed) != ShimState::Armed as u32 {
            report.armed.fetch_add(1, Ordering::Relaxed);
        }
        report.kinds.store(kinds, Ordering::Relaxed);
        report.generation.store(generation, Ordering::Relaxed);
        report.state.store(state as u32, Ordering::Release);
    }

    /// Tells the agent which CUPTI call failed (`function`: a name id of the ring), and how.
    pub fn fault(&self, status: i32, function: u32) {
        let report = &self.control().report;
        report.status.store(status.cast_unsigned(), Ordering::Relaxed);
        report.function.store(function, Ordering::Relaxed);
    }

    /// Tells the agent how the latest wish to finalise CUPTI ended.
    pub fn finalized(&self, outcome: Finalized) {
        self.control().report.finalized.store(outcome as u32, Ordering::Relaxed);
    }

    /// Adds to a counter.
    #[inline]
    pub fn add(&self, counter: Counter, amount: u64) {
        if let Some(counter) = self.control().report.counters.get(counter as usize) {
            counter.fetch_add(amount, Ordering::Relaxed);
        }
    }

    /// The page's file, unless it was taken.
    #[must_use]
    pub fn file(&self) -> Option<&OwnedFd> {
        self.fd.as_ref()
    }

    /// Gives the page's file away; the mapping stays.
    pub fn take_file(&mut self) -> Option<OwnedFd> {
        self.fd.take()
    }

    /// Keeps the page out of children made by `fork`.
    pub fn dont_fork(&self) -> io::Result<()> {
        self.map.dont_fork()
    }

    fn control(&self) -> &Control {
        control_of(&self.map)
    }
}
