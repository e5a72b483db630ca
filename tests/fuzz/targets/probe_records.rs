//! Records of probes of any content, as if the BPF programs were another version's, and calls in any order.
//!
//! Enters: bytes, cut into records; every other one gets a phase, slot and place at which it is paired. Leaves: the ways they
//! went. Refuses: a panic, and counts that do not add up.

use std::mem::{discriminant, offset_of};
use std::sync::Arc;

use gpu_agent::correlate::{Calls, Correlator, Found, Limits};
use gpu_agent::decode::ebpf::{DecodeError, decode};
use gpu_agent::event::{OpClass, ProbeInfo};
use gpu_agent::probes::plan::{Call, Fetched, Reader, Values};
use gpu_agent_ebpf_abi::Header;

use super::Run;
use super::program::{Program, Ways};

/// Reads nothing.
#[derive(Debug)]
struct Nothing;

impl Reader for Nothing {
    fn values(&self, _entry: Fetched<'_>, _exit: Option<Fetched<'_>>) -> Values {
        Values::default()
    }
}

fn calls() -> Calls {
    let mut calls = Calls::default();
    for slot in 0..4 {
        let info = ProbeInfo {
            name: "call".into(),
            engine: "fuzz".into(),
            class: OpClass::Other,
            use_v1: None,
            api: None,
        };
        let call = Arc::new(Call { info: Arc::new(info), reader: Box::new(Nothing) });
        calls.insert(slot, 0, call, slot != 3);
    }
    calls
}

/// A record that belongs to a call: few threads, places and functions, so that they meet.
fn belonging(program: &mut Program<'_>) -> Vec<u8> {
    let mut record = vec![0; size_of::<Header>()];
    let mut put = |at: usize, byte: u8| {
        if let Some(place) = record.get_mut(at) {
            *place = byte;
        }
    };
    put(offset_of!(Header, ktime_ns) + 4, program.number::<1>() as u8);
    put(offset_of!(Header, stack_pointer), program.number::<1>() as u8 & 0x38);
    put(offset_of!(Header, thread), program.number::<1>() as u8 & 3);
    put(offset_of!(Header, slot), program.number::<1>() as u8 & 7);
    put(offset_of!(Header, phase), program.number::<1>() as u8 & 3);
    record
}

pub(super) fn make() -> Run {
    let calls = calls();
    Box::new(move |input| {
        let mut program = Program::new(input);
        let mut ways = Ways::default();
        let mut correlator = Correlator::new(Limits { threads: 2, depth: 3, calls: 5 });
        let mut sink = |_: u32, _: Found<'_>| ();
        let mut understood = 0;
        while let Some(operation) = program.operation() {
            let record = match operation % 4 {
                0 => (0..program.number::<1>() % 96).map(|_| program.number::<1>() as u8).collect(),
                1 => {
                    correlator.set_missing(program.number::<1>().is_multiple_of(2));
                    continue;
                }
                _ => belonging(&mut program),
            };
            match decode(&record) {
                Ok((header, payload)) => {
                    understood += 1;
                    correlator.observe(&header, payload, &calls, &mut sink);
                }
                Err(
                    error @ (DecodeError::TooShort { .. }
                    | DecodeError::TooLong { .. }
                    | DecodeError::Phase { .. }),
                ) => {
                    ways.note(discriminant(&error));
                }
            }
        }
        correlator.tick(program.number::<8>(), &mut sink);
        let (counts, open) = (correlator.counts(), correlator.open() as u64);
        let entries = counts.returned + counts.unwound + counts.entry_only + counts.doubtful + open;
        assert_eq!(counts.entries, entries);
        assert_eq!(counts.returns, counts.returned + counts.doubtful_returns + counts.orphans);
        assert_eq!(understood, counts.entries + counts.returns + counts.notices + counts.unknown);
        assert!(open <= 5);
        for (end, count) in [
            ("returned", counts.returned),
            ("unwound", counts.unwound),
            ("doubtful", counts.doubtful),
            ("untracked", counts.untracked),
            ("orphan", counts.orphans),
        ] {
            ways.note((end, count.min(2)));
        }
        ways.into_numbers()
    })
}
