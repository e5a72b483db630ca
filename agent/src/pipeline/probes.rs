//! The rings' thread's part of the probes: the BPF ring, drained as the shims' rings are.
//!
//! Enters: records, what their slots mean, which process is which target. Leaves: events, notices of the dynamic linker,
//! counts. Refuses: to lose the records of a probe that fired before its slot was told: they wait for that a moment.

use std::collections::HashMap;
use std::sync::Arc;

use gpu_agent_ebpf_abi::{Header, MAX_PAYLOAD, NUMBERS_PAYLOAD, phase};

use super::prober::{Request, Requests};
use super::{Shared, lock};
use crate::aggregate::Aggregator;
use crate::correlate::{Calls, Correlator, Counts, Found, Limits};
use crate::event::{Event, Pid, TargetId};
use crate::export::EventSender;
use crate::source::ebpf::{Counters, Drain, Slot};

/// Records taken under one lock of the aggregate, at most: a few milliseconds.
const TURN: usize = 4096;
/// Records of slots that are not told yet, at most.
const MOST_EARLY: usize = 16_384;
/// What Linux adds to a record in the ring (`BPF_RINGBUF_HDR_SZ`).
const RING_HEADER: usize = 8;
/// What the smallest and the largest record take in the ring.
const SMALLEST: usize = RING_HEADER + size_of::<Header>() + NUMBERS_PAYLOAD as usize;
const LARGEST: usize = RING_HEADER + size_of::<Header>() + MAX_PAYLOAD;

/// Probes at work.
pub(super) struct Probes {
    drain: Drain,
    ring_bytes: u32,
    intake: Intake,
    hops: Hops,
}

/// Records and what they mean.
struct Intake {
    correlator: Correlator,
    calls: Calls,
    processes: HashMap<u32, Of>,
    requests: Requests,
    early: Vec<(Header, Box<[u8]>)>,
    taken: u64,
}

/// Whose the events of a process are.
#[derive(Debug, Clone, Copy)]
struct Of {
    target: TargetId,
    /// CUPTI reports the calls of CUDA's own functions.
    has_ring: bool,
}

/// What became of probes' records, of all processes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hops {
    /// In Linux.
    pub bpf: Counters,
    /// Records that were none.
    pub malformed: u64,
    /// Records that were taken from the ring and understood, those of unknown slots included.
    pub taken: u64,
    /// What the correlator made of them.
    pub correlate: Counts,
    /// Calls that wait for their return.
    pub open: u64,
}

impl Probes {
    pub(super) fn new(drain: Drain, ring_bytes: u32, requests: Requests) -> Self {
        Self {
            drain,
            ring_bytes,
            intake: Intake {
                correlator: Correlator::new(Limits::default()),
                calls: Calls::default(),
                processes: HashMap::new(),
                requests,
                early: Vec::new(),
                taken: 0,
            },
            hops: Hops::default(),
        }
    }

    /// To ask the prober for something.
    pub(super) fn requests(&mut self) -> &mut Requests {
        &mut self.intake.requests
    }

    /// Events of the process belong to `target` from now on, and the prober looks for what can be probed in it.
    pub(super) fn add(&mut self, pid: Pid, target: TargetId, wants_cuda: bool) {
        self.intake.processes.insert(pid.0, Of { target, has_ring: !wants_cuda });
        self.intake.requests.ask(Request::Add { pid, wants_cuda });
    }

    /// Whether CUPTI reports the calls of CUDA's own functions in this process: while it does, they are not probed.
    pub(super) fn set_gpu_records(&mut self, pid: Pid, flow: bool) {
        if let Some(of) = self.intake.processes.get_mut(&pid.0)
            && of.has_ring != flow
        {
            of.has_ring = flow;
            self.intake.requests.ask(Request::Cuda { pid, wants_cuda: !flow });
        }
    }

    /// The process has ended, runs another program, or is let go: what is open in it is over.
    pub(super) fn remove(&mut self, pid: Pid, shared: &Shared, events: &mut EventSender) {
        self.look(shared, events);
        let mut sink = Sink { aggregator: &mut lock(&shared.aggregator), events };
        if let Some(of) = self.intake.processes.remove(&pid.0) {
            self.intake.correlator.end_process(pid.0, |_, found| sink.take(of, &found));
        }
        self.publish(shared);
        self.intake.requests.ask(Request::Remove { pid });
    }

