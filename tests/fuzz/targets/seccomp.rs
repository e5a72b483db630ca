//! Filters that a process may have put in force.
//!
//! Enters: any bytes, as up to four filters. Leaves: the ways they went. Refuses: a verdict that a force makes stricter, and a
//! second filter that lets more pass than the first alone.

use gpu_agent::inject::seccomp::{By, Instruction, first_denied};

use super::Run;
use super::program::Ways;

/// Bytes of an instruction.
const INSTRUCTION: usize = 8;

pub(super) fn make() -> Run {
    Box::new(|input| {
        let (count, rest) = input.split_first().unwrap_or((&0, input));
        let (instructions, _) = rest.as_chunks::<INSTRUCTION>();
        let program: Vec<_> = instructions.iter().copied().map(Instruction::from_bytes).collect();
        let length = program.len().div_ceil(1 + usize::from(count % 4)).max(1);
        let filters: Vec<Vec<_>> = program.chunks(length).map(<[_]>::to_vec).collect();
        let mut ways = Ways::default();
        for by in [By::MemoryFile, By::File] {
            let [all, forced] = [false, true].map(|force| first_denied(&filters, by, force));
            assert!(forced.is_none() || all.is_some());
            let first = first_denied(filters.get(..1).unwrap_or_default(), by, true);
            assert!(first.is_none() || forced.is_some());
            ways.note((by == By::File, all.map(|denied| (denied.call, denied.how as u8))));
            ways.note(("forced", forced.map(|denied| (denied.call, denied.how as u8))));
        }
        ways.into_numbers()
    })
}
