//! AArch64.
//!
//! Sources: `arch/arm64/include/uapi/asm/{ptrace,sigcontext,ucontext}.h` and `arch/arm64/kernel/signal.c` for the frame,
//! `include/uapi/asm-generic/unistd.h` for the numbers, the AAPCS64 for calls.
//!
//! Linux for arm64 goes back to the system call before it stops the thread, and forgets then how it was to be restarted. So a
//! call with a relative time-out starts anew here ([`Rest::Fragile`]), and one that a stop ends with `EINTR`
//! (`epoll_pwait`) is not borrowed at all: what its first argument was is lost.

mod code;

use core::ops::Range;

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::{Arch, Call, Frame, Gadgets, Numbers, Rest};

/// See the module.
#[derive(Debug)]
pub struct Aarch64;

/// `struct user_pt_regs`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Registers {
    /// The general registers.
    pub x: [u64; 31],
    /// The stack pointer.
    pub sp: u64,
    /// The program counter.
    pub pc: u64,
    /// The processor's state.
    pub pstate: u64,
}

/// `struct rt_sigframe` up to the other contexts, with the one context that Linux insists on, and the end of them.
#[repr(C)]
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct SignalFrame {
    info: [u64; 16],
    flags: u64,
    link: u64,
    stack_address: u64,
    stack_flags: u64,
    stack_bytes: u64,
    signal_mask: u64,
    unused: [u64; 16],
    fault_address: u64,
    x: [u64; 31],
    sp: u64,
    pc: u64,
    pstate: u64,
    padding: u64,
    /// `FPSIMD_MAGIC`, and the size of the context.
    vector_head: [u32; 2],
    /// `fpsr`, `fpcr`.
    vector_control: [u32; 2],
    vectors: [u64; 64],
    /// A context of no magic and no size.
    end: [u32; 2],
    reserved: [u64; 445],
}

const _: () = {
    assert!(size_of::<Registers>() == 272);
    // siginfo 128, ucontext up to its registers 176, registers 288, other contexts 4096.
    assert!(core::mem::offset_of!(SignalFrame, fault_address) == 128 + 176);
    assert!(core::mem::offset_of!(SignalFrame, vector_head) == 128 + 176 + 288);
    assert!(size_of::<SignalFrame>() == 128 + 176 + 288 + 4096);
};

/// `FPSIMD_MAGIC`, and the size of the context that it begins.
const VECTOR_HEAD: [u32; 2] = [0x4650_8001, 528];
/// No valid mode of an alternative stack, so that the thread's own stays as it is.
const KEEP_STACK: u64 = 0x7fff;
/// Bytes of one instruction.
const INSTRUCTION_BYTES: u64 = 4;
/// `MSG_WAITALL`.
const WAIT_ALL: u64 = libc::MSG_WAITALL as u64;
/// `TIMER_ABSTIME`.
const ABSOLUTE: u64 = 1;

impl Arch for Aarch64 {
    type Registers = Registers;

    /// `NT_PRFPREG`.
    const VECTOR_SET: i32 = 2;
    const RED_ZONE_BYTES: u64 = 0;
    const NUMBERS: Numbers = Numbers {
        memfd_create: 279,
        mmap: 222,
        munmap: 215,
        close: 57,
        rt_sigprocmask: 135,
        openat: 56,
        ppoll: 73,
    };

    fn zeroed() -> Registers {
        Registers::new_zeroed()
    }

