//! A filter, run without a call.
//!
//! Enters: a program of classic BPF, the words that it would see as far as they are known. Leaves: its mildest and its strictest
//! answer. Refuses: more than [`MOST_STEPS`]; a program that Linux would not have taken gives the strictest.
//!
//! The program has no loops and 4,096 instructions at most. At a jump that depends on an unknown word both ways are gone, each
//! on its own.

/// One instruction, `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What.
    pub code: u16,
    /// Instructions to pass over where a condition holds.
    pub jt: u8,
    /// And where not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

impl Instruction {
    /// From the bytes of a `struct sock_filter`.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        let [code0, code1, jt, jf, k @ ..] = bytes;
        Self { code: u16::from_ne_bytes([code0, code1]), jt, jf, k: u32::from_ne_bytes(k) }
    }
}

/// What a filter answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// The call is made.
    Allow,
    /// It fails.
    Fail,
    /// A signal, or the end of the thread or process.
    Kill,
}

/// A word that a filter computes with; `None` if it is not known.
pub(super) type Word = Option<u32>;
/// `struct seccomp_data`.
pub(super) type Data = [Word; DATA_BYTES as usize / 4];

/// `AUDIT_ARCH_X86_64`, `AUDIT_ARCH_AARCH64` (linux/audit.h).
pub(super) const ARCHITECTURE: u32 = if cfg!(target_arch = "aarch64") { 0xc000_00b7 } else { 0xc000_003e };
/// Size of `struct seccomp_data`, bytes.
const DATA_BYTES: u32 = 64;
const SCRATCH_WORDS: usize = 16;
/// Most instructions that are gone through, on all ways: a thread waits stopped meanwhile. Where there are more, nothing is
/// known.
const MOST_STEPS: usize = 16 << 10;

/// Where a program is, on one of its ways.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    at: usize,
    a: Word,
    x: Word,
    scratch: [Word; SCRATCH_WORDS],
}

/// What an instruction leads to.
enum Step {
    Next,
    /// So many instructions further on.
    Jump(usize),
    /// One of them.
    Fork(usize, usize),
    /// The answer.
    Return(Word),
}

/// The mildest and the strictest answer of `filter` to a call.
pub(super) fn answers(filter: &[Instruction], data: &Data) -> (Answer, Answer) {
    let mut range: Option<(Answer, Answer)> = None;
    let start = State { a: Some(0), x: Some(0), scratch: [Some(0); _], ..State::default() };
    let mut ways = vec![start];
    let mut left = MOST_STEPS;
    while let Some(state) = ways.pop() {
        let Some(verdict) = follow(filter, data, state, &mut ways, &mut left) else {
            return (Answer::Allow, Answer::Kill);
        };
        let (mildest, strictest) = range.unwrap_or(verdict);
        range = Some((mildest.min(verdict.0), strictest.max(verdict.1)));
    }
    range.unwrap_or((Answer::Kill, Answer::Kill))
}

/// To the end of one way; others that branch off are left in `ways`. `None` once there are no steps left.
fn follow(
    filter: &[Instruction],
    data: &Data,
    mut state: State,
    ways: &mut Vec<State>,
    left: &mut usize,
) -> Option<(Answer, Answer)> {
    loop {
        *left = left.checked_sub(1)?;
        let step = filter.get(state.at).and_then(|instruction| step(*instruction, data, &mut state));
        let jumped = |distance: usize| state.at.checked_add(1)?.checked_add(distance);
        match step {
            Some(Step::Next) => state.at += 1,
            Some(Step::Jump(distance)) => state.at = jumped(distance).unwrap_or(usize::MAX),
            Some(Step::Fork(holds, fails)) => {
                ways.push(State { at: jumped(fails).unwrap_or(usize::MAX), ..state });
                state.at = jumped(holds).unwrap_or(usize::MAX);
            }
            Some(Step::Return(Some(verdict))) => return Some((answer(verdict), answer(verdict))),
            Some(Step::Return(None)) => return Some((Answer::Allow, Answer::Kill)),
            None => return Some((Answer::Kill, Answer::Kill)),
        }
    }
}

