//! Entries and returns to calls: pure, synchronous, bounded.
//!
//! Enters: the headers and payloads of probes' records, [`Calls`] that say what they mean, and the time. Leaves: events, each
//! once its call is over. Refuses: to guess: a return is paired with the entry of the same function at the same place of the
//! same stack, or counted as an orphan.
//!
//! # How a return finds its entry
//!
//! Where a function is entered, the stack pointer stands at its return address; where it returns, it stands there again.
//! While the call lives, that place of memory is its own. So within one thread the pair (function, stack pointer) names one
//! open call, whatever lies between: nested and recursive calls are at lower places, and a signal handler on a stack of its own,
//! or a coroutine, is elsewhere altogether. A return takes the newest open call of its function at its place.
//!
//! # How a call without a return is told
//!
//! An exception or `longjmp` leaves frames without executing their returns. Such a frame shows when the thread is seen *above*
//! it (at a higher stack pointer): it may be gone, or be on another stack and go on later. It is called *suspect*, and is known
//! to be gone
//! * once its place is entered again (by its own function at once; by another one if it was suspect already, because a function
//!   that ends in a jump leaves its place to the one it jumps to), or
//! * after [`PATIENCE_NS`].
//!
//! When records were lost, a return that is missing says nothing, and a pair may be none: what was open then is closed without
//! a duration and counted as [`Counts::doubtful`], not as left by an exception.
//!
//! # Accounting
//!
//! `entries = returned + unwound + entry only + doubtful + open`, `returns = returned + doubtful returns + orphans`; and no more
//! than [`Limits`] are open: an entry past them is at once an event without a duration.

use std::collections::HashMap;
use std::sync::Arc;

use gpu_agent_ebpf_abi::{Header, phase};

use crate::event::{Event, OpEnd, ThreadId};
use crate::probes::plan::Call;

mod calls;
mod cuda;
mod finish;
mod stack;

pub use calls::Calls;

use cuda::LatestChange;
use finish::{Exit, finish};
use stack::{Frame, Stack};

/// How long a suspect frame may still return.
pub const PATIENCE_NS: u64 = 10_000_000_000;
/// How long a call may be open though its thread shows nothing.
const LONGEST_NS: u64 = 3_600_000_000_000;
/// How long a thread without open calls is remembered.
const IDLE_NS: u64 = 10_000_000_000;
/// What a return address takes on the stack: a uretprobe is hit when it has been popped.
const RETURN_ADDRESS_BYTES: u64 = if cfg!(target_arch = "x86_64") { 8 } else { 0 };

/// What may be open at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Threads.
    pub threads: usize,
    /// Calls of one thread.
    pub depth: usize,
    /// Calls of all threads. Each holds its payload: 1 KiB at most.
    pub calls: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { threads: 16_384, depth: 512, calls: 32_768 }
    }
}

/// What became of the records. Each only ever grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Entries.
    pub entries: u64,
    /// Returns.
    pub returns: u64,
    /// Entries whose return was seen.
    pub returned: u64,
    /// Entries whose frame is gone without a return.
    pub unwound: u64,
    /// Entries of calls whose return is not probed, or for whose return there was no room to wait.
    pub entry_only: u64,
    /// Entries that were open when records were lost.
    pub doubtful: u64,
    /// Returns of those.
    pub doubtful_returns: u64,
    /// Returns without an entry.
    pub orphans: u64,
    /// Records of slots that mean nothing (any more).
    pub unknown: u64,
    /// Changes of a process's list of libraries.
    pub notices: u64,
    /// Values that could not be read, or contradict themselves.
    pub unreadable: u64,
    /// Of `entry_only`: those past a limit.
    pub untracked: u64,
}

/// What the correlator hands out.
#[derive(Debug)]
pub enum Found<'a> {
    /// Something happened in a process.
    Event(&'a Event),
    /// A process has loaded or dropped libraries.
    Libraries,
}

/// All open calls.
#[derive(Debug)]
pub struct Correlator {
    limits: Limits,
    threads: HashMap<Thread, Stack, foldhash::fast::RandomState>,
    open: usize,
    is_missing: bool,
    counts: Counts,
}

/// A thread of a process, as BPF names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Thread {
    process: u32,
    thread: u32,
}

