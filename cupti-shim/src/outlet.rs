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
            self.fault.get_or_insert(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use cupti_sys::{ActivityKind, ApiVersion};
    use gpu_agent_ring::record::Kernel;
    use gpu_agent_ring::record::Record as _;
    use gpu_agent_ring::writer::Identity;
    use gpu_agent_ring::{AgentControl, Geometry, Reader, Writer};

    use super::*;
    use crate::activity::tests::{Bytes, buffer, kernel, source};

    const NO_LIMITS: Limits = Limits { budget_ppm: 0, overdue_ns: u64::MAX };

    struct Fixture {
        outlet: Outlet,
        control: ShimControl,
        source: Source,
        pool: Pool,
        reader: Reader,
    }

    impl Fixture {
        fn new(slots: u32) -> Self {
            let writer = Writer::create(Geometry { slots, names_bytes: 4096 }, Identity::default()).unwrap();
            let reader = Reader::open(writer.file().unwrap()).unwrap();
            Self {
                outlet: Outlet::new(Copier::new(writer)),
                control: ShimControl::create(1).unwrap(),
                source: source(ApiVersion::V12_4),
                pool: Pool::new(),
                reader,
            }
        }

        /// What CUPTI does when it completes a buffer with these records, but for the outlet.
        #[allow(unsafe_code, reason = "CUPTI writes into the buffer")]
        fn complete(&self, records: &[u8]) {
            let taken = std::iter::repeat_with(|| self.pool.take(false)).find_map(|taken| {
                // All are in the queue of a thread that Linux has stopped inside: let it go on.
                taken.is_none().then(std::thread::yield_now);
                taken
            });
            let memory = taken.unwrap().memory.as_ptr();
            // SAFETY: a buffer that was just taken, and is larger than any test's records.
            unsafe { memory.copy_from_nonoverlapping(records.as_ptr(), records.len()) };
            assert!(self.pool.complete(memory, records.len()));
        }

        fn drain(&self, limits: Limits, at_most: usize) -> bool {
            self.outlet.drain(&self.pool, &self.source, &self.control, limits, at_most)
        }

        fn counter(&self, counter: Counter) -> u64 {
            AgentControl::open(self.control.file().unwrap(), 1, 1).unwrap().report().counter(counter)
        }
    }

    #[test]
    fn buffers_of_many_threads_all_arrive_and_in_the_order_of_each_thread() {
        const THREADS: u64 = 8;
        const BUFFERS: u64 = 2_000;
        let mut fixture = Fixture::new(1 << 17);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let fixture = &fixture;
                scope.spawn(move || {
                    for number in 0..BUFFERS {
                        let records = [0, 1, 2].map(|part| kernel(number * 3 + part).u32(48, thread as u32));
                        fixture.complete(&buffer(records));
                        fixture.drain(NO_LIMITS, TURN);
                    }
                });
            }
        });
        // Nobody was inside any longer when the last one left, so nothing waits.
        assert!(!fixture.pool.has_completed());
        assert_eq!(fixture.counter(Counter::Emitted), THREADS * BUFFERS * 3);
        let mut next = [0; THREADS as usize];
        fixture.reader.poll(u64::MAX, |_, payload| {
            let kernel = Kernel::from_payload(payload).unwrap();
            let expected = &mut next[kernel.stream_id as usize];
            assert_eq!(kernel.start_ns, *expected);
            *expected += 1;
        });
        assert_eq!(next, [BUFFERS * 3; THREADS as usize]);
    }

    #[test]
    fn one_turn_empties_a_bounded_number_of_buffers_and_the_next_goes_on() {
        let mut fixture = Fixture::new(1024);
        for number in 0..10 {
            fixture.complete(&buffer([kernel(number)]));
        }
        assert!(fixture.drain(NO_LIMITS, 4));
        assert_eq!(fixture.counter(Counter::Emitted), 4);
        fixture.complete(&buffer([kernel(10)]));
        assert!(fixture.drain(NO_LIMITS, usize::MAX));
        let mut starts = Vec::new();
        fixture.reader.poll(u64::MAX, |_, payload| starts.push(payload[1]));
        assert_eq!(starts, (0..=10).collect::<Vec<_>>());
        assert_eq!(fixture.pool.outstanding(), 0);
    }

    #[test]
    fn who_finds_the_outlet_taken_leaves_at_once() {
        let fixture = Fixture::new(1024);
        fixture.complete(&buffer([kernel(1)]));
        let inside = fixture.outlet.inner.lock().unwrap();
        assert!(!fixture.drain(NO_LIMITS, TURN));
        assert!(fixture.outlet.write(|copier| copier.written()).is_none());
        drop(inside);
        assert!(fixture.drain(NO_LIMITS, TURN));
        assert_eq!(fixture.counter(Counter::Emitted), 1);
    }

    #[test]
    fn after_an_overdue_lease_nothing_is_copied() {
        let fixture = Fixture::new(1024);
        fixture.complete(&buffer([kernel(1), kernel(2)]));
        fixture.drain(Limits { overdue_ns: mono_ns(), ..NO_LIMITS }, TURN);
        assert_eq!((fixture.counter(Counter::Seen), fixture.counter(Counter::OverBudget)), (2, 2));
        assert_eq!(fixture.reader.head(), 0);
    }

    #[test]
    fn an_error_of_cuptis_iterator_is_told_once() {
        let fixture = Fixture::new(1024);
        fixture.complete(&buffer([kernel(1), Bytes::new(ActivityKind(61))]));
        fixture.drain(NO_LIMITS, TURN);
        assert!(matches!(fixture.outlet.take_fault(), Some(CallError::Failed { .. })));
        assert_eq!(fixture.outlet.take_fault(), None);
        assert_eq!((fixture.counter(Counter::Emitted), fixture.counter(Counter::Malformed)), (1, 1));
    }
}