    fn rest(number: u64, arguments: &[u64; 6]) -> Option<Rest> {
        let [_, second, third, fourth, fifth, _] = *arguments;
        let unless_zero = |timeout: u64| if timeout == 0 { Rest::Endless } else { Rest::Timed };
        match number {
            // futex: see x86-64. FUTEX_WAIT_BITSET waits until a moment, not for a while.
            98 if second & 0x7f == 9 => Some(unless_zero(fourth)),
            // ppoll, pselect6: Linux writes back what is left of their time.
            73 => Some(unless_zero(third)),
            72 => Some(unless_zero(fifth)),
            // clock_nanosleep, until a moment or for a while; nanosleep.
            115 if second & ABSOLUTE != 0 => Some(Rest::Timed),
            115 | 101 => Some(Rest::Fragile),
            // recvfrom, recvmsg, unless they would return what of a whole has come so far.
            207 => (fourth & WAIT_ALL == 0).then_some(Rest::Endless),
            212 => (third & WAIT_ALL == 0).then_some(Rest::Endless),
            // read, readv, accept, accept4, wait4, waitid. Not rt_sigsuspend, in which handlers wait.
            63 | 65 | 202 | 242 | 260 | 95 => Some(Rest::Endless),
            _ => None,
        }
    }

    fn gadgets(code: &[u8], address: u64) -> Result<Gadgets, &'static str> {
        let find = |bytes: &[u8]| {
            // Instructions are aligned, so anything between two of them is none.
            memchr::memmem::find_iter(code, bytes)
                .find(|offset| offset % INSTRUCTION_BYTES as usize == 0)
                .and_then(|offset| address.checked_add(offset as u64))
        };
        Ok(Gadgets {
            // svc #0; ret: the end of getpid and its like.
            syscall: find(b"\x01\x00\x00\xd4\xc0\x03\x5f\xd6").ok_or("system call that returns")?,
            // mov x8, #139; svc #0: the end of setcontext.
            sigreturn: find(b"\x68\x11\x80\xd2\x01\x00\x00\xd4").ok_or("return from signals")?,
        })
    }

    fn position(registers: &Registers) -> (u64, u64) {
        (registers.sp, registers.pc)
    }

    fn syscall_outcome(registers: &Registers) -> i64 {
        registers.x[0].cast_signed()
    }

    fn resumable(stopped: &Registers, position: (u64, u64)) -> Option<Registers> {
        let (sp, after_call) = position;
        let is_before_call = stopped.pc == after_call.wrapping_sub(INSTRUCTION_BYTES);
        (stopped.sp == sp && is_before_call).then_some(*stopped)
    }

    fn frame(state: &Registers, vector: &[u8], signal_mask: u64, _gadgets: &Gadgets, top: u64) -> Frame {
        let address = top.wrapping_sub(size_of::<SignalFrame>() as u64) & !15;
        let mut frame = SignalFrame {
            stack_flags: KEEP_STACK,
            signal_mask,
            x: state.x,
            sp: state.sp,
            pc: state.pc,
            pstate: state.pstate,
            vector_head: VECTOR_HEAD,
            ..SignalFrame::new_zeroed()
        };
        // `struct user_fpsimd_state` has the registers first, then fpsr and fpcr; the context has them the other way.
        if let Some((vectors, rest)) = vector.split_at_checked(512) {
            frame.vectors.as_mut_bytes().copy_from_slice(vectors);
            for (to, from) in frame.vector_control.as_mut_bytes().iter_mut().zip(rest) {
                *to = *from;
            }
        }
        Frame { address, bytes: frame.as_bytes().to_vec() }
    }

    fn is_in_handler(stack: &[u64], _gadgets: &Gadgets, vdso: &Range<u64>) -> bool {
        // Handlers return into the vdso. Its first byte is named on every first stack, among what the program was started with.
        stack.iter().any(|word| *word > vdso.start && *word < vdso.end)
    }

    fn call(state: &Registers, call: &Call, gadgets: &Gadgets, frame: &Frame) -> Registers {
        let mut registers = Registers { sp: frame.address, pc: call.address, ..*state };
        for (to, from) in registers.x.iter_mut().zip(call.arguments) {
            *to = from;
        }
        registers.x[8] = call.number;
        registers.x[30] = gadgets.sigreturn;
        registers
    }

    fn idle(state: &Registers, gadgets: &Gadgets, frame: &Frame) -> Registers {
        Self::call(state, &Call { address: gadgets.sigreturn, number: 0, arguments: [0; 6] }, gadgets, frame)
    }

    fn code() -> &'static [u8] {
        code::CODE.as_bytes()
    }
}

#[cfg(test)]
mod tests;
