//! From a call that is over to its events.
//!
//! Enters: an entry, perhaps a return. Leaves: an operation; of CUDA's own functions an API call and what it did to memory.
//! Refuses: a duration of a call whose return was not seen, and calls that the specification excludes.

use std::sync::Arc;

use gpu_agent_ebpf_abi::Header;

use super::cuda::{self, LatestChange};
use super::stack::Frame;
use crate::event::{Event, Interval, Op, OpEnd, ThreadId};
use crate::probes::plan::Fetched;

/// A return.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exit<'a> {
    pub(super) ktime_ns: u64,
    fetched: Fetched<'a>,
}

impl<'a> Exit<'a> {
    pub(super) fn new(header: &Header, payload: &'a [u8]) -> Self {
        let fetched = Fetched { present: header.present, faulted: header.faulted, payload };
        Self { ktime_ns: header.ktime_ns, fetched }
    }
}

/// Hands the call's events to `sink`; returns how many of its values could not be read.
pub(super) fn finish(
    frame: &Frame,
    exit: Option<Exit<'_>>,
    end: OpEnd,
    thread: ThreadId,
    latest: &mut LatestChange,
    mut sink: impl FnMut(&Event),
) -> u32 {
    let start_ktime_ns = frame.entry_ktime_ns;
    // Both are CLOCK_MONOTONIC of one thread; a return before its entry could only be made up.
    let end_ktime_ns = exit.map_or(start_ktime_ns, |exit| exit.ktime_ns.max(start_ktime_ns));
    let interval = Interval { start_ktime_ns, end_ktime_ns };
    let info = &frame.call.info;
    let values = frame.call.reader.values(frame.fetched(), exit.map(|exit| exit.fetched));
    if values.is_excluded {
        return 0;
    }
    let unreadable = values.unreadable;
    match info.api {
        Some(function) => cuda::events(function, interval, end, thread, &values.fields, latest, sink),
        None => sink(&Event::Op(Op {
            probe: Arc::clone(info),
            interval,
            end,
            thread,
            tensors: values.tensors,
            fields: values.fields,
        })),
    }
    unreadable
}
