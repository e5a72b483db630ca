//! What reads give, to the last number.

use gpu_agent::probes::plan::Exit;
use gpu_agent_ebpf_abi::{FIXED, Read, condition, phase::ENTRY};

use super::rig::{
    Build, CALLS, Probes, REGISTERS, Record, STACK_ARGUMENTS, Target, argument, earlier, fetch, in_each_form,
    probe, register,
};

/// Reads at each call of `function`, in each form; the records of each form are handed over, one a call.
fn read(scenario: &str, function: &str, reads: &[Read], check: impl Fn(u64, &Record)) {
    in_each_form(|mut probes: Probes| {
        let mut target = Target::start(scenario);
        let unprobed = target.run();
        let probe = probe(target.program(), function, fetch(ENTRY, reads), Exit::Unseen);
        let attached = probes.attach(&target, probe);
        assert_eq!(target.run(), unprobed, "what the target computes is the same");
        let records = probes.records();
        assert_eq!(records.len() as u64, CALLS);
        let [slot] = &attached.slots[..] else { panic!("one slot: {:?}", attached.slots) };
        let mut faulted = 0;
        let mut before = 0;
        for (number, record) in (0..).zip(&records) {
            let header = &record.header;
            assert_eq!((header.process, header.thread), (target.pid().0, target.pid().0));
            assert_eq!((header.slot, header.generation, header.phase), (slot.slot, slot.generation, ENTRY));
            assert!(header.ktime_ns > before, "in the order of time");
            assert_eq!(header.present & header.faulted, 0);
            before = header.ktime_ns;
            faulted += u64::from(header.faulted.count_ones());
            check(number, record);
        }
        let counters = probes.counters();
        assert_eq!((counters.hits, counters.emitted, counters.faulted_reads), (CALLS, CALLS, faulted));
    });
}

#[test]
fn registers_are_read_whole_and_in_part() {
    let mut reads: Vec<Read> = (0..6).map(argument).collect();
    reads.extend([1, 2, 4, 8].map(|size| argument(3).bytes(size)));
    reads.push(register(32));
    reads.push(Read { base: gpu_agent_ebpf_abi::base::IMMEDIATE, immediate: 77, ..argument(0) });
    read("six", "six", &reads, |call, record| {
        let expected = [call, call.wrapping_neg(), call << 8, 0x1122_3344_5566_7788, 5, 6];
        for (number, value) in expected.into_iter().enumerate() {
            assert_eq!(record.number(8 * number), value);
        }
        let parts = [0x88, 0x7788, 0x5566_7788, 0x1122_3344_5566_7788];
        for (number, value) in parts.into_iter().enumerate() {
            assert_eq!(record.number(48 + 8 * number), value);
        }
        assert!(!record.has(10), "there is no such register, and that is no fault");
        assert_eq!(record.number(88), 77);
        assert_eq!((record.header.present, record.header.faulted), (0b1011_1111_1111, 0));
    });
}

#[test]
fn arguments_on_the_stack_are_read() {
    let reads = [0, 8, 16, 24].map(|slot| register(REGISTERS.2).at(STACK_ARGUMENTS + slot));
    // AArch64 has two more arguments in registers.
    let first = if cfg!(target_arch = "x86_64") { 0 } else { 2 };
    read("ten", "ten", &reads[..4 - first], |call, record| {
        for number in 0..4 - first {
            assert_eq!(record.number(8 * number), call + (first + number) as u64);
        }
    });
}

#[test]
fn six_loads_follow_six_pointers() {
    let chain = |loads| (0..loads).fold(argument(0), |read, _| read.at(0));
    let reads = [
        chain(0).at(16),
        chain(5).at(16),
        chain(5).at(8).bytes(1),
        chain(5).at(10).bytes(2),
        chain(5).at(12).bytes(4),
        // From a value that was read before, and back from it.
        chain(4),
        earlier(5).at(0).at(16),
        earlier(5).at(-24),
    ];
    read("memory", "memory", &reads, |call, record| {
        let start = call % 7;
        let after = |links: u64| (start + links) % 7;
        assert_eq!(record.number(0), after(0).wrapping_sub(16));
        assert_eq!(record.number(8), after(5).wrapping_sub(16));
        assert_eq!(record.number(16), 0xf0 + after(5));
        assert_eq!(record.number(24), 0xfff0 + after(5));
        assert_eq!(record.number(32), 0xffff_fff0 + after(5));
        assert_eq!(record.number(48), after(5).wrapping_sub(16));
        assert_eq!(record.header.faulted, 0);
        // 24 bytes before a link is the one before it, which begins with a pointer to it. What lies before the first one,
        // nobody knows.
        assert!(after(4) == 0 || record.number(56) == record.number(40));
    });
}

