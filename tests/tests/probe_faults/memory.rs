//! Memory that cannot be read, and memory that lies.
//!
//! Enters: pointers to nowhere. Leaves: nothing. Refuses: a value that nobody read; a zero would be one.

use std::collections::BTreeSet;

use gpu_agent_ebpf_abi::phase;
use gpu_agent_tests::probed::prober::Probe;
use gpu_agent_tests::probed::reads::{self, ARGUMENTS, follow, numbers, register, text};

use super::rig::{self, Agent, Program};

/// Of pointers.c: what its cases are.
const PLAIN: usize = 0;
const PLAIN_VALUE: u64 = 0x6867_6665_6463_6261;
const NOT_PRESENT: usize = 3;
const ACROSS: usize = 5;
const UNALIGNED: usize = 6;
const BEFORE_A_HOLE: usize = 7;

#[test]
fn what_cannot_be_read_is_counted_and_has_no_value() {
    let Some(mut prober) = rig::prober() else { return };
    let program = Program::of("pointers.c");
    let mut target = program.start();
    let bare = target.round();
    let [pointer, number, ..] = ARGUMENTS.map(register);
    let entry = reads::program(
        phase::ENTRY,
        &[
            number,
            follow(pointer, &[0]),
            text(pointer, &[0], 40),
            follow(pointer, &[0, 0]),
            numbers(pointer, &[0], gpu_agent_ebpf_abi::FIXED, 4),
        ],
    );
    prober.attach(&target, &[Probe { function: "take", entry: &entry, exit: None }]);
    let watched = prober.watch(&mut target);
    assert_eq!(watched.checksum, bare);
    assert_eq!(watched.records.len(), 10);

    for (case, record) in watched.records.iter().enumerate() {
        assert_eq!(record.number(&entry, 0), Some(case as u64), "the argument itself is always there");
        for read in 1..5 {
            let (has_value, has_faulted) = (record.header.present & 1 << read != 0, record.is_faulted(read));
            assert!(
                has_value != has_faulted,
                "read {read} of case {case}: a value or a fault, never both or none"
            );
        }
        let value = record.number(&entry, 1);
        let words = record.text(&entry, 2);
        match case {
            PLAIN => {
                assert_eq!((value, words.as_deref()), (Some(PLAIN_VALUE), Some("abcdefgh")));
                assert!(record.is_faulted(3), "the number is no address");
                assert_eq!(record.numbers(&entry, 4), Some(vec![PLAIN_VALUE as i64, 0, 0, 0]));
            }
            UNALIGNED => assert_eq!((value, words), (Some(0x6161_6161_6161_6161), Some("a".repeat(40)))),
            BEFORE_A_HOLE => {
                assert_eq!(value, Some(0x6161_6161_6161_6161));
                assert!(record.is_faulted(4), "half of the numbers are in the hole");
            }
            ACROSS => assert_eq!(value, None, "half of the number is in the hole"),
            NOT_PRESENT => assert_eq!((value, words), (None, None), "a probe cannot wait for a page"),
            _ => assert_eq!((value, words), (None, None), "case {case}"),
        }
    }
    let faults: u64 =
        watched.records.iter().map(|record| u64::from(record.header.faulted.count_ones())).sum();
    assert_eq!(prober.counters().faulted_reads, faults);
    target.end();
}

/// Of each round of tensors.c: how many cases there are, and which tell the truth about their tensor.
const CASES: u64 = 11;
const HONEST: [u64; 4] = [0, 7, 8, 9];
/// Six tensors, a chain that leads nowhere, and the tensor, name and chain of a page that cannot be read.
const UNREADABLE: u64 = 10;

#[test]
fn tensors_that_lie_are_left_out_and_counted_and_what_is_true_beside_them_is_kept() {
    const ROUNDS: u64 = 3;
    if rig::prober().is_none() {
        return;
    }
    let program = Program::of("tensors.c");
    let mut target = program.start();
    let (bare, text) = (target.round(), target.text("look"));
    let mut agent = Agent::start(&target, include_str!("tensors.toml"));
    agent.until_probed(&target, "look", &text);
    for _ in 0..ROUNDS {
        assert_eq!(target.round(), bare);
    }
    let log = agent.stop();
    assert_eq!(target.text("look"), text);
    target.end();

    let of = |kind: &str| -> Vec<_> {
        log.iter().filter(|line| line["target"] == kind && line["probe"] == "look").collect()
    };
    let (calls, tensors) = (of("op"), of("tensor_metrics"));
    assert_eq!(calls.len() as u64, ROUNDS * CASES);
    for number in 0..CASES {
        let calls: Vec<_> = calls.iter().filter(|line| line["number"] == number).collect();
        assert_eq!(calls.len() as u64, ROUNDS, "calls of case {number}");
        for line in calls {
            assert_eq!(line.get("name").is_some(), number != 10, "{line}");
            assert_eq!(line.get("deep").is_some(), number != 9 && number != 10, "{line}");
            if number == 8 {
                assert_eq!(line["name"], "x".repeat(64), "text without an end is cut");
            }
        }
    }
    assert_eq!(tensors.len(), ROUNDS as usize * HONEST.len());
    assert!(tensors.iter().all(|line| line["shape"] == "[2, 3, 4]" && line["size_bytes"] == 96));
    let times: BTreeSet<_> = tensors.iter().map(|line| line["timestamp"].as_str().unwrap()).collect();
    let honest: BTreeSet<_> = calls
        .iter()
        .filter(|line| times.contains(line["timestamp"].as_str().unwrap()))
        .map(|line| line["number"].as_u64().unwrap())
        .collect();
    assert_eq!(honest, BTreeSet::from(HONEST));
    let unreadable = log.iter().rfind(|line| line["metric"] == "gpu_agent.probes.values.unreadable").unwrap();
    assert_eq!(unreadable["value"], ROUNDS * UNREADABLE);
}
