//! Paged-attention calls out of kernel executions: a v2 call is a main kernel and, next on its stream, a reduce kernel.
//!
//! Enters: executions of both, in any order. Leaves: calls with their GPU time. Refuses: to trust the order of records:
//! CUPTI hands buffers over out of order, so kernels are paired by time, once all that ran before has surely come.
//!
//! The time of a call is the sum of its kernels' times, without the gap between them: the time the GPU worked for it.

use crate::event::{ContextId, Kernel, StreamId};

/// Kernels that wait to be paired, at most; beyond that, the older half is paired at once. 32 bytes each.
const MOST: usize = 1 << 16;
/// How long after its end a kernel is paired, ns: far longer than a record stays with CUPTI and in the ring.
const PATIENCE_NS: u64 = 1_500_000_000;

/// One execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    context: ContextId,
    stream: StreamId,
    start_ktime_ns: u64,
    duration_ns: u64,
    is_main: bool,
}

/// What pairing found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paired {
    /// A call, with its GPU time.
    Call(u64),
    /// A reduce kernel whose main kernel was never seen.
    OrphanReduce,
}

/// The kernels of one device that wait.
#[derive(Debug, Default)]
pub(super) struct Calls {
    parts: Vec<Part>,
}

impl Calls {
    /// Takes a main or a reduce kernel.
    pub(super) fn push(&mut self, kernel: &Kernel, is_main: bool, mut paired: impl FnMut(Paired)) {
        self.parts.push(Part {
            context: kernel.place.context,
            stream: kernel.place.stream,
            start_ktime_ns: kernel.interval.start_ktime_ns,
            duration_ns: kernel.interval.duration_ns(),
            is_main,
        });
        if self.parts.len() >= MOST {
            let mut starts: Vec<u64> = self.parts.iter().map(|part| part.start_ktime_ns).collect();
            let (_, &mut middle, _) = starts.select_nth_unstable(MOST / 2);
            self.pair(|part| part.start_ktime_ns <= middle, &mut paired);
            // A process that makes up streams can have nearly all of them wait for their other half; without this, every
            // further kernel would sort them all again.
            if self.parts.len() > MOST / 4 * 3 {
                self.pair(|_| true, paired);
            }
        }
    }

    /// Pairs the kernels that ended long enough before `now_ktime_ns`; with `u64::MAX`, all.
    pub(super) fn settle(&mut self, now_ktime_ns: u64, paired: impl FnMut(Paired)) {
        let latest = now_ktime_ns.saturating_sub(PATIENCE_NS);
        if now_ktime_ns == u64::MAX {
            self.pair(|_| true, paired);
        } else {
            self.pair(|part| part.start_ktime_ns.saturating_add(part.duration_ns) < latest, paired);
        }
    }

    fn pair(&mut self, is_due: impl Fn(&Part) -> bool, mut paired: impl FnMut(Paired)) {
        // By stream, then by time: the order of the fields.
        self.parts.sort_unstable();
        let mut waiting: Option<Part> = None;
        let mut kept = Vec::new();
        for &part in self.parts.iter().filter(|part| is_due(part)) {
            let same = |main: &Part| main.stream == part.stream && main.context == part.context;
            match waiting.take() {
                Some(main) if !part.is_main && same(&main) => {
                    paired(Paired::Call(main.duration_ns.saturating_add(part.duration_ns)));
                }
                main => {
                    // A main kernel without its reduce kernel is a call all the same.
                    if let Some(main) = main {
                        paired(Paired::Call(main.duration_ns));
                    }
                    if part.is_main {
                        waiting = Some(part);
                    } else {
                        paired(Paired::OrphanReduce);
                    }
                }
            }
            // The newest main kernel of a stream may have its reduce kernel among those that are not due yet.
            if let Some(main) = waiting
                && self.next_on_stream(&main).is_some_and(|next| !next.is_main && !is_due(next))
            {
                kept.push(main);
                waiting = None;
            }
        }
        if let Some(main) = waiting {
            paired(Paired::Call(main.duration_ns));
        }
        self.parts.retain(|part| !is_due(part));
        self.parts.extend(kept);
    }

    /// The kernel after `part` on its stream. The parts are sorted.
    fn next_on_stream(&self, part: &Part) -> Option<&Part> {
        let after = self.parts.partition_point(|other| other <= part);
        self.parts.get(after).filter(|next| next.stream == part.stream && next.context == part.context)
    }
}