#[test]
fn arrays_have_as_many_elements_as_they_say_and_no_more_than_there_is_room_for() {
    let reads = [argument(1).at(0), argument(1).at(8).array(4, 8, 0), argument(1).at(8).array(4, 3, FIXED)];
    read("memory", "memory", &reads, |call, record| {
        let rank = call % 12;
        assert_eq!(record.number(0), rank);
        let element = |at: usize| u32::from_ne_bytes(record.payload[at..at + 4].try_into().unwrap());
        for index in 0..rank.min(8) {
            assert_eq!(u64::from(element(8 + 4 * index as usize)), 1000 * call + index);
        }
        for index in 0..3 {
            assert_eq!(u64::from(element(40 + 4 * index as usize)), 1000 * call + index);
        }
        assert_eq!(record.header.present, 0b111, "an array of no elements is there too");
    });
}

#[test]
fn strings_end_at_a_nul_or_at_their_capacity() {
    let reads = [
        argument(2).at(0).string(64),
        argument(2).at(0).string(7),
        argument(3),
        argument(2).at(0).counted(64, 2),
        argument(2).at(0).counted(5, FIXED),
    ];
    read("memory", "memory", &reads, |call, record| {
        let length = call % 100;
        let letter = b'a' + (call % 26) as u8;
        let check = |at: usize, expected: u64| {
            let (said, text) = (record.payload[at], &record.payload[at + 1..at + 1 + expected as usize]);
            assert_eq!(u64::from(said), expected);
            assert!(text.iter().all(|byte| *byte == letter), "{text:?}");
        };
        check(0, length.min(64));
        check(72, length.min(7));
        assert_eq!(record.number(80), length, "the NUL of a full string is not in the next value");
        check(88, length.min(64));
        assert_eq!(record.payload[160], 5);
        assert_eq!(record.header.present, 0b1_1111);
    });
}

#[test]
fn conditions_decide_what_is_read() {
    use condition::{ALWAYS, AT_LEAST, AT_MOST, EQUAL, LESS, MORE_THAN, NOT_EQUAL};
    let all = [ALWAYS, LESS, EQUAL, MORE_THAN, AT_MOST, AT_LEAST, NOT_EQUAL];
    let mut reads = vec![argument(3)];
    reads.extend(all.map(|condition| argument(4).only_if(0, condition, 50)));
    // What looks at something that is not there is not there.
    reads.push(argument(4).only_if(2, NOT_EQUAL, 1));
    read("memory", "memory", &reads, |call, record| {
        let length = call % 100;
        let expected =
            [true, length < 50, length == 50, length > 50, length <= 50, length >= 50, length != 50];
        for (number, holds) in (1..).zip(expected) {
            assert_eq!(record.has(number), holds, "{number}, {length}");
        }
        assert_eq!(record.has(8), length < 50);
        assert_eq!(record.header.faulted, 0);
    });
}

#[test]
fn what_cannot_be_read_has_no_value_and_says_so() {
    let reads = [
        argument(4),
        // Half of the calls have address 8 there, the others none.
        argument(4).at(0),
        argument(4).at(0).only_if(0, condition::NOT_EQUAL, 0),
        earlier(2).at(0),
        argument(1).at(8).array(4, 8, 2),
        argument(4).at(0).string(8),
        argument(4).at(0).at(0).at(0),
        argument(0).at(16),
        argument(4).at(0).counted(8, FIXED),
    ];
    read("memory", "memory", &reads, |call, record| {
        let odd = call % 2 == 1;
        assert_eq!(record.number(0), if odd { 8 } else { 0 });
        for read in [1, 5, 6, 8] {
            assert!(!record.has(read) && record.faulted(read), "{read}");
        }
        for read in [2, 3, 4] {
            assert!(!record.has(read), "{read}");
            assert_eq!(
                record.faulted(read),
                odd,
                "without a condition that holds, there is no attempt: {read}"
            );
        }
        assert!(record.has(7), "what can be read is read");
    });
}

#[test]
fn a_full_program_of_32_reads_fits() {
    let mut reads = vec![argument(1).at(0)];
    reads.resize(16, argument(0).at(16));
    reads.resize(28, argument(1).at(8).array(8, 5, FIXED));
    reads.resize(32, argument(2).at(0).string(63));
    read("memory", "memory", &reads, |call, record| {
        assert_eq!(record.header.present, u32::MAX);
        assert_eq!(record.payload.len(), 16 * 8 + 12 * 40 + 4 * 64);
        for number in 1..16 {
            assert_eq!(record.number(8 * number), (call % 7).wrapping_sub(16));
        }
        for array in 16..28 {
            let first = (1000 * call) | (1000 * call + 1) << 32;
            assert_eq!(record.number(128 + 40 * (array - 16)), first);
        }
        for string in 28..32 {
            assert_eq!(u64::from(record.payload[608 + 64 * (string - 28)]), (call % 100).min(63));
        }
    });
}
