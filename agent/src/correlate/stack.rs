//! The open calls of one thread.
//!
//! Enters: frames and places. Leaves: frames that are done with. Refuses: an order: a thread may have several stacks.

use std::sync::Arc;

use gpu_agent_ebpf_abi::Header;

use super::cuda::LatestChange;
use crate::probes::plan::{Call, Fetched};

/// An open call.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) call: Arc<Call>,
    /// Stack pointer at the entry.
    pub(super) place: u64,
    pub(super) entry_ktime_ns: u64,
    /// Records were lost while it was open.
    pub(super) is_doubtful: bool,
    /// Since when the thread was seen above it.
    suspect_since_ns: Option<u64>,
    present: u32,
    faulted: u32,
    payload: Box<[u8]>,
}

impl Frame {
    pub(super) fn new(header: &Header, payload: &[u8], call: Arc<Call>, is_doubtful: bool) -> Self {
        Self {
            call,
            place: header.stack_pointer,
            entry_ktime_ns: header.ktime_ns,
            is_doubtful,
            suspect_since_ns: None,
            present: header.present,
            faulted: header.faulted,
            payload: payload.into(),
        }
    }

    pub(super) fn fetched(&self) -> Fetched<'_> {
        Fetched { present: self.present, faulted: self.faulted, payload: &self.payload }
    }
}

/// The frames of one thread, oldest first.
#[derive(Debug, Default)]
pub(super) struct Stack {
    frames: Vec<Frame>,
    latest_ktime_ns: u64,
    /// What a call of CUDA's driver did to memory last.
    pub(super) latest_change: LatestChange,
}

impl Stack {
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(super) fn push(&mut self, frame: Frame) {
        self.frames.push(frame);
    }

    /// The thread was seen.
    pub(super) fn seen(&mut self, ktime_ns: u64) {
        self.latest_ktime_ns = self.latest_ktime_ns.max(ktime_ns);
    }

    pub(super) fn latest_ktime_ns(&self) -> u64 {
        self.latest_ktime_ns
    }

    /// Takes the newest frame of `call` at `place`.
    pub(super) fn take(&mut self, place: u64, call: &Arc<Call>) -> Option<Frame> {
        let index =
            self.frames.iter().rposition(|frame| frame.place == place && Arc::ptr_eq(&frame.call, call))?;
        Some(self.frames.remove(index))
    }

    /// Takes what cannot be there any more when `call` is entered at `place`.
    pub(super) fn reused(&mut self, place: u64, call: &Arc<Call>) -> Vec<Frame> {
        self.extract(|frame| {
            frame.place == place && (frame.suspect_since_ns.is_some() || Arc::ptr_eq(&frame.call, call))
        })
    }

    /// The thread was seen at `place`: all below it is suspect.
    pub(super) fn suspect_below(&mut self, place: u64, now_ktime_ns: u64) {
        for frame in self.frames.iter_mut().filter(|frame| frame.place < place) {
            frame.suspect_since_ns.get_or_insert(now_ktime_ns);
        }
    }

    /// Takes the frames that were suspect for `patience_ns`, or open for `longest_ns` while the thread was not seen.
    pub(super) fn overdue(&mut self, now_ktime_ns: u64, patience_ns: u64, longest_ns: u64) -> Vec<Frame> {
        let since = |then: u64| now_ktime_ns.saturating_sub(then);
        let is_silent = since(self.latest_ktime_ns) >= longest_ns;
        self.extract(|frame| {
            is_silent || frame.suspect_since_ns.is_some_and(|then| since(then) >= patience_ns)
        })
    }

    /// Takes all frames.
    pub(super) fn all(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.frames)
    }

    /// Records were lost.
    pub(super) fn doubt(&mut self) {
        self.frames.iter_mut().for_each(|frame| frame.is_doubtful = true);
    }

    /// An empty list costs no allocation, and is the rule.
    fn extract(&mut self, is_gone: impl Fn(&Frame) -> bool) -> Vec<Frame> {
        self.frames.extract_if(.., |frame| is_gone(frame)).collect()
    }
}