#[cfg(test)]
mod tests {
    use super::{Calls, MOST, Paired};
    use crate::event::{Interval, Kernel, Place, StreamId};

    fn kernel(stream: u32, start_ktime_ns: u64, end_ktime_ns: u64) -> Kernel {
        Kernel {
            interval: Interval { start_ktime_ns, end_ktime_ns },
            place: Place { stream: StreamId(stream), ..Place::default() },
            ..Kernel::default()
        }
    }

    fn settled(calls: &mut Calls, now: u64) -> Vec<Paired> {
        let mut found = Vec::new();
        calls.settle(now, |paired| found.push(paired));
        found
    }

    fn push(calls: &mut Calls, kernel: &Kernel, is_main: bool) {
        calls.push(kernel, is_main, |paired| panic!("too early: {paired:?}"));
    }

    #[test]
    fn a_reduce_kernel_ends_the_call_before_it_on_its_stream() {
        let mut calls = Calls::default();
        push(&mut calls, &kernel(1, 0, 100), true);
        push(&mut calls, &kernel(2, 0, 1000), true);
        push(&mut calls, &kernel(1, 150, 160), false);
        push(&mut calls, &kernel(1, 170, 180), false);
        assert_eq!(
            settled(&mut calls, u64::MAX),
            [Paired::Call(110), Paired::OrphanReduce, Paired::Call(1000)],
            "the gap is no GPU time of the call"
        );
        assert_eq!(settled(&mut calls, u64::MAX), []);
    }

    #[test]
    fn the_order_of_arrival_does_not_matter() {
        let mut calls = Calls::default();
        let parts: Vec<_> =
            (0..20_u64).map(|n| (kernel(1, n * 100, n * 100 + 10 + n % 2), n % 2 == 0)).collect();
        for (kernel, is_main) in parts.iter().skip(11).chain(parts.iter().take(11)) {
            push(&mut calls, kernel, *is_main);
        }
        assert_eq!(settled(&mut calls, u64::MAX), [Paired::Call(21); 10]);
    }

    #[test]
    fn what_is_recent_waits_and_a_call_is_not_cut_in_two() {
        let mut calls = Calls::default();
        push(&mut calls, &kernel(1, 1_000_000_000, 1_000_000_100), true);
        push(&mut calls, &kernel(1, 1_000_000_200, 1_000_000_300), false);
        assert_eq!(settled(&mut calls, 2_000_000_000), []);
        assert_eq!(settled(&mut calls, 2_500_000_150), [], "its reduce kernel is not due yet");
        assert_eq!(settled(&mut calls, 2_500_000_400), [Paired::Call(200)]);
    }

    #[test]
    fn a_main_kernel_alone_is_a_call() {
        let mut calls = Calls::default();
        push(&mut calls, &kernel(1, 0, 100), true);
        push(&mut calls, &kernel(1, 200, 230), true);
        assert_eq!(settled(&mut calls, u64::MAX), [Paired::Call(100), Paired::Call(30)]);
    }

    #[test]
    fn the_number_of_waiting_kernels_is_bounded_and_none_is_forgotten() {
        let mut calls = Calls::default();
        let mut found = 0;
        // Times far in the future: a clock that lies.
        for number in 0..3 * MOST as u64 {
            let start = u64::MAX / 2 + number * 10;
            calls.push(&kernel(1, start, start + 5), number % 2 == 0, |_| found += 1);
            assert!(calls.parts.len() <= MOST);
        }
        found += settled(&mut calls, u64::MAX).len();
        assert_eq!(found, 3 * MOST / 2);
    }

    #[test]
    fn streams_that_all_wait_for_their_reduce_kernel_make_room_too() {
        let mut calls = Calls::default();
        let mut found = 0;
        let half = MOST as u32 / 2;
        // One main kernel more than half, so that the middle lies among them and none of the others is due.
        for stream in 0..=half {
            calls.push(&kernel(stream, 1, 2), true, |_| found += 1);
        }
        for stream in 0..half - 1 {
            calls.push(&kernel(stream, 3, 4), false, |_| found += 1);
        }
        assert!(calls.parts.len() <= MOST / 4 * 3, "{} still wait", calls.parts.len());
        found += settled(&mut calls, u64::MAX).len();
        assert_eq!(found, MOST / 2 + 1);
    }
}
