//! Instructions of x86-64 that leave a function.
//!
//! Enters: the code of one function. Leaves: what it does about returning. Refuses: code in which an instruction is invalid,
//! or which jumps into the middle of one: then it was not read as it runs.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

use super::Seen;

/// The prefix of jumps that a switch makes, where the code is for processors that track the others (Intel CET).
const NOTRACK: u8 = 0x3E;

/// The error is an address at which there is no instruction.
pub(super) fn look(code: &[u8], address: u64) -> Result<Seen, u64> {
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let mut seen = Seen::default();
    let mut starts = vec![false; code.len()];
    // Whether a register holds a sum: the place of a switch's case, its table's address and the case's distance from it. A
    // function's address is loaded as it is.
    let mut sums = [false; 16];
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
                    Register::None => seen.jumps_through_pointer = true,
                    _ => seen.computed_jump = true,
                }
            }
            (Mnemonic::Jmp, OpKind::Register) => {
                let begin = usize::try_from(instruction.ip() - address).unwrap_or(usize::MAX);
                let is_sum = number(instruction.op0_register()).and_then(|register| sums.get(register));
                if code.get(begin) == Some(&NOTRACK) || is_sum == Some(&true) {
                    seen.computed_jump = true;
                } else {
                    seen.jumps_through_pointer = true;
                }
            }
            (Mnemonic::Cmp | Mnemonic::Test | Mnemonic::Push, _) => {}
            (mnemonic, OpKind::Register) => {
                let written = number(instruction.op0_register()).and_then(|register| sums.get_mut(register));
                if let Some(is_sum) = written {
                    *is_sum = mnemonic == Mnemonic::Add;
                }
            }
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

/// The number of a register of 64 bits.
fn number(register: Register) -> Option<usize> {
    let number = (register as usize).checked_sub(Register::RAX as usize)?;
    (number < 16).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::look;

    #[test]
    fn a_switch_jumps_to_a_sum_and_a_call_in_last_place_to_what_was_loaded() {
        let seen = |code: &[u8]| look(code, 0x1000).unwrap();
        let switch = seen(&[0x48, 0x01, 0xD0, 0xFF, 0xE0]); // add rax, rdx; jmp rax
        assert!(switch.computed_jump && !switch.jumps_through_pointer);
        let tracked = seen(&[0x48, 0x8B, 0x07, 0x3E, 0xFF, 0xE0]); // mov rax, [rdi]; notrack jmp rax
        assert!(tracked.computed_jump && !tracked.jumps_through_pointer);
        let call = seen(&[0x48, 0x01, 0xD0, 0x48, 0x8B, 0x07, 0x5B, 0xFF, 0xE0]); // …; mov rax, [rdi]; pop rbx; jmp rax
        assert!(call.jumps_through_pointer && !call.computed_jump);
    }
}