impl Correlator {
    /// Without open calls.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, threads: HashMap::default(), open: 0, is_missing: false, counts: Counts::default() }
    }

    /// Takes one record; `sink` gets the process (tgid) and what was found.
    pub fn observe(
        &mut self,
        header: &Header,
        payload: &[u8],
        calls: &Calls,
        mut sink: impl FnMut(u32, Found<'_>),
    ) {
        if header.phase == phase::LIBRARIES {
            self.counts.notices += 1;
            sink(header.process, Found::Libraries);
            return;
        }
        let Some(slot) = calls.get(header.slot, header.generation) else {
            self.counts.unknown += 1;
            return;
        };
        let thread = Thread { process: header.process, thread: header.thread };
        if header.phase == phase::ENTRY {
            self.counts.entries += 1;
            let frame = Frame::new(header, payload, Arc::clone(&slot.call), self.is_missing);
            self.entered(thread, frame, slot.has_exit, &mut sink);
        } else {
            self.counts.returns += 1;
            let popped = if header.phase == phase::RETURNED { RETURN_ADDRESS_BYTES } else { 0 };
            let place = header.stack_pointer.wrapping_sub(popped);
            let exit = Exit::new(header, payload);
            self.left(thread, place, &slot.call, exit, &mut sink);
        }
    }

    fn entered(
        &mut self,
        thread: Thread,
        frame: Frame,
        has_exit: bool,
        sink: &mut impl FnMut(u32, Found<'_>),
    ) {
        let has_room = self.open < self.limits.calls
            && (self.threads.len() < self.limits.threads || self.threads.contains_key(&thread));
        if has_exit && has_room {
            let stack = self.threads.entry(thread).or_default();
            stack.seen(frame.entry_ktime_ns);
            for gone in stack.reused(frame.place, &frame.call) {
                self.open -= 1;
                close(thread, gone, &mut self.counts, sink);
            }
            stack.suspect_below(frame.place, frame.entry_ktime_ns);
            if stack.len() < self.limits.depth {
                stack.push(frame);
                self.open += 1;
                return;
            }
        }
        self.counts.entry_only += 1;
        self.counts.untracked += u64::from(has_exit);
        emit_without_return(thread, &frame, OpEnd::EntryOnly, &mut self.counts, sink);
    }

    fn left(
        &mut self,
        thread: Thread,
        place: u64,
        call: &Arc<Call>,
        exit: Exit<'_>,
        sink: &mut impl FnMut(u32, Found<'_>),
    ) {
        let Self { threads, open, counts, .. } = self;
        let Some((frame, stack)) = threads.get_mut(&thread).and_then(|stack| {
            stack.seen(exit.ktime_ns);
            let taken = stack.take(place, call);
            // Whatever else stands at this place jumped to the function that returns now, or is gone.
            stack.suspect_below(place.saturating_add(1), exit.ktime_ns);
            Some((taken?, stack))
        }) else {
            counts.orphans += 1;
            return;
        };
        *open -= 1;
        if frame.is_doubtful {
            counts.doubtful_returns += 1;
            close(thread, frame, counts, sink);
        } else {
            counts.returned += 1;
            emit(thread, &frame, Some(exit), OpEnd::Returned, &mut stack.latest_change, counts, sink);
        }
    }

    /// Whether records are missing somewhere in what is observed from now on, until told otherwise: neither what is open now
    /// nor what is entered meanwhile can be trusted to be paired with its own return.
    pub fn set_missing(&mut self, is_missing: bool) {
        self.is_missing = is_missing;
        if is_missing {
            self.threads.values_mut().for_each(Stack::doubt);
        }
    }

    /// Every second or so: closes what has waited in vain.
    pub fn tick(&mut self, now_ktime_ns: u64, mut sink: impl FnMut(u32, Found<'_>)) {
        let (counts, open) = (&mut self.counts, &mut self.open);
        self.threads.retain(|thread, stack| {
            for gone in stack.overdue(now_ktime_ns, PATIENCE_NS, LONGEST_NS) {
                *open -= 1;
                close(*thread, gone, counts, &mut sink);
            }
            stack.len() > 0 || now_ktime_ns.saturating_sub(stack.latest_ktime_ns()) < IDLE_NS
        });
    }

    /// The process has ended, or runs another program: none of its open calls returns any more.
    pub fn end_process(&mut self, process: u32, mut sink: impl FnMut(u32, Found<'_>)) {
        let (counts, open) = (&mut self.counts, &mut self.open);
        self.threads.retain(|thread, stack| {
            let ends = thread.process == process;
            if ends {
                for gone in stack.all() {
                    *open -= 1;
                    close(*thread, gone, counts, &mut sink);
                }
            }
            !ends
        });
    }

    /// What became of the records so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Calls that wait for their return.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open
    }
}

/// A frame that will not return.
fn close(thread: Thread, frame: Frame, counts: &mut Counts, sink: &mut impl FnMut(u32, Found<'_>)) {
    let end = if frame.is_doubtful {
        counts.doubtful += 1;
        OpEnd::EntryOnly
    } else {
        counts.unwound += 1;
        OpEnd::Unwound
    };
    emit_without_return(thread, &frame, end, counts, sink);
}

fn emit_without_return(
    thread: Thread,
    frame: &Frame,
    end: OpEnd,
    counts: &mut Counts,
    sink: &mut impl FnMut(u32, Found<'_>),
) {
    // A call whose return was not seen changed no memory that is known.
    emit(thread, frame, None, end, &mut LatestChange::default(), counts, sink);
}

fn emit(
    thread: Thread,
    frame: &Frame,
    exit: Option<Exit<'_>>,
    end: OpEnd,
    latest: &mut LatestChange,
    counts: &mut Counts,
    sink: &mut impl FnMut(u32, Found<'_>),
) {
    let unreadable = finish(frame, exit, end, ThreadId(thread.thread), latest, |event| {
        sink(thread.process, Found::Event(event));
    });
    counts.unreadable += u64::from(unreadable);
}

#[cfg(test)]
mod tests;
