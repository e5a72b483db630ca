//! The correlator against simulated threads, whose calls are known.

use std::collections::BTreeMap;
use std::sync::Arc;

use gpu_agent_ebpf_abi::{Header, phase};
use proptest::prelude::*;

use super::{Calls, Correlator, Counts, Found, Limits, PATIENCE_NS, RETURN_ADDRESS_BYTES};
use crate::event::{Event, FieldValue, Op, OpClass, OpEnd, ProbeInfo};
use crate::probes::plan::{Call, Fetched, Reader, Values};

/// Reads the number of the call at entry and at exit.
#[derive(Debug)]
struct Numbers;

impl Reader for Numbers {
    fn values(&self, entry: Fetched<'_>, exit: Option<Fetched<'_>>) -> Values {
        let number = |fetched: Fetched<'_>| {
            FieldValue::Unsigned(u64::from_le_bytes(fetched.payload.try_into().unwrap()))
        };
        let mut fields = vec![("entry".into(), number(entry))];
        fields.extend(exit.map(|exit| ("exit".into(), number(exit))));
        Values { fields, ..Values::default() }
    }
}

fn call(name: &str) -> Arc<Call> {
    let info = ProbeInfo {
        name: name.into(),
        engine: "test".into(),
        class: OpClass::Other,
        use_v1: None,
        api: None,
    };
    Arc::new(Call { info: Arc::new(info), reader: Box::new(Numbers) })
}

/// Function `n` enters at slot `2n` and returns at `2n + 1`; the last one's return is not probed.
const FUNCTIONS: u32 = 4;
const UNSEEN: u32 = FUNCTIONS;

struct Rig {
    calls: Calls,
    correlator: Correlator,
    ops: Vec<Op>,
    now_ns: u64,
}

impl Rig {
    fn new(limits: Limits) -> Self {
        let mut calls = Calls::default();
        for function in 0..=FUNCTIONS {
            let call = call(&format!("f{function}"));
            let has_exit = function != UNSEEN;
            calls.insert(2 * function, 1, Arc::clone(&call), has_exit);
            if has_exit {
                calls.insert(2 * function + 1, 1, call, has_exit);
            }
        }
        Self { calls, correlator: Correlator::new(limits), ops: Vec::new(), now_ns: 1000 }
    }

    fn record(&mut self, thread: u32, phase: u8, slot: u32, stack_pointer: u64, number: u64) {
        self.now_ns += 10;
        let header = Header {
            ktime_ns: self.now_ns,
            stack_pointer,
            process: 7,
            thread,
            slot,
            phase,
            generation: 1,
            present: 1,
            ..Header::default()
        };
        let ops = &mut self.ops;
        self.correlator.observe(&header, &number.to_le_bytes(), &self.calls, |_, found| {
            if let Found::Event(Event::Op(op)) = found {
                ops.push(op.clone());
            }
        });
    }

    fn enter(&mut self, thread: u32, function: u32, place: u64, number: u64) {
        self.record(thread, phase::ENTRY, 2 * function, place, number);
    }

    fn leave(&mut self, thread: u32, function: u32, place: u64, number: u64) {
        self.record(thread, phase::RETURN, 2 * function + 1, place, number);
    }

    fn tick(&mut self, after_ns: u64) {
        self.now_ns += after_ns;
        let ops = &mut self.ops;
        self.correlator.tick(self.now_ns, |_, found| {
            if let Found::Event(Event::Op(op)) = found {
                ops.push(op.clone());
            }
        });
    }

    fn ends(&self) -> Vec<(u64, OpEnd)> {
        self.ops.iter().map(|op| (number(op, "entry"), op.end)).collect()
    }
}

