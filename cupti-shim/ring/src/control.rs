//! The control page: who may have the shim armed, until when, for what; and what the shim says back.
//!
//! Enters: an agent's lease and wishes ([`AgentControl`]), the shim's state and counters ([`ShimControl`]).
//! Leaves: the same, to the other side. Refuses: to arm without a lease, and to take a lease that another
//! agent holds.
//!
//! # The lease
//!
//! A lease is a deadline on CLOCK_MONOTONIC, which all processes of a time namespace share. In another one it is off
//! by a constant, so a deadline would end too early or too late there. Nothing here can tell: an agent compares
//! `/proc/PID/ns/time` with its own before it opens the page, and refuses a process where they differ; where the link
//! cannot be read (Linux before 5.6, no right to look), it takes them for the same.
//!
//! The shim is armed while the deadline lies ahead. The agent that holds the lease renews it long before it ends; an
//! agent that dies stops renewing, and the shim goes dormant by itself.
//!
//! The deadline word is also the lock. An agent takes an ended lease by compare-and-swap from the very deadline
//! that it saw to its own, and renews by compare-and-swap from the deadline that it wrote last. Deadlines only
//! grow, but for the 0 of a release, so of two agents that race for a lease one swap fails, and an agent whose
//! lease was taken over learns it at its next renewal ([`LeaseError::Lost`]), before it has changed anything.
//! A lease that the shim granted to itself at start (lowest bit set, [`GRANTED`]) is anybody's to take.
#![allow(unsafe_code, reason = "one struct of atomics over a shared page")]

mod agent_side;
mod shim_side;

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use rustix::thread::futex;
use rustix::time::{ClockId, clock_gettime};

pub use self::agent_side::AgentControl;
pub use self::shim_side::ShimControl;
use crate::layout::{Control, Counter, GRANTED, PAGE_BYTES, Request};
use crate::map::Map;

/// What the shim is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum ShimState {
    /// No lease: nothing is subscribed, no kind is enabled.
    Dormant = 1,
    /// Records flow.
    Armed = 2,
    /// Lent CUPTI to another profiler, as somebody asked; a lease alone does not arm it.
    Yielded = 3,
    /// Another profiler owns CUPTI in this process; the shim tries again.
    Busy = 4,
    /// No usable libcupti was found, or it is newer than the driver.
    NoCupti = 5,
    /// A CUPTI call failed: all was undone, and the shim stays dormant for the rest of this lease.
    Failed = 6,
    /// The process has ended its CUDA work and flushed for the last time. Where nothing could be flushed, `Busy`,
    /// `NoCupti` or `Failed` stays to say why.
    Finished = 7,
    /// Let go of CUPTI for good, as somebody asked: no lease arms it before that wish is taken back.
    Detached = 8,
}

/// Whether CUPTI is to be let go, whoever holds the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u32)]
pub enum HandOver {
    /// It is not.
    #[default]
    None = 0,
    /// Lent to another profiler.
    Yield = 1,
    /// Let go until this wish is taken back.
    Detach = 2,
    /// The same, and CUPTI is taken out of the process.
    DetachAndFinalize = 3,
}

/// How the latest wish to finalise CUPTI ended. Where it was not [`Self::Done`], CUPTI was let go without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u32)]
pub enum Finalized {
    /// It was not wished, or nothing was there to be finalised.
    #[default]
    No = 0,
    /// CUPTI is out of the process.
    Done = 1,
    /// CUPTI is older than 12.6, where finalising may crash the process.
    TooOld = 2,
    /// The process called no CUDA function in time, and CUPTI may be finalised at the end of one only.
    NoCall = 3,
    /// Another profiler uses CUPTI.
    Busy = 4,
    /// A CUPTI call failed; [`Report::status`] and [`Report::function`] say which.
    Failed = 5,
    /// It was not wished by the detachment that had CUPTI let go, whatever the lease wished.
    Detached = 6,
}

impl ShimState {
    /// The state with number `number`, if there is one.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        [
            Self::Dormant,
            Self::Armed,
            Self::Yielded,
            Self::Busy,
            Self::NoCupti,
            Self::Failed,
            Self::Finished,
            Self::Detached,
        ]
        .into_iter()
        .find(|&state| state as u32 == number)
    }
}

impl HandOver {
    /// The wish with number `number`; a number that is none wishes nothing.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        [Self::Yield, Self::Detach, Self::DetachAndFinalize]
            .into_iter()
            .find(|&wish| wish as u32 == number)
            .unwrap_or_default()
    }
}

impl Finalized {
    /// The outcome with number `number`; a number that is none says nothing.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        [Self::Done, Self::TooOld, Self::NoCall, Self::Busy, Self::Failed, Self::Detached]
            .into_iter()
            .find(|&outcome| outcome as u32 == number)
            .unwrap_or_default()
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
    /// Bits of [`crate::layout::ending`].
    pub ending: u32,
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
    /// Whether CUPTI is to be let go.
    pub hand_over: HandOver,
    /// Bits of [`crate::layout::ending`].
    pub ending: u32,
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
    /// How the latest wish to finalise CUPTI ended.
    pub finalized: Finalized,
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

/// CLOCK_MONOTONIC now, nanoseconds.
#[must_use]
pub fn mono_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A deadline as an agent writes it: the lowest bit is [`GRANTED`]'s.
fn deadline(duration: Duration) -> u64 {
    let end = mono_ns().saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    end.saturating_add(GRANTED) & !GRANTED
}

fn write_wishes(request: &Request, lease: &Lease) {
    let period = u32::try_from(lease.flush_period.as_millis()).unwrap_or(u32::MAX);
    request.kinds.store(lease.kinds, Ordering::Relaxed);
    request.flush_period_ms.store(period, Ordering::Relaxed);
    request.budget_ppm.store(lease.budget_ppm, Ordering::Relaxed);
    request.ending.store(lease.ending, Ordering::Relaxed);
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
