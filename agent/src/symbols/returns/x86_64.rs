//! Instructions of x86-64 that leave a function.
//!
//! Enters: the code of one function. Leaves: what it does about returning. Refuses: code in which an instruction is invalid,
//! or which jumps into the middle of one: then it was not read as it runs.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

use super::Seen;

/// The error is an address at which there is no instruction.
pub(super) fn look(code: &[u8], address: u64) -> Result<Seen, u64> {
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let mut seen = Seen::default();
    let mut starts = vec![false; code.len()];
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        if instruction.is_invalid() {
            return Err(instruction.ip());
        }
        if let Some(start) =
            usize::try_from(instruction.ip() - address).ok().and_then(|at| starts.get_mut(at))
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
    // Targets outside are no business of this part.
    let starts_at = |target: u64| starts.get(usize::try_from(target.checked_sub(address)?).ok()?).copied();
    let mut bad = seen.jumps.iter().filter(|target| starts_at(**target) == Some(false));
    match bad.next() {
        Some(target) => Err(*target),
        None => Ok(seen),
    }
}
