//! The control page: who may have the shim armed, until when, for what; and what the shim says back.
//!
//! Enters: an agent's lease and wishes ([`AgentControl`]), the shim's state and counters ([`ShimControl`]).
//! Leaves: the same, to the other side. Refuses: to arm without a lease, and to take a lease that another
//! agent holds.
//!
//! # The lease
//!
//! A lease is a deadline on CLOCK_MONOTONIC, which all processes of a host share. The shim is armed while the
//! deadline lies ahead. The agent that holds the lease renews it long before it ends; an agent that dies stops
//! renewing, and the shim goes dormant by itself.
//!
//! The deadline word is also the lock. An agent takes an ended lease by compare-and-swap from the very deadline
//! that it saw to its own, and renews by compare-and-swap from the deadline that it wrote last. Deadlines only
//! grow, but for the 0 of a release, so of two agents that race for a lease one swap fails, and an agent whose
//! lease was taken over learns it at its next renewal ([`LeaseError::Lost`]), before it has changed anything.
//! A lease that the shim granted to itself at start (lowest bit set, [`GRANTED`]) is anybody's to take.
#![allow(unsafe_code, reason = "futex words shared with another process")]

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{SealFlags, fstat};
use rustix::thread::futex;
use rustix::time::{ClockId, clock_gettime};

use crate::layout::{CONTROL_MAGIC, CONTROL_NAME, Control, Counter, FORMAT_VERSION, GRANTED, PAGE_BYTES};
use crate::map::Map;
use crate::reader::{OpenError, check_seals};

/// What the shim is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum ShimState {
    /// No lease: nothing is subscribed, no kind is enabled.
    Dormant = 1,
    /// Records flow.
    Armed = 2,
    /// Handed CUPTI to another profiler, as the agent asked.
    Yielded = 3,
    /// Another profiler owns CUPTI in this process; the shim tries again.
    Busy = 4,
    /// No usable libcupti was found, or it is newer than the driver.
    NoCupti = 5,
    /// A CUPTI call failed: all was undone, and the shim stays dormant for the rest of this lease.
    Failed = 6,
    /// The process has ended its CUDA work and flushed for the last time.
    Finished = 7,
}

impl ShimState {
    /// The state with number `number`, if there is one.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::Dormant, Self::Armed, Self::Yielded, Self::Busy, Self::NoCupti, Self::Failed, Self::Finished]
            .into_iter()
            .find(|&state| state as u32 == number)
    }
}

/// Why a lease was not had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Another agent holds it.
    #[error(
        "another agent (pid {holder_pid} in its own namespace) holds the lease on this process for {remaining_ms} ms more; stop it, or wait until it has ended"
    )]
    Held {
        /// Its pid, as it said.
        holder_pid: u32,
        /// Time until the lease ends, ms.
        remaining_ms: u64,
    },
    /// Another agent took it over, because this one did not renew in time.
    #[error(
        "the lease on this process ran out and was taken by another agent (pid {holder_pid} in its own namespace)"
    )]
    Lost {
        /// Its pid, as it said.
        holder_pid: u32,
    },
}

/// What an agent wants of a shim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Bits of [`crate::layout::kinds`].
    pub kinds: u32,
    /// Time between flushes.
    pub flush_period: Duration,
    /// Share of one core for copying records, parts per million; 0 = no limit.
    pub budget_ppm: u32,
    /// How long the shim stays armed without a renewal.
    pub duration: Duration,
}

/// The shim's wishes as the shim reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Futex word at the time of reading.
    pub generation: u32,
    /// Lease deadline, CLOCK_MONOTONIC nanoseconds.
    pub deadline_ns: u64,
    /// Bits of [`crate::layout::kinds`].
    pub kinds: u32,
    /// Time between flushes.
    pub flush_period: Duration,
    /// Parts per million of one core; 0 = no limit.
    pub budget_ppm: u32,
    /// Whether CUPTI is to be handed to another profiler.
    pub yielding: bool,
}

