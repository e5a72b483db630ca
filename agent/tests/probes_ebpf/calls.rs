//! Entries and returns: every call is seen to begin and to end, once.

use std::collections::HashMap;

use gpu_agent::probes::plan::Exit;
use gpu_agent::source::ebpf::Scope;
use gpu_agent_ebpf_abi::phase::{ENTRY, RETURN, RETURNED};

use super::rig::{CALLS, Probes, Record, Target, argument, fetch, in_each_form, offset, probe, returned};

/// How far the stack pointer of a seen return is past the one at the entry.
const PAST: u64 = if cfg!(target_arch = "x86_64") { 8 } else { 0 };

/// The two ends of calls without calls in between.
fn pairs(records: &[Record]) -> impl Iterator<Item = (&Record, &Record)> {
    records.chunks(2).map(|pair| {
        let [entry, exit] = pair else { panic!("an entry without a return: {pair:?}") };
        (entry, exit)
    })
}

#[test]
fn returns_are_seen_by_a_trampoline_with_what_was_returned() {
    in_each_form(|mut probes: Probes| {
        let has_cookies = probes.attacher.features().cookies;
        let mut target = Target::start("six");
        let unprobed = target.run();
        let exit = Exit::Trampoline(fetch(RETURNED, &[returned()]));
        let probe = probe(target.program(), "six", fetch(ENTRY, &[argument(0), argument(2)]), exit);
        let plan = target.plan(target.program(), vec![probe]);
        let attached = probes.attacher.attach(Scope::Process(target.pid()), &plan);
        assert_eq!(target.run(), unprobed);
        let records = probes.records();
        if !has_cookies {
            assert_eq!(attached.slots.len(), 1, "the entry is attached all the same");
            let [refused] = &attached.refused[..] else { panic!("{:?}", attached.refused) };
            assert!(refused.why.to_string().contains("only at return instructions"), "{}", refused.why);
            assert_eq!((records.len() as u64, probes.counters().hits), (CALLS, CALLS));
            return;
        }
        assert!(attached.refused.is_empty(), "{:?}", attached.refused);
        for (call, (entry, exit)) in (0..).zip(pairs(&records)) {
            assert_eq!((entry.header.phase, exit.header.phase), (ENTRY, RETURNED));
            assert_eq!(
                (entry.header.slot, exit.header.slot),
                (attached.slots[0].slot, attached.slots[1].slot)
            );
            assert_eq!(exit.header.stack_pointer, entry.header.stack_pointer + PAST);
            assert!(exit.header.ktime_ns > entry.header.ktime_ns);
            assert_eq!((entry.number(0), entry.number(8)), (call, call << 8));
            let sum = 3 * (call << 8) + 4 * 0x1122_3344_5566_7788 + 25 + 36;
            assert_eq!(exit.number(0), sum - call);
        }
        assert_eq!((records.len() as u64, probes.counters().emitted), (2 * CALLS, 2 * CALLS));
    });
}

#[test]
fn returns_are_seen_at_every_return_instruction_before_the_stack_changes() {
    in_each_form(|mut probes: Probes| {
        let mut target = Target::start("returns");
        let unprobed = target.run();
        let offsets = ["first_return", "second_return"].map(|name| offset(target.program(), name));
        let exit = Exit::Instructions { offsets: offsets.to_vec(), program: fetch(RETURN, &[returned()]) };
        let probe = probe(target.program(), "two_returns", fetch(ENTRY, &[argument(0)]), exit);
        probes.attach(&target, probe);
        assert_eq!(target.run(), unprobed);
        let records = probes.records();
        for (call, (entry, exit)) in (0..).zip(pairs(&records)) {
            assert_eq!((entry.header.phase, exit.header.phase), (ENTRY, RETURN));
            assert_eq!(exit.header.stack_pointer, entry.header.stack_pointer);
            assert_eq!(entry.number(0), call);
            let expected = if call % 2 == 1 { call + 100 } else { call.wrapping_neg() };
            assert_eq!(exit.number(0), expected);
        }
        assert_eq!((records.len() as u64, probes.counters().hits), (2 * CALLS, 2 * CALLS));
    });
}

#[test]
fn calls_of_64_threads_that_call_themselves_pair_by_thread_and_stack_pointer() {
    in_each_form(|mut probes: Probes| {
        if !probes.attacher.features().cookies {
            return; // A compiled function's return instructions are the symbols' business.
        }
        let mut target = Target::start("nest");
        let unprobed = target.run();
        let exit = Exit::Trampoline(fetch(RETURNED, &[returned()]));
        let probe = probe(target.program(), "nest", fetch(ENTRY, &[argument(0), argument(1)]), exit);
        probes.attach(&target, probe);
        assert_eq!(target.run(), unprobed);
        let records = probes.records();

        let mut open: HashMap<(u32, u64), (u64, u64)> = HashMap::new();
        let mut calls = 0;
        for record in &records {
            let header = &record.header;
            if header.phase == ENTRY {
                let arguments = (record.number(0), record.number(8));
                assert_eq!(open.insert((header.thread, header.stack_pointer), arguments), None);
            } else {
                let (depth, of) = open.remove(&(header.thread, header.stack_pointer - PAST)).unwrap();
                assert_eq!(record.number(0), nest(depth, of), "nest({depth}, {of}): {record:x?}");
                calls += 1;
            }
        }
        assert!(open.is_empty());
        assert_eq!(calls, 64 * 4 * calls_of(5));
        let threads: std::collections::HashSet<u32> =
            records.iter().map(|record| record.header.thread).collect();
        assert_eq!(threads.len(), 64);
        let counters = probes.counters();
        assert_eq!((counters.emitted, counters.lost), (2 * calls, 0));
    });
}

/// What the target's function gives.
fn nest(depth: u64, of: u64) -> u64 {
    if depth == 0 { of } else { nest(depth - 1, of) + nest((depth / 2).saturating_sub(1), of) + depth }
}

/// How often it is called for one call.
fn calls_of(depth: u64) -> u64 {
    if depth == 0 { 1 } else { 1 + calls_of(depth - 1) + calls_of((depth / 2).saturating_sub(1)) }
}
