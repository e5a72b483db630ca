//! A thread's registers at a hit, by DWARF number.
//!
//! Enters: the context of a program, which is the kernel's `pt_regs` (x86-64) or `user_pt_regs` (AArch64). Leaves: values.
//! Refuses: numbers that name no register.

use core::arch::asm;
use core::ffi::c_void;

/// The registers.
#[derive(Clone, Copy)]
pub struct Registers(*const u64);

/// Words of the context, by register.
#[cfg(bpf_target_arch = "x86_64")]
mod word {
    pub const INSTRUCTION_POINTER: usize = 16;
    pub const STACK_POINTER: usize = 19;
}

#[cfg(bpf_target_arch = "aarch64")]
mod word {
    pub const STACK_POINTER: usize = 31;
    pub const INSTRUCTION_POINTER: usize = 32;
}

impl Registers {
    pub fn of(context: *mut c_void) -> Self {
        Self(context.cast_const().cast())
    }

    /// The word at a constant index. In assembly, because the verifier wants the constant in the instruction itself, and
    /// the compiler would rather compute the address of one load than keep seventeen.
    #[inline(always)]
    fn word<const INDEX: usize>(self) -> u64 {
        let word;
        // SAFETY: the context has that many words on this architecture, and outlives the program's run.
        unsafe {
            asm!("{} = *(u64 *)({} + {})", out(reg) word, in(reg) self.0, const 8 * INDEX,
                 options(pure, readonly, nostack, preserves_flags));
        }
        word
    }

    #[inline(always)]
    pub fn instruction_pointer(self) -> u64 {
        self.word::<{ word::INSTRUCTION_POINTER }>()
    }

    #[inline(always)]
    pub fn stack_pointer(self) -> u64 {
        self.word::<{ word::STACK_POINTER }>()
    }

    /// System V x86-64 psABI, figure 3.36.
    #[cfg(bpf_target_arch = "x86_64")]
    #[inline(always)]
    pub fn get(self, dwarf: u8) -> Option<u64> {
        Some(match dwarf {
            0 => self.word::<10>(),
            1 => self.word::<12>(),
            2 => self.word::<11>(),
            3 => self.word::<5>(),
            4 => self.word::<13>(),
            5 => self.word::<14>(),
            6 => self.word::<4>(),
            7 => self.word::<{ word::STACK_POINTER }>(),
            8 => self.word::<9>(),
            9 => self.word::<8>(),
            10 => self.word::<7>(),
            11 => self.word::<6>(),
            12 => self.word::<3>(),
            13 => self.word::<2>(),
            14 => self.word::<1>(),
            15 => self.word::<0>(),
            16 => self.word::<{ word::INSTRUCTION_POINTER }>(),
            _ => return None,
        })
    }

    /// DWARF for the Arm 64-bit Architecture, section 4.1.
    #[cfg(bpf_target_arch = "aarch64")]
    #[inline(always)]
    pub fn get(self, dwarf: u8) -> Option<u64> {
        macro_rules! words {
            ($($number:literal)*) => {
                match dwarf {
                    $($number => self.word::<$number>(),)*
                    _ => return None,
                }
            };
        }
        Some(words!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32))
    }
}