fn number(op: &Op, name: &str) -> u64 {
    match op.fields.iter().find(|(known, _)| &**known == name) {
        Some((_, FieldValue::Unsigned(number))) => *number,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn a_call_lasts_from_its_entry_to_its_return_and_has_values_of_both() {
    let mut rig = Rig::new(Limits::default());
    rig.enter(1, 0, 0x1000, 5);
    rig.leave(1, 0, 0x1000, 6);
    let [op] = &rig.ops[..] else { panic!("{:?}", rig.ops) };
    assert_eq!((op.duration_ns(), number(op, "entry"), number(op, "exit")), (Some(10), 5, 6));
    assert_eq!((&*op.probe.name, op.thread.0), ("f0", 1));
}

#[test]
fn a_uretprobe_is_hit_past_the_return_address() {
    let mut rig = Rig::new(Limits::default());
    rig.enter(1, 0, 0x1000, 5);
    rig.record(1, phase::RETURNED, 1, 0x1000 + RETURN_ADDRESS_BYTES, 6);
    assert_eq!(rig.ends(), [(5, OpEnd::Returned)]);
}

#[test]
fn a_function_that_ends_in_a_jump_is_closed_with_the_one_it_jumped_to() {
    let mut rig = Rig::new(Limits::default());
    // Two uretprobes: Linux runs both handlers at the one return, the inner function's first.
    rig.enter(1, 0, 0x1000, 5);
    rig.enter(1, 1, 0x1000, 6);
    rig.leave(1, 1, 0x1000, 6);
    rig.leave(1, 0, 0x1000, 5);
    assert_eq!(rig.ends(), [(6, OpEnd::Returned), (5, OpEnd::Returned)]);
    // Two return instructions: the outer one's are not executed.
    rig.ops.clear();
    rig.enter(1, 0, 0x1000, 7);
    rig.enter(1, 1, 0x1000, 8);
    rig.leave(1, 1, 0x1000, 8);
    rig.enter(1, 2, 0x1000, 9);
    assert_eq!(rig.ends(), [(8, OpEnd::Returned), (7, OpEnd::Unwound)]);
}

#[test]
fn a_frame_that_an_exception_left_is_told_when_its_place_is_used_again_or_after_a_while() {
    let mut rig = Rig::new(Limits::default());
    rig.enter(1, 0, 0x1000, 1);
    rig.enter(1, 0, 0x1000, 2);
    assert_eq!(rig.ends(), [(1, OpEnd::Unwound)], "its own function at its place");
    rig.enter(1, 1, 0x2000, 3);
    rig.tick(PATIENCE_NS - 1);
    assert_eq!(rig.ops.len(), 1);
    rig.tick(1);
    assert_eq!(rig.ends()[1..], [(2, OpEnd::Unwound)], "the thread was seen above it");
    assert_eq!(rig.correlator.open(), 1);
}

#[test]
fn a_long_call_is_no_exception() {
    let mut rig = Rig::new(Limits::default());
    rig.enter(1, 0, 0x1000, 1);
    for _ in 0..100 {
        rig.tick(PATIENCE_NS);
    }
    rig.leave(1, 0, 0x1000, 1);
    assert_eq!(rig.ends(), [(1, OpEnd::Returned)]);
}

#[test]
fn a_return_without_an_entry_is_an_orphan_and_a_slot_of_another_time_is_unknown() {
    let mut rig = Rig::new(Limits::default());
    rig.leave(1, 0, 0x1000, 1);
    rig.enter(1, 0, 0x1000, 1);
    rig.leave(1, 0, 0x1008, 1);
    rig.leave(1, 1, 0x1000, 1);
    rig.leave(2, 0, 0x1000, 1);
    rig.calls.remove(1, 2);
    rig.calls.insert(1, 2, call("another"), true);
    rig.leave(1, 0, 0x1000, 1);
    let counts = rig.correlator.counts();
    assert_eq!((counts.orphans, counts.unknown, counts.returned), (4, 1, 0));
}

#[test]
fn what_was_open_when_records_were_lost_gets_no_duration_and_is_no_exception() {
    let mut rig = Rig::new(Limits::default());
    rig.enter(1, 0, 0x1000, 1);
    rig.enter(1, 1, 0x0800, 2);
    rig.correlator.set_missing(true);
    rig.leave(1, 1, 0x0800, 2);
    rig.enter(1, 0, 0x1000, 3);
    rig.correlator.set_missing(false);
    rig.leave(1, 0, 0x1000, 3);
    rig.enter(1, 0, 0x1000, 4);
    rig.leave(1, 0, 0x1000, 4);
    let without = [2, 1, 3].map(|number| (number, OpEnd::EntryOnly));
    assert_eq!(rig.ends()[..3], without);
    assert_eq!(rig.ends()[3..], [(4, OpEnd::Returned)]);
    let counts = rig.correlator.counts();
    assert_eq!((counts.doubtful, counts.doubtful_returns, counts.unwound), (3, 2, 0));
}

/// Excludes calls whose number is odd.
#[derive(Debug)]
struct Even;

impl Reader for Even {
    fn values(&self, entry: Fetched<'_>, exit: Option<Fetched<'_>>) -> Values {
        let is_excluded = entry.payload.first().is_some_and(|number| number % 2 == 1);
        Values { is_excluded, ..Numbers.values(entry, exit) }
    }
}

#[test]
fn a_call_that_its_specification_excludes_is_accounted_for_and_no_event() {
    let mut rig = Rig::new(Limits::default());
    let even = Call { info: Arc::clone(&call("even").info), reader: Box::new(Even) };
    let even = Arc::new(even);
    rig.calls.insert(0, 1, Arc::clone(&even), true);
    rig.calls.insert(1, 1, even, true);
    for number in [1, 2] {
        rig.enter(1, 0, 0x1000, number);
        rig.leave(1, 0, 0x1000, number);
    }
    assert_eq!(rig.ends(), [(2, OpEnd::Returned)]);
    assert_eq!(rig.correlator.counts().returned, 2);
}

#[test]
fn a_process_that_ends_leaves_no_open_call() {
    let mut rig = Rig::new(Limits::default());
    rig.enter(1, 0, 0x1000, 1);
    rig.enter(2, 0, 0x1000, 2);
    let mut ends = 0;
    rig.correlator.end_process(8, |_, _| ends += 1);
    assert_eq!((ends, rig.correlator.open()), (0, 2));
    rig.correlator.end_process(7, |_, _| ends += 1);
    assert_eq!((ends, rig.correlator.open()), (2, 0));
}

#[test]
fn what_does_not_fit_is_an_event_at_once_and_the_rest_is_not_disturbed() {
    let limits = Limits { threads: 2, depth: 3, calls: 4 };
    let mut rig = Rig::new(limits);
    for depth in 0..5 {
        rig.enter(1, 0, 0x1000 - depth * 16, depth);
    }
    rig.enter(2, 0, 0x1000, 10);
    rig.enter(3, 0, 0x1000, 11);
    for depth in (0..5).rev() {
        rig.leave(1, 0, 0x1000 - depth * 16, depth);
    }
    let counts = rig.correlator.counts();
    assert_eq!((counts.untracked, counts.orphans, counts.returned, rig.correlator.open()), (3, 2, 3, 1));
    for op in rig.ops.iter().filter(|op| op.end == OpEnd::Returned) {
        assert_eq!(number(op, "entry"), number(op, "exit"));
    }
}

/// What a simulated thread does next; what makes no sense where it stands does nothing.
#[derive(Debug, Clone, Copy)]
enum Step {
    Call { function: u32, frame_bytes: u64 },
    Return,
    Throw { frames: usize },
    TailCall { function: u32 },
    SwitchStack { to: usize },
    SwitchThread { to: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..=FUNCTIONS, 1_u64..8)
            .prop_map(|(function, slots)| Step::Call { function, frame_bytes: slots * 16 }),
        5 => Just(Step::Return),
        1 => (1_usize..4).prop_map(|frames| Step::Throw { frames }),
        1 => (0..FUNCTIONS).prop_map(|function| Step::TailCall { function }),
        1 => (0_usize..3).prop_map(|to| Step::SwitchStack { to }),
        1 => (0_usize..3).prop_map(|to| Step::SwitchThread { to }),
    ]
}

/// A thread with three stacks: its own, one below and one above it in memory.
struct Simulated {
    stacks: [Vec<Active>; 3],
    current: usize,
}

#[derive(Clone, Copy)]
struct Active {
    function: u32,
    place: u64,
    number: u64,
}

impl Simulated {
    fn new() -> Self {
        Self { stacks: Default::default(), current: 0 }
    }

    fn stack(&mut self) -> &mut Vec<Active> {
        &mut self.stacks[self.current]
    }

    /// Where the next function is entered.
    fn next_place(&mut self, frame_bytes: u64) -> u64 {
        let top = [0x20_0000, 0x10_0000, 0x30_0000][self.current];
        self.stack().last().map_or(top, |active| active.place) - frame_bytes
    }
}

/// Runs the steps; returns how each call ended, by its number.
fn run(steps: &[Step], rig: &mut Rig) -> BTreeMap<u64, OpEnd> {
    let mut threads: Vec<Simulated> = (0..3).map(|_| Simulated::new()).collect();
    let mut ends = BTreeMap::new();
    let (mut current, mut next) = (0, 0_u64);
    for &step in steps {
        let (id, thread) = (current as u32, &mut threads[current]);
        match step {
            Step::Call { function, frame_bytes } => {
                let place = thread.next_place(frame_bytes);
                rig.enter(id, function, place, next);
                if function == UNSEEN {
                    ends.insert(next, OpEnd::EntryOnly);
                }
                thread.stack().push(Active { function, place, number: next });
                next += 1;
            }
            Step::Return => {
                let Some(active) = thread.stack().pop() else { continue };
                if active.function != UNSEEN {
                    rig.leave(id, active.function, active.place, active.number);
                    ends.insert(active.number, OpEnd::Returned);
                }
            }
            Step::Throw { frames } => {
                let stack = thread.stack();
                let kept = stack.len().saturating_sub(frames);
                for active in stack.drain(kept..).filter(|active| active.function != UNSEEN) {
                    ends.insert(active.number, OpEnd::Unwound);
                }
            }
            Step::TailCall { function } => {
                let Some(active) = thread.stack().pop() else { continue };
                if active.function != UNSEEN {
                    ends.insert(active.number, OpEnd::Unwound);
                }
                rig.enter(id, function, active.place, next);
                thread.stack().push(Active { function, number: next, ..active });
                next += 1;
            }
            Step::SwitchStack { to } => thread.current = to,
            Step::SwitchThread { to } => current = to,
        }
    }
    // Everything that is still active returns, so that each call has an end.
    for (id, thread) in threads.iter_mut().enumerate() {
        for stack in 0..thread.stacks.len() {
            thread.current = stack;
            while let Some(active) = thread.stack().pop() {
                if active.function != UNSEEN {
                    rig.leave(id as u32, active.function, active.place, active.number);
                    ends.insert(active.number, OpEnd::Returned);
                }
            }
        }
        // The thread goes on at the very top of all its stacks.
        rig.enter(id as u32, 0, 0x40_0000, next);
        rig.leave(id as u32, 0, 0x40_0000, next);
        ends.insert(next, OpEnd::Returned);
        next += 1;
    }
    rig.tick(PATIENCE_NS);
    ends
}

fn accounted(counts: &Counts, open: usize) -> bool {
    counts.entries == counts.returned + counts.unwound + counts.entry_only + counts.doubtful + open as u64
        && counts.returns == counts.returned + counts.doubtful_returns + counts.orphans
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn each_call_ends_as_it_did_whatever_threads_and_stacks_alternate(
        steps in prop::collection::vec(step(), 0..400)
    ) {
        let mut rig = Rig::new(Limits::default());
        let truth = run(&steps, &mut rig);
        let seen: BTreeMap<u64, OpEnd> = rig.ends().into_iter().collect();
        prop_assert_eq!(&seen, &truth);
        prop_assert_eq!(rig.ops.len(), truth.len(), "each once");
        for op in rig.ops.iter().filter(|op| op.end == OpEnd::Returned) {
            prop_assert_eq!(number(op, "entry"), number(op, "exit"));
        }
        prop_assert_eq!(rig.correlator.open(), 0);
        prop_assert_eq!(rig.correlator.counts().orphans, 0);
    }

    #[test]
    fn any_records_in_any_order_are_accounted_for_within_the_limits(
        records in prop::collection::vec((0_u32..4, 1_u8..=3, 0_u32..12, 0_u64..6), 0..300)
    ) {
        let limits = Limits { threads: 3, depth: 4, calls: 9 };
        let mut rig = Rig::new(limits);
        for (index, &(thread, phase, slot, place)) in records.iter().enumerate() {
            rig.record(thread, phase, slot, place * 8, index as u64);
            if index % 50 == 49 {
                rig.correlator.set_missing(index % 100 == 49);
            }
            prop_assert!(rig.correlator.open() <= limits.calls);
        }
        let (counts, open) = (rig.correlator.counts(), rig.correlator.open());
        prop_assert!(accounted(&counts, open), "{:?} {}", counts, open);
        prop_assert_eq!(counts.entries + counts.returns + counts.unknown, records.len() as u64);
        prop_assert_eq!(rig.ops.len() as u64 + open as u64, counts.entries);
    }
}