/// What the shim says, as the agent reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Its state; `None` for a number that is none.
    pub state: Option<ShimState>,
    /// CUPTI status behind `Busy`, `NoCupti` and `Failed`.
    pub status: i32,
    /// Name id of the CUPTI function that gave it.
    pub function: u32,
    /// The request that the state answers.
    pub generation: u32,
    /// Bits of [`crate::layout::kinds`] enabled.
    pub kinds: u32,
    /// How often it was armed.
    pub armed: u32,
    /// Counters by [`Counter`].
    pub counters: [u64; Counter::COUNT],
}

impl Report {
    /// One counter.
    #[must_use]
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters.get(counter as usize).copied().unwrap_or(0)
    }
}

/// The shim's side of the control page.
#[derive(Debug)]
pub struct ShimControl {
    map: Map,
    fd: OwnedFd,
}

/// An agent's side of the control page.
#[derive(Debug)]
pub struct AgentControl {
    map: Map,
    pid: u32,
    /// The deadline that this agent wrote last; 0 while it holds no lease.
    held: AtomicU64,
}

impl ShimControl {
    /// Creates and maps the page.
    pub fn create(ring_id: u64) -> io::Result<Self> {
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        let (fd, map) = Map::create(CONTROL_NAME, PAGE_BYTES, seals)?;
        let page = Self { map, fd };
        let control = page.control();
        control.version.store(FORMAT_VERSION, Ordering::Relaxed);
        control.ring_id.store(ring_id, Ordering::Relaxed);
        control.report.state.store(ShimState::Dormant as u32, Ordering::Relaxed);
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
            yielding: request.yield_request.load(Ordering::Relaxed) != 0,
        }
    }

    /// Writes a first lease on behalf of an agent that will come for it: `gpu-agent run` wants the very first
    /// kernel. It belongs to nobody, so that any agent may take it over at once.
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
        self.control().request.generation.fetch_add(1, Ordering::Release);
        let _ = futex::wake(&self.control().request.generation, futex::Flags::empty(), i32::MAX as u32);
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

    /// Adds to a counter.
    #[inline]
    pub fn add(&self, counter: Counter, amount: u64) {
        if let Some(counter) = self.control().report.counters.get(counter as usize) {
            counter.fetch_add(amount, Ordering::Relaxed);
        }
    }

    /// The page's file, for announcing it to an agent and for tests.
    #[must_use]
    pub fn file(&self) -> &OwnedFd {
        &self.fd
    }

    /// Keeps the page out of children made by `fork`.
    pub fn dont_fork(&self) -> io::Result<()> {
        self.map.dont_fork()
    }

    fn control(&self) -> &Control {
        control_of(&self.map)
    }
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
        let remaining = seen.saturating_sub(mono_ns());
        let held = |remaining: u64| LeaseError::Held {
            holder_pid: request.lease_pid.load(Ordering::Relaxed),
            remaining_ms: remaining / 1_000_000,
        };
        let mine = seen != 0 && seen == self.held.load(Ordering::Relaxed);
        if remaining > 0 && seen & GRANTED == 0 && !mine {
            return Err(held(remaining));
        }
        self.swap_deadline(seen, deadline(lease.duration))
            .map_err(|winner| held(winner.saturating_sub(mono_ns())))?;
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

    /// Asks the shim to hand CUPTI to another profiler (`true`), or to take it back.
    pub fn set_yield(&self, yielding: bool) {
        let request = &self.control().request;
        request.yield_request.store(yielding.into(), Ordering::Release);
        wake(&request.generation);
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
            counters: core::array::from_fn(|index| {
                report.counters.get(index).map_or(0, |counter: &AtomicU64| counter.load(Ordering::Relaxed))
            }),
        }
    }

    fn control(&self) -> &Control {
        control_of(&self.map)
    }
}

/// CLOCK_MONOTONIC now, nanoseconds.
#[must_use]
pub fn mono_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A deadline as an agent writes it: the lowest bit is [`GRANTED`]'s.
fn deadline(duration: Duration) -> u64 {
    mono_ns().saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)) & !GRANTED
}

