//! Paged-attention calls out of kernel executions: a v2 call is a main kernel and, next on its stream, a reduce kernel.
//!
//! Enters: executions of both, with their stream. Leaves: finished calls with their GPU time. Refuses: to wait: a call
//! whose reduce kernel does not come is finished by the next one on its stream, or by time.
//!
//! The time of a call is the sum of its kernels' times, without the gap between them: the time the GPU worked for it.

use crate::event::{ContextId, Kernel, StreamId};

/// Calls that wait for their reduce kernel, at most; CUDA programs have fewer streams.
const WAITING: usize = 256;
/// How long a call waits, ns: far longer than a buffer of records stays with CUPTI.
const PATIENCE_NS: u64 = 2_000_000_000;

/// A v2 call whose reduce kernel has not been seen yet.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    context: ContextId,
    stream: StreamId,
    duration_ns: u64,
    end_ktime_ns: u64,
}

/// The calls of one device that wait.
#[derive(Debug, Default)]
pub(super) struct Calls {
    waiting: Vec<Waiting>,
}

impl Calls {
    /// A main kernel. Returns the duration of a call that it finishes: the one before it on its stream, or, with
    /// too many waiting, the oldest.
    pub(super) fn main(&mut self, kernel: &Kernel) -> Option<u64> {
        let before = self.take(kernel);
        let finished = before
            .or_else(|| (self.waiting.len() >= WAITING).then(|| self.waiting.swap_remove(0).duration_ns));
        self.waiting.push(Waiting {
            context: kernel.place.context,
            stream: kernel.place.stream,
            duration_ns: kernel.interval.duration_ns(),
            end_ktime_ns: kernel.interval.end_ktime_ns,
        });
        finished
    }

    /// A reduce kernel. Returns the duration of the call that it ends; `None` if its main kernel was never seen.
    pub(super) fn reduce(&mut self, kernel: &Kernel) -> Option<u64> {
        Some(self.take(kernel)?.saturating_add(kernel.interval.duration_ns()))
    }

    /// Finishes the calls that waited long enough at `now_ktime_ns`.
    pub(super) fn expire(&mut self, now_ktime_ns: u64, mut finish: impl FnMut(u64)) {
        self.waiting.retain(|call| {
            let waits = now_ktime_ns.saturating_sub(call.end_ktime_ns) < PATIENCE_NS;
            if !waits {
                finish(call.duration_ns);
            }
            waits
        });
    }

    fn take(&mut self, kernel: &Kernel) -> Option<u64> {
        let same =
            |call: &Waiting| call.stream == kernel.place.stream && call.context == kernel.place.context;
        let index = self.waiting.iter().position(same)?;
        Some(self.waiting.swap_remove(index).duration_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::{Calls, WAITING};
    use crate::event::{Interval, Kernel, Place, StreamId};

    fn kernel(stream: u32, start_ktime_ns: u64, end_ktime_ns: u64) -> Kernel {
        Kernel {
            interval: Interval { start_ktime_ns, end_ktime_ns },
            place: Place { stream: StreamId(stream), ..Place::default() },
            ..Kernel::default()
        }
    }

    #[test]
    fn a_reduce_kernel_ends_the_call_on_its_stream() {
        let mut calls = Calls::default();
        assert_eq!(calls.main(&kernel(1, 0, 100)), None);
        assert_eq!(calls.main(&kernel(2, 0, 1000)), None);
        assert_eq!(calls.reduce(&kernel(1, 150, 160)), Some(110), "the gap is no GPU time of the call");
        assert_eq!(calls.reduce(&kernel(1, 170, 180)), None, "an orphan");
    }

    #[test]
    fn the_next_main_kernel_finishes_a_call_whose_reduce_was_lost() {
        let mut calls = Calls::default();
        calls.main(&kernel(1, 0, 100));
        assert_eq!(calls.main(&kernel(1, 200, 230)), Some(100));
    }

    #[test]
    fn time_and_number_bound_the_wait() {
        let mut calls = Calls::default();
        let mut finished = Vec::new();
        for stream in 0..u32::try_from(WAITING).unwrap() + 1 {
            finished.extend(calls.main(&kernel(stream, 0, 7)));
        }
        assert_eq!(finished, [7]);
        calls.expire(1_000_000_000, |duration| finished.push(duration));
        assert_eq!(finished.len(), 1);
        calls.expire(3_000_000_000, |duration| finished.push(duration));
        assert_eq!(finished.len(), WAITING + 1);
    }
}
