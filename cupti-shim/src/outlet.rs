//! The one way from completed buffers into the ring, shared by all threads that CUPTI may complete buffers on.
//!
//! Enters: the queue of completed buffers in the [`Pool`]. Leaves: their records in the ring, their counts on the
//! control page, the buffers free again. Refuses: to make a thread wait: whoever finds the outlet taken leaves its
//! buffer in the queue, and the one inside looks again after it has let go, so nothing is left behind. A thread of the
//! program empties at most [`TURN`] buffers; what is more waits for the next thread or the next flush.

use core::sync::atomic::{Ordering, fence};
use core::time::Duration;
use std::sync::{Mutex, TryLockError};

use cupti_sys::CallError;
use gpu_agent_ring::layout::Counter;
use gpu_agent_ring::{ShimControl, control::mono_ns};

use crate::activity::{Budget, Copier, Mode, Source};
use crate::buffer_pool::{Buffer, LIMIT, Pool};

/// Most buffers that one call of CUPTI's callback empties.
pub const TURN: usize = 64;

/// How long the shim's own thread waits for its turn: a stopped thread of the program may be inside for good.
pub const PATIENCE: Duration = Duration::from_millis(100);
/// How long it sleeps between two attempts.
const PAUSE: Duration = Duration::from_micros(50);

/// Decides whether a buffer is copied.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Share of one core for copying, parts per million; 0 = no limit.
    pub budget_ppm: u32,
    /// After this moment (CLOCK_MONOTONIC ns) nothing is copied any more, because a flush hangs and nobody disarms.
    pub overdue_ns: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Outlet {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    copier: Copier,
    budget: Budget,
    /// Buffers taken from the queue, oldest last. Never longer than [`LIMIT`], so it never grows.
    waiting: Vec<Buffer>,
    /// The first error of CUPTI's record iterator since somebody asked.
    fault: Option<CallError>,
}

impl Outlet {
    /// An outlet into the ring of `copier`.
    #[must_use]
    pub fn new(copier: Copier) -> Self {
        let inner =
            Inner { copier, budget: Budget::default(), waiting: Vec::with_capacity(LIMIT), fault: None };
        Self { inner: Mutex::new(inner) }
    }

    /// Empties completed buffers, at most `at_most`. Returns whether it got in; if not, another thread is at it.
    pub fn drain(
        &self,
        pool: &Pool,
        source: &Source,
        control: &ShimControl,
        limits: Limits,
        at_most: usize,
    ) -> bool {
        let mut left = at_most;
        while left > 0 {
            // Whoever queued a buffer and finds the outlet taken must be seen by the one inside, and the other way
            // round: each side writes, then looks at what the other wrote.
            fence(Ordering::SeqCst);
            let Some(done) = self.with(|inner| inner.drain(pool, source, control, limits, left)) else {
                return false;
            };
            left = left.saturating_sub(done);
            fence(Ordering::SeqCst);
            if !pool.has_completed() {
                return true;
            }
        }
        true
    }

    /// Lets the shim's own thread at the ring; gives up after [`PATIENCE`].
    pub fn write<R>(&self, mut write: impl FnMut(&mut Copier) -> R) -> Option<R> {
        patiently(|| self.with(|inner| write(&mut inner.copier)))
    }

    /// The error that CUPTI's record iterator gave, if it gave one since the last call.
    pub fn take_fault(&self) -> Option<CallError> {
        self.with(|inner| inner.fault.take()).flatten()
    }

    fn with<R>(&self, action: impl FnOnce(&mut Inner) -> R) -> Option<R> {
        match self.inner.try_lock() {
            Ok(mut inner) => Some(action(&mut inner)),
            // A panic inside was caught at the border; the records are plain data, so going on is sound.
            Err(TryLockError::Poisoned(poisoned)) => Some(action(&mut poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// Tries until there is a result, or [`PATIENCE`] is over.
pub fn patiently<R>(mut attempt: impl FnMut() -> Option<R>) -> Option<R> {
    let deadline_ns = mono_ns().saturating_add(PATIENCE.as_nanos() as u64);
    loop {
        match attempt() {
            None if mono_ns() < deadline_ns => std::thread::sleep(PAUSE),
            outcome => return outcome,
        }
    }
}

impl Inner {
    /// Returns how many buffers it emptied, 1 at least, so that its caller comes to an end.
    fn drain(
        &mut self,
        pool: &Pool,
        source: &Source,
        control: &ShimControl,
        limits: Limits,
        at_most: usize,
    ) -> usize {
        if self.waiting.is_empty() {
            // Newest first, as the queue gives them, so that the oldest is the last, where `pop` takes from.
            pool.take_completed(|buffer| self.waiting.push(buffer));
        }
        let mut done = 0;
        while done < at_most
            && let Some(buffer) = self.waiting.pop()
        {
            self.empty(pool.records(buffer), source, control, limits);
            pool.release(buffer);
            done += 1;
        }
        done.max(1)
    }

    fn empty(&mut self, records: &[u8], source: &Source, control: &ShimControl, limits: Limits) {
        let start_ns = mono_ns();
        let copies = start_ns < limits.overdue_ns && self.budget.allows(start_ns, limits.budget_ppm);
        let mode = if copies { Mode::Copy } else { Mode::Count };
        let (tally, outcome) = self.copier.copy(source, records, mode);
        let duration_ns = mono_ns().saturating_sub(start_ns);
        self.budget.spend(duration_ns);
        for (counter, amount) in tally.counters() {
            if amount > 0 {
                control.add(counter, amount);
            }
        }
        control.add(Counter::CopyNs, duration_ns);
        if let Err(error) = outcome {
            control.add(Counter::CuptiErrors, 1);
            self.fault.get_or_insert(error);
        }
    }
}
