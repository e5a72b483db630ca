//! Instructions of AArch64 that leave a function.
//!
//! Enters: the code of one function. Leaves: what it does about returning. Refuses: code that is no whole number of
//! instructions. Encodings: Arm Architecture Reference Manual, C4.1 "Branches, exception generating and system instructions".

use super::Seen;

/// The error is an address at which there is no instruction.
pub(super) fn look(code: &[u8], address: u64) -> Result<Seen, u64> {
    let (words, rest) = code.as_chunks::<4>();
    if !rest.is_empty() || !address.is_multiple_of(4) {
        return Err(address + (words.len() * 4) as u64);
    }
    let mut seen = Seen::default();
    for (address, word) in (address..).step_by(4).zip(words) {
        let word = u32::from_le_bytes(*word);
        // Each branch has its distance in a field of so many bits, from bit 0 or 5 on, in words.
        let distance = match word {
            // RET Xn, RETAA, RETAB
            _ if word & 0xFFFF_FC1F == 0xD65F_0000 || word == 0xD65F_0BFF || word == 0xD65F_0FFF => {
                seen.returns.push(address);
                continue;
            }
            // BR Xn, BRAA, BRAB and those with a zero modifier
            _ if word & 0xFEFF_F000 == 0xD61F_0000 => {
                seen.computed_jump = true;
                continue;
            }
            // B
            _ if word & 0xFC00_0000 == 0x1400_0000 => field(word, 0, 26),
            // B.cond, BC.cond
            _ if word & 0xFF00_0000 == 0x5400_0000 => field(word, 5, 19),
            // CBZ, CBNZ
            _ if word & 0x7E00_0000 == 0x3400_0000 => field(word, 5, 19),
            // TBZ, TBNZ
            _ if word & 0x7E00_0000 == 0x3600_0000 => field(word, 5, 14),
            _ => continue,
        };
        seen.jumps.push(address.wrapping_add_signed(distance * 4));
    }
    Ok(seen)
}

/// `bits` bits of `word` from bit `low` on, with their sign.
fn field(word: u32, low: u32, bits: u32) -> i64 {
    i64::from((word << (32 - low - bits)).cast_signed() >> (32 - bits))
}

#[cfg(test)]
mod tests {
    use super::look;

    fn seen(words: &[u32]) -> super::Seen {
        let code: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        look(&code, 0x1000).unwrap()
    }

    #[test]
    fn every_return_is_seen_and_lookalikes_are_not() {
        // ret; ret x1; retaa; retab; blr x1; br x16; mov x0, x1
        let seen = seen(&[
            0xD65F_03C0,
            0xD65F_0020,
            0xD65F_0BFF,
            0xD65F_0FFF,
            0xD63F_0020,
            0xD61F_0200,
            0xAA01_03E0,
        ]);
        assert_eq!(seen.returns, [0x1000, 0x1004, 0x1008, 0x100C]);
        assert!(seen.computed_jump && seen.jumps.is_empty());
    }

    #[test]
    fn branches_have_their_targets() {
        // b .+8; b .-4; b.eq .+16; cbz x0, .+8; tbnz x0, #3, .-8; bl .+8
        let seen = seen(&[0x1400_0002, 0x17FF_FFFF, 0x5400_0080, 0xB400_0040, 0x371F_FFC0, 0x9400_0002]);
        assert_eq!(seen.jumps, [0x1008, 0x1000, 0x1018, 0x1014, 0x1008]);
        assert!(!seen.computed_jump);
    }

    #[test]
    fn half_an_instruction_is_none() {
        assert_eq!(look(&[0xC0, 0x03, 0x5F], 16).unwrap_err(), 16);
    }
}
