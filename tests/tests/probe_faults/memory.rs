//! Memory that cannot be read, and memory that lies.
//!
//! Enters: pointers to nowhere. Leaves: nothing. Refuses: a value that nobody read; a zero would be one.

use gpu_agent_ebpf_abi::phase;
use gpu_agent_tests::probed::prober::Probe;
use gpu_agent_tests::probed::reads::{self, ARGUMENTS, follow, numbers, register, text};

use super::rig::{self, Program};

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