fn write_wishes(request: &crate::layout::Request, lease: &Lease) {
    let period = u32::try_from(lease.flush_period.as_millis()).unwrap_or(u32::MAX);
    request.kinds.store(lease.kinds, Ordering::Relaxed);
    request.flush_period_ms.store(period, Ordering::Relaxed);
    request.budget_ppm.store(lease.budget_ppm, Ordering::Relaxed);
    wake(&request.generation);
}

fn wake(&self) {
        self.control().request.generation.fetch_add(1, Ordering::Release);
        let _ = futex::wake(&self.control().request.generation, futex::Flags::empty(), i32::MAX as u32);
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

    /// Adds to a counter.
    #[inline]
    pub fn add(&self, counter: Counter, amount: u64) {
        if let Some(counter) = self.control().report.counters.get(counter as usize) {
            counter.fetch_add(amount, Ordering::Relaxed);
        }
    }

    /// The page's file, for announcing it to an agent and for tests.
    #[must_use]
    pub fn file(&self) -> &OwnedFd {
        &self.fd
    }

    /// Keeps the page out of children made by `fork`.
    pub fn dont_fork(&self) -> io::Result<()> {
        self.map.dont_fork()
    }

    fn control(&self) -> &Control {
        control_of(&self.map)
    }
}

impl AgentControl {
    /// Checks and maps the page behind `fd` (opened for reading and writing), and makes sure that it belongs to
    /// the ring with id `ring_id`. `pid` is the agent's own, for the messages that other agents print.
    pub fn open(fd: impl AsFd, ring_id: u64, pid: u32) -> Result<Self, OpenError> {
        let io =
            |operation| move |error: rustix::io::Errno| OpenError::Io { operation, source: error.into() };
        let seals = fcntl_get_seals(&fd).map_err(io("read the seals of"))?;
        if !seals.contains(SealFlags::SHRINK | SealFlags::GROW) {
            return Err(OpenError::Unsealed { found: seals.bits() });
        }
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
        let remaining = seen.saturating_sub(mono_ns());
        let held = |remaining: u64| LeaseError::Held {
            holder_pid: request.lease_pid.load(Ordering::Relaxed),
            remaining_ms: remaining / 1_000_000,
        };
        let mine = seen != 0 && seen == self.held.load(Ordering::Relaxed);
        if remaining > 0 && seen & GRANTED == 0 && !mine {
            return Err(held(remaining));
        }
        self.swap_deadline(seen, deadline(lease.duration))
            .map_err(|winner| held(winner.saturating_sub(mono_ns())))?;
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

    /// Asks the shim to hand CUPTI to another profiler (`true`), or to take it back.
    pub fn set_yield(&self, yielding: bool) {
        let request = &self.control().request;
        request.yield_request.store(yielding.into(), Ordering::Release);
        wake(&request.generation);
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
            counters: core::array::from_fn(|index| {
                report.counters.get(index).map_or(0, |counter: &AtomicU64| counter.load(Ordering::Relaxed))
            }),
        }
    }

    fn control(&self) -> &Control {
        control_of(&self.map)
    }
}

/// CLOCK_MONOTONIC now, nanoseconds.
#[must_use]
pub fn mono_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn deadline(duration: Duration) -> u64 {
    mono_ns().saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

fn write_lease(request: &crate::layout::Request, lease: &Lease) {
    let period = u32::try_from(lease.flush_period.as_millis()).unwrap_or(u32::MAX);
    request.kinds.store(lease.kinds, Ordering::Relaxed);
    request.flush_period_ms.store(period, Ordering::Relaxed);
    request.budget_ppm.store(lease.budget_ppm, Ordering::Relaxed);
    request.lease_deadline_ns.store(deadline(lease.duration), Ordering::Release);
    wake(&request.generation);
}

fn wake(generation: &AtomicU32) {
    generation.fetch_add(1, Ordering::Release);
    let _ = futex::wake(generation, futex::Flags::empty(), i32::MAX as u32);
}

fn control_of(map: &Map) -> &Control {
    const _: () = assert!(size_of::<Control>() <= PAGE_BYTES);
    // SAFETY: every map of this module is PAGE_BYTES long and page-aligned, and `Control` is made of atomics.
    unsafe { &*map.base().cast::<Control>() }
}
