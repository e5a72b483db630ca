//! CUPTI's own thread: hands out full buffers, and under `late_ms` brings times late.
//!
//! Enters: rings (a buffer is ready), times that are due later, the flush period. Leaves: `bufferCompleted` calls. Refuses:
//! nothing. It starts with the first registered callbacks or enabled kind, ends with `cuptiFinalize`, and blocks all
//! signals, which are the program's.

use crate::in_flight::Ticket;
use crate::locks::hold;
use crate::records::Span;
use crate::session::Session;
use crate::status::Status;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Times that reach CUPTI later than the work ended.
struct Late {
    due: Instant,
    ticket: Ticket,
    work: u32,
    span: Span,
}

#[derive(Default)]
struct State {
    rung: bool,
    stop: bool,
    period: Option<Duration>,
    late: VecDeque<Late>,
}

/// The thread and what it waits for.
#[derive(Default)]
pub(crate) struct Worker {
    state: Mutex<State>,
    bell: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    /// Starts the thread if it does not run.
    pub(crate) fn start(&self, session: &'static Session) -> Status {
        let mut thread = hold(&self.thread);
        if thread.is_some() {
            return Status::SUCCESS;
        }
        hold(&self.state).stop = false;
        match std::thread::Builder::new().name("cupti-worker".into()).spawn(move || run(session)) {
            Ok(handle) => {
                *thread = Some(handle);
                Status::SUCCESS
            }
            Err(_no_thread) => Status::OUT_OF_MEMORY,
        }
    }

    /// Ends the thread; returns when it has ended, unless it is the caller.
    pub(crate) fn stop(&self) {
        let Some(handle) = hold(&self.thread).take() else { return };
        {
            let mut state = hold(&self.state);
            state.stop = true;
            state.late.clear();
        }
        self.bell.notify_one();
        if handle.thread().id() != std::thread::current().id() {
            // A panic of the thread would have aborted nothing but itself; there is nothing to add to its message.
            drop(handle.join());
        }
    }

    /// A buffer is ready.
    pub(crate) fn ring(&self) {
        hold(&self.state).rung = true;
        self.bell.notify_one();
    }

    /// `cuptiActivityFlushPeriod`: 0 is back to handing out at once.
    pub(crate) fn set_period(&self, period_ms: u32) {
        let period = Duration::from_millis(u64::from(period_ms));
        hold(&self.state).period = (!period.is_zero()).then_some(period);
        self.bell.notify_one();
    }

    /// Brings the times of a record of [`cuda_sim_abi::activity`] kind `work` after `delay`.
    pub(crate) fn bring_later(&self, delay: Duration, ticket: Ticket, work: u32, span: Span) {
        let late = Late { due: Instant::now() + delay, ticket, work, span };
        hold(&self.state).late.push_back(late);
        self.bell.notify_one();
    }

    /// Waits for something to do: times that are due, and whether to hand out buffers; `None` to end.
    fn wait(&self, last_tick: &mut Instant) -> Option<(Vec<Late>, bool)> {
        let mut state = hold(&self.state);
        loop {
            if state.stop {
                return None;
            }
            let now = Instant::now();
            let due = state.late.partition_point(|late| late.due <= now);
            let late: Vec<_> = state.late.drain(..due).collect();
            let hand_out = match state.period {
                None => std::mem::take(&mut state.rung),
                Some(period) => now.duration_since(*last_tick) >= period,
            };
            if hand_out {
                *last_tick = now;
            }
            if hand_out || !late.is_empty() {
                return Some((late, hand_out));
            }
            let tick = state.period.map(|period| *last_tick + period);
            let next = tick.into_iter().chain(state.late.front().map(|late| late.due)).min();
            state = match next {
                None => self.bell.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(next) => {
                    let pause = next.saturating_duration_since(now);
                    self.bell.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

fn run(session: &'static Session) {
    block_signals();
    let mut last_tick = Instant::now();
    while let Some((late, hand_out)) = session.worker.wait(&mut last_tick) {
        for late in late {
            session.settle(late.ticket, late.work, late.span);
        }
        if hand_out {
            session.hand_out_full();
        }
    }
}

fn block_signals() {
    // SAFETY: `all` is a valid signal set to fill and to read; the old mask is not asked for.
    unsafe {
        let mut all = core::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, core::ptr::null_mut());
    }
}