/// What `SECCOMP_RET_…` means (linux/seccomp.h).
fn answer(verdict: u32) -> Answer {
    match verdict & 0xffff_0000 {
        // SECCOMP_RET_ALLOW, SECCOMP_RET_LOG.
        0x7fff_0000 | 0x7ffc_0000 => Answer::Allow,
        // SECCOMP_RET_ERRNO, SECCOMP_RET_TRACE without a tracer; SECCOMP_RET_USER_NOTIF may answer anything, late.
        0x0005_0000 | 0x7ff0_0000 | 0x7fc0_0000 => Answer::Fail,
        _ => Answer::Kill,
    }
}

/// One instruction; `None` if it is none.
fn step(Instruction { code, jt, jf, k }: Instruction, data: &Data, state: &mut State) -> Option<Step> {
    let State { a, x, scratch, .. } = state;
    let operand = if code & 0x08 == 0 { Some(k) } else { *x };
    match code & 0x07 {
        // Loads into A and X: a constant, the length, scratch memory, the data.
        class @ (0 | 1) => {
            let value = match code & 0xe0 {
                0x00 => Some(k),
                0x80 => Some(DATA_BYTES),
                0x60 => *scratch.get(k as usize)?,
                0x20 if class == 0 && k.is_multiple_of(4) => *data.get(k as usize / 4)?,
                _ => return None,
            };
            *(if class == 0 { a } else { x }) = value;
        }
        2 => *scratch.get_mut(k as usize)? = *a,
        3 => *scratch.get_mut(k as usize)? = *x,
        4 => *a = arithmetic(code & 0xf0, *a, operand)?,
        5 => return jump(code & 0xf0, *a, operand, (jt, jf), k),
        6 => return Some(Step::Return(if code & 0x18 == 0x10 { *a } else { Some(k) })),
        _ if code & 0xf8 == 0 => *x = *a,
        _ => *a = *x,
    }
    Some(Step::Next)
}

fn arithmetic(operation: u16, a: Word, operand: Word) -> Option<Word> {
    let apply: fn(u32, u32) -> Option<u32> = match operation {
        0x00 => |a, operand| Some(a.wrapping_add(operand)),
        0x10 => |a, operand| Some(a.wrapping_sub(operand)),
        0x20 => |a, operand| Some(a.wrapping_mul(operand)),
        0x30 => u32::checked_div,
        0x40 => |a, operand| Some(a | operand),
        0x50 => |a, operand| Some(a & operand),
        0x60 => |a, operand| Some(a.checked_shl(operand).unwrap_or(0)),
        0x70 => |a, operand| Some(a.checked_shr(operand).unwrap_or(0)),
        0x80 => |a, _| Some(a.wrapping_neg()),
        0xa0 => |a, operand| Some(a ^ operand),
        _ => return None,
    };
    match a.zip(operand) {
        Some((a, operand)) => apply(a, operand).map(Some),
        None => Some(None),
    }
}

fn jump(condition: u16, a: Word, operand: Word, (jt, jf): (u8, u8), k: u32) -> Option<Step> {
    let holds: fn(u32, u32) -> bool = match condition {
        0x00 => return Some(Step::Jump(k as usize)),
        0x10 => |a, operand| a == operand,
        0x20 => |a, operand| a > operand,
        0x30 => |a, operand| a >= operand,
        0x40 => |a, operand| a & operand != 0,
        _ => return None,
    };
    Some(match a.zip(operand) {
        Some((a, operand)) => Step::Jump(usize::from(if holds(a, operand) { jt } else { jf })),
        None => Step::Fork(jt.into(), jf.into()),
    })
}

#[cfg(test)]
mod tests;
