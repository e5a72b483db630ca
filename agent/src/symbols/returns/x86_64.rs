//! Instructions of x86-64 that leave a function.
//!
//! Enters: the code of one function. Leaves: what it does about returning. Refuses: code in which an instruction is invalid,
//! or which jumps into the middle of one: then it was not read as it runs.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

use super::Seen;
use crate::symbols::Part;

/// The error is an address at which there is no instruction.
pub(super) fn look(code: &[u8], part: Part) -> Result<Seen, u64> {
    let mut decoder = Decoder::with_ip(64, code, part.address, DecoderOptions::NONE);
    let mut seen = Seen::default();
    let mut starts = vec![false; code.len()];
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        if instruction.is_invalid() {
            return Err(instruction.ip());
        }
        if let Some(start) =
            usize::try_from(instruction.ip() - part.address).ok().and_then(|at| starts.get_mut(at))
        {
            *start = true;
        }
        match (instruction.mnemonic(), instruction.op0_kind()) {
            (Mnemonic::Ret | Mnemonic::Retf | Mnemonic::Iretq, _) => seen.returns.push(instruction.ip()),
            (Mnemonic::Call, _) => {}
            (_, OpKind::NearBranch64) => seen.jumps.push(instruction.near_branch_target()),
            (Mnemonic::Jmp, OpKind::Memory) => {
                // A table of a switch is indexed; one of functions, or of a linker, is not.
                match instruction.memory_index() {
                    Register::None => seen.jumps_through_memory = true,
                    _ => seen.computed_jump = true,
                }
            }
            (Mnemonic::Jmp, _) => seen.computed_jump = true,
            _ => {}
        }
    }
    let inside = seen.jumps.iter().filter(|target| part.contains(**target));
    let mut bad = inside.filter(|target| {
        usize::try_from(**target - part.address).ok().and_then(|at| starts.get(at)) != Some(&true)
    });
    match bad.next() {
        Some(target) => Err(*target),
        None => Ok(seen),
    }
}