    /// Slots mean something from now on. Their records that came before are taken in.
    pub(super) fn told(&mut self, slots: &[Slot], shared: &Shared, events: &mut EventSender) {
        for slot in slots {
            let is_exit = |other: &Slot| other.phase != phase::ENTRY && Arc::ptr_eq(&other.call, &slot.call);
            let has_exit = slots.iter().any(is_exit);
            self.intake.calls.insert(slot.slot, slot.generation, Arc::clone(&slot.call), has_exit);
        }
        let early = std::mem::take(&mut self.intake.early);
        let mut sink = Sink { aggregator: &mut lock(&shared.aggregator), events };
        for (header, payload) in early {
            self.intake.take(&header, &payload, &mut sink);
        }
    }

    /// Slots mean nothing any more, once the records that wait are taken in.
    pub(super) fn gone(&mut self, slots: &[(u32, u32)], shared: &Shared, events: &mut EventSender) {
        self.look(shared, events);
        for &(slot, generation) in slots {
            self.intake.calls.remove(slot, generation);
        }
    }

    /// Takes in what waits; returns how many bytes of the ring that was, and how many it has.
    pub(super) fn look(&mut self, shared: &Shared, events: &mut EventSender) -> (u64, u64) {
        let ring_bytes = self.ring_bytes as usize;
        // Half a ring at most: a turn that begins before a loss ends before what came after it.
        let turn = (ring_bytes / LARGEST / 2).clamp(1, TURN);
        self.count_hits();
        let mut bytes = 0;
        // The writers may be faster than we are: a bounded number of turns, then the shims' rings have theirs.
        for _ in 0..ring_bytes / SMALLEST / turn + 1 {
            let taken = self.turn(turn, &mut bytes, shared, events);
            self.count_hits();
            if taken < turn {
                // The ring was empty: whatever was lost, was lost before now.
                self.intake.correlator.set_missing(false);
                break;
            }
        }
        self.publish(shared);
        (bytes, u64::from(self.ring_bytes))
    }

    fn turn(&mut self, most: usize, bytes: &mut u64, shared: &Shared, events: &mut EventSender) -> usize {
        let mut sink = Sink { aggregator: &mut lock(&shared.aggregator), events };
        let intake = &mut self.intake;
        self.drain.drain(most, |header, payload| {
            let is_small = header.payload_bytes <= NUMBERS_PAYLOAD;
            *bytes += if is_small { SMALLEST } else { LARGEST } as u64;
            intake.take(header, payload, &mut sink);
        })
    }

    fn publish(&mut self, shared: &Shared) {
        self.hops.taken = self.intake.taken;
        self.hops.correlate = self.intake.correlator.counts();
        self.hops.open = self.intake.correlator.open() as u64;
        *lock(&shared.probes) = Some(self.hops);
    }

    /// Reads the kernel's counters: where hits were lost, what is in the ring may have gaps.
    fn count_hits(&mut self) {
        // Without an answer the counts stay as they were.
        let Ok(counters) = self.drain.counters() else { return };
        if counters.lost > self.hops.bpf.lost {
            self.intake.correlator.set_missing(true);
        }
        self.hops.bpf = counters;
        self.hops.malformed = self.drain.malformed();
    }

    /// Every second: calls that waited in vain, records whose slots nobody told.
    pub(super) fn upkeep(&mut self, now_ktime_ns: u64, shared: &Shared, events: &mut EventSender) {
        if !self.intake.requests.are_pending() && !self.intake.early.is_empty() {
            self.told(&[], shared, events);
        }
        let mut sink = Sink { aggregator: &mut lock(&shared.aggregator), events };
        let Intake { correlator, processes, .. } = &mut self.intake;
        correlator.tick(now_ktime_ns, |process, found| {
            if let Some(&of) = processes.get(&process) {
                sink.take(of, &found);
            }
        });
    }
}

impl Intake {
    fn take(&mut self, header: &Header, payload: &[u8], sink: &mut Sink<'_>) {
        let Self { correlator, calls, processes, requests, early, taken } = self;
        let is_told = header.phase == phase::LIBRARIES || calls.knows(header.slot, header.generation);
        if !is_told && requests.are_pending() && early.len() < MOST_EARLY {
            early.push((*header, payload.into()));
            return;
        }
        *taken += 1;
        correlator.observe(header, payload, calls, |process, found| match found {
            Found::Libraries => requests.look(Pid(process)),
            Found::Event(_) => {
                if let Some(&of) = processes.get(&process) {
                    sink.take(of, &found);
                }
            }
        });
    }
}

/// Where events go.
struct Sink<'a> {
    aggregator: &'a mut Aggregator,
    events: &'a mut EventSender,
}

impl Sink<'_> {
    fn take(&mut self, of: Of, found: &Found<'_>) {
        let Found::Event(event) = found else { return };
        if of.has_ring && matches!(event, Event::Api(_) | Event::Memory(_)) {
            return;
        }
        self.aggregator.observe(of.target, event);
        self.events.offer(of.target, event);
    }
}
