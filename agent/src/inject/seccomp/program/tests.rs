//! Programs of each operation, and what is none.

use super::*;

const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// A call whose words are all known.
fn known() -> Data {
    core::array::from_fn(|word| Some(word as u32))
}

#[test]
fn all_operations_of_the_machine_are_known() {
    // ((((64 + 6) * 2 − 4) / 2) & 0x7e | 1) ^ 2) << 1 >> 1, through X and scratch memory; then compared.
    let expected = ((((64 + 6) * 2 - 4) / 2) & 0x7e | 1) ^ 2;
    let program = |verdict| {
        [
            instruction(0x80, 0, 0, 0),
            instruction(0x04, 0, 0, 6),
            instruction(0x24, 0, 0, 2),
            instruction(0x14, 0, 0, 4),
            instruction(0x34, 0, 0, 2),
            instruction(0x54, 0, 0, 0x7e),
            instruction(0x44, 0, 0, 1),
            instruction(0xa4, 0, 0, 2),
            instruction(0x64, 0, 0, 1),
            instruction(0x74, 0, 0, 1),
            instruction(0x02, 0, 0, 3),
            instruction(0x61, 0, 0, 3),
            instruction(0x87, 0, 0, 0),
            instruction(0x07, 0, 0, 0),
            instruction(0x1d, 0, 1, 0),
            instruction(0x35, 1, 0, 71),
            instruction(0x06, 0, 0, KILL_PROCESS),
            instruction(0x05, 0, 0, 1),
            instruction(0x06, 0, 0, KILL_PROCESS),
            instruction(0x15, 1, 0, verdict),
            instruction(0x06, 0, 0, KILL_PROCESS),
            instruction(0x06, 0, 0, ALLOW),
        ]
    };
    assert_eq!(answers(&program(expected), &known()), (Answer::Allow, Answer::Allow));
    assert_eq!(answers(&program(expected + 1), &known()), (Answer::Kill, Answer::Kill));
}

#[test]
fn what_an_unknown_word_decides_is_followed_both_ways() {
    let mut data = known();
    data[6] = None;
    let judge = |operation| {
        let program = [
            instruction(0x20, 0, 0, 24),
            operation,
            instruction(0x15, 0, 1, 0),
            instruction(0x06, 0, 0, ALLOW),
            instruction(0x06, 0, 0, KILL_PROCESS),
        ];
        answers(&program, &data)
    };
    assert_eq!(judge(instruction(0x54, 0, 0, 0x10)), (Answer::Allow, Answer::Kill), "masked");
    assert_eq!(judge(instruction(0x20, 0, 0, 28)), (Answer::Kill, Answer::Kill), "loaded and not asked");
    let verdict = [instruction(0x20, 0, 0, 24), instruction(0x16, 0, 0, 0)];
    assert_eq!(answers(&verdict, &data), (Answer::Allow, Answer::Kill), "the word is the answer");
}

#[test]
fn a_program_with_more_ways_than_are_gone_says_nothing() {
    // 64 questions, each with two ways to the next: 2^64 ways.
    let mut program = vec![instruction(0x20, 0, 0, 24)];
    program.extend((0..64).map(|bit| instruction(0x45, 0, 0, 1 << (bit % 32))));
    program.push(instruction(0x06, 0, 0, ALLOW));
    assert_eq!(answers(&program, &[None; _]), (Answer::Allow, Answer::Kill));
    assert_eq!(answers(&program, &known()), (Answer::Allow, Answer::Allow));
}

#[test]
fn what_is_no_program_is_taken_for_the_worst() {
    for program in [
        vec![],
        vec![instruction(0x05, 0, 0, u32::MAX)],
        vec![instruction(0x20, 0, 0, 3)],
        vec![instruction(0x20, 0, 0, 64), instruction(0x06, 0, 0, ALLOW)],
        vec![instruction(0x34, 0, 0, 0), instruction(0x06, 0, 0, ALLOW)],
        vec![instruction(0xff, 0, 0, 0)],
    ] {
        assert_eq!(answers(&program, &known()), (Answer::Kill, Answer::Kill), "{program:?}");
    }
}

proptest::proptest! {
    #[test]
    fn more_knowledge_never_widens_an_answer(
        words in proptest::collection::vec(proptest::array::uniform8(proptest::num::u8::ANY), 0..64),
        mask in proptest::num::u16::ANY,
    ) {
        let program: Vec<_> = words.into_iter().map(Instruction::from_bytes).collect();
        let mut data = known();
        for (word, place) in data.iter_mut().enumerate() {
            *place = place.filter(|_| mask & (1 << word) != 0);
        }
        let (mildest, strictest) = answers(&program, &data);
        let (exact, same) = answers(&program, &known());
        proptest::prop_assert!(exact == same && mildest <= exact && exact <= strictest);
    }
}
