//! x86-64.
//!
//! Sources: `arch/x86/include/uapi/asm/{sigcontext,ucontext}.h` and `arch/x86/kernel/signal_64.c` for the frame,
//! `arch/x86/entry/syscalls/syscall_64.tbl` for the numbers, the System V ABI for calls.

use core::ops::Range;

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::{Arch, Call, Frame, Gadgets, Numbers, Rest};

/// See the module.
#[derive(Debug)]
pub struct X86_64;

/// `struct user_regs_struct`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs, reason = "the processor's names")]
pub struct Registers {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// Number of the system call that Linux restarts; −1 for none.
    pub orig_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub eflags: u64,
    pub rsp: u64,
    pub ss: u64,
    pub fs_base: u64,
    pub gs_base: u64,
    pub ds: u64,
    pub es: u64,
    pub fs: u64,
    pub gs: u64,
}

/// `struct rt_sigframe`, without the `siginfo` at its end, which nobody reads.
#[repr(C)]
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct SignalFrame {
    /// Where the interrupted call returns to.
    return_address: u64,
    flags: u64,
    link: u64,
    stack_address: u64,
    stack_flags: u64,
    stack_bytes: u64,
    r8_to_r15: [u64; 8],
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rbx: u64,
    rdx: u64,
    rax: u64,
    rcx: u64,
    rsp: u64,
    rip: u64,
    eflags: u64,
    cs: u16,
    gs: u16,
    fs: u16,
    ss: u16,
    error: u64,
    trap: u64,
    old_mask: u64,
    cr2: u64,
    vector_address: u64,
    reserved: [u64; 8],
    signal_mask: u64,
}

const _: () = {
    assert!(size_of::<Registers>() == 216);
    assert!(size_of::<SignalFrame>() == 312);
    assert!(core::mem::offset_of!(SignalFrame, vector_address) == 232);
};

/// Words of a frame up to the segment registers, and the one of code in 64 bits.
const FRAME_WORDS: usize = core::mem::offset_of!(SignalFrame, cs) / 8 + 1;
const USER_CODE: u16 = 0x33;
/// `UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS`.
const FRAME_FLAGS: u64 = 0x7;
/// No valid mode of an alternative stack, so that the thread's own stays as it is: `restore_altstack` passes over errors.
const KEEP_STACK: u64 = 0x7fff;
/// `FP_XSTATE_MAGIC1` and `FP_XSTATE_MAGIC2`.
const VECTOR_MAGIC: [u32; 2] = [0x4650_5853, 0x4650_5845];
/// Where the features of a vector state are, and where those are that are in use.
const FEATURES_AT: usize = 464;
const IN_USE_AT: usize = 512;
/// The tiles of AMX: 8 KiB that a process has only where it asked for them.
const TILE_FEATURES: u64 = 0b11 << 17;
/// Where all else ends in a vector state that has tiles: with the protection keys. Linux takes no longer state from a process
/// without tiles.
const WITHOUT_TILES_BYTES: usize = 2696;

/// `syscall` is two bytes long.
const SYSCALL_BYTES: u64 = 2;
/// Linux's own error numbers (include/linux/errno.h): restart, restart, restart without a handler, restart with a block.
const RESTART: [i64; 4] = [-512, -513, -514, -516];
/// `MSG_WAITALL`.
const WAIT_ALL: u64 = libc::MSG_WAITALL as u64;
const EINTR: i64 = -(libc::EINTR as i64);

impl Arch for X86_64 {
    type Registers = Registers;

    /// `NT_X86_XSTATE`.
    const VECTOR_SET: i32 = 0x202;
    const RED_ZONE_BYTES: u64 = 128;
    const NUMBERS: Numbers = Numbers {
        memfd_create: 319,
        mmap: 9,
        munmap: 11,
        close: 3,
        rt_sigprocmask: 14,
        openat: 257,
        ppoll: 271,
    };

    fn zeroed() -> Registers {
        Registers::new_zeroed()
    }

    fn rest(number: u64, arguments: &[u64; 6]) -> Option<Rest> {
        let [_, second, third, fourth, fifth, _] = *arguments;
        let unless_zero = |timeout: u64| if timeout == 0 { Rest::Endless } else { Rest::Timed };
        // Negative waits without end; C passes an int in the lower half.
        let unless_negative = |timeout: u64| if (timeout as i32) < 0 { Rest::Endless } else { Rest::Timed };
        match number {
            // futex: FUTEX_WAIT_BITSET is a condition, a semaphore, a join. FUTEX_WAIT is a lock, and who waits for one may
            // hold another.
            202 if second & 0x7f == 9 => Some(unless_zero(fourth)),
            // poll, ppoll; select, pselect6.
            7 => Some(unless_negative(third)),
            271 => Some(unless_zero(third)),
            23 | 270 => Some(unless_zero(fifth)),
            // nanosleep, clock_nanosleep.
            35 | 230 => Some(Rest::Timed),
            // recvfrom, recvmsg, unless they would return what of a whole has come so far.
            45 => (fourth & WAIT_ALL == 0).then_some(Rest::Endless),
            47 => (third & WAIT_ALL == 0).then_some(Rest::Endless),
            // read, readv, accept, accept4, wait4, waitid. Not pause and rt_sigsuspend, in which handlers wait.
            0 | 19 | 43 | 288 | 61 | 247 => Some(Rest::Endless),
            // io_uring_enter that submits nothing.
            426 => (second == 0).then_some(Rest::Fragile),
            // epoll_wait, epoll_pwait, epoll_pwait2.
            232 | 281 | 441 => Some(Rest::Fragile),
            _ => None,
        }
    }

    fn gadgets(code: &[u8], address: u64) -> Result<Gadgets, &'static str> {
        let find = |bytes: &[u8]| {
            memchr::memmem::find(code, bytes).and_then(|offset| address.checked_add(offset as u64))
        };
        Ok(Gadgets {
            // syscall; ret: the end of getpid and its like.
            syscall: find(b"\x0f\x05\xc3").ok_or("system call that returns")?,
            // mov $15, %rax; syscall: by these bytes debuggers and unwinders know the end of a signal handler.
            sigreturn: find(b"\x48\xc7\xc0\x0f\x00\x00\x00\x0f\x05").ok_or("return from signals")?,
        })
    }

    fn position(registers: &Registers) -> (u64, u64) {
        (registers.rsp, registers.rip)
    }

    fn syscall_outcome(registers: &Registers) -> i64 {
        registers.rax.cast_signed()
    }

    fn resumable(stopped: &Registers, position: (u64, u64)) -> Option<Registers> {
        let outcome = stopped.rax.cast_signed();
        if stopped.orig_rax.cast_signed() < 0 || Self::position(stopped) != position {
            return None;
        }
        if RESTART.contains(&outcome) {
            return Some(*stopped);
        }
        let arguments = [stopped.rdi, stopped.rsi, stopped.rdx, stopped.r10, stopped.r8, stopped.r9];
        let is_known = Self::rest(stopped.orig_rax, &arguments).is_some();
        (outcome == EINTR && is_known).then(|| restarted(stopped))
    }

    fn frame(state: &Registers, vector: &[u8], signal_mask: u64, gadgets: &Gadgets, top: u64) -> Frame {
        let state = alone(state);
        let vector = vector_for_signal(vector);
        let vector_address = top.wrapping_sub(vector.len() as u64) & !63;
        // At the first instruction of a function the stack pointer is 8 below a multiple of 16.
        let address = (vector_address.wrapping_sub(size_of::<SignalFrame>() as u64) & !15).wrapping_sub(8);
        let frame = SignalFrame {
            return_address: gadgets.sigreturn,
            flags: FRAME_FLAGS,
            stack_flags: KEEP_STACK,
            r8_to_r15: [state.r8, state.r9, state.r10, state.r11, state.r12, state.r13, state.r14, state.r15],
            rdi: state.rdi,
            rsi: state.rsi,
            rbp: state.rbp,
            rbx: state.rbx,
            rdx: state.rdx,
            rax: state.rax,
            rcx: state.rcx,
            rsp: state.rsp,
            rip: state.rip,
            eflags: state.eflags,
            cs: state.cs as u16,
            gs: state.gs as u16,
            fs: state.fs as u16,
            ss: state.ss as u16,
            vector_address,
            signal_mask,
            ..SignalFrame::new_zeroed()
        };
        let mut bytes = frame.as_bytes().to_vec();
        bytes.resize(vector_address.wrapping_sub(address) as usize, 0);
        bytes.extend_from_slice(&vector);
        Frame { address, bytes }
    }

    fn is_in_handler(stack: &[u64], gadgets: &Gadgets, _vdso: &Range<u64>) -> bool {
        // The address alone is not enough: sigaction(3) leaves it on the stack too.
        stack.windows(FRAME_WORDS).any(|words| match words {
            [address, flags, 0, .., segments] => {
                *address == gadgets.sigreturn && *flags <= FRAME_FLAGS && *segments as u16 == USER_CODE
            }
            _ => false,
        })
    }

    fn call(state: &Registers, call: &Call, _gadgets: &Gadgets, frame: &Frame) -> Registers {
        let [rdi, rsi, rdx, fourth, r8, r9] = call.arguments;
        Registers {
            rip: call.address,
            rax: call.number,
            // A function has its fourth argument in rcx, a system call in r10.
            rcx: fourth,
            r10: fourth,
            rdi,
            rsi,
            rdx,
            r8,
            r9,
            rsp: frame.address,
            orig_rax: u64::MAX,
            // No single step, and no direction flag, as functions may expect.
            eflags: state.eflags & !0x500,
            ..*state
        }
    }

    fn idle(state: &Registers, gadgets: &Gadgets, frame: &Frame) -> Registers {
        // The return after the system call.
        let address = gadgets.syscall.wrapping_add(SYSCALL_BYTES);
        Self::call(state, &Call { address, number: 0, arguments: [0; 6] }, gadgets, frame)
    }

    fn code() -> &'static [u8] {
        code::code()
    }
}

/// The call started again by hand: its number where its result is, and one instruction back.
fn restarted(stopped: &Registers) -> Registers {
    Registers {
        rax: stopped.orig_rax,
        rip: stopped.rip.wrapping_sub(SYSCALL_BYTES),
        orig_rax: u64::MAX,
        ..*stopped
    }
}

/// What a thread goes on with that has to come back without Linux's help. A call with a block ends with EINTR, because a
/// return from a signal forgets the block; so does one that ends so after any handler (poll, select).
fn alone(state: &Registers) -> Registers {
    match state.rax.cast_signed() {
        _ if state.orig_rax.cast_signed() < 0 => *state,
        -516 | -514 => Registers { rax: EINTR.cast_unsigned(), ..*state },
        outcome if RESTART.contains(&outcome) => restarted(state),
        _ => *state,
    }
}

/// A vector state as the frame of a signal has it: with its size and two magic numbers (`struct _fpx_sw_bytes`).
fn vector_for_signal(vector: &[u8]) -> Vec<u8> {
    let word = |at: usize| {
        let bytes = vector.get(at..at.checked_add(8)?)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    let (Some(features), Some(in_use)) = (word(FEATURES_AT), word(IN_USE_AT)) else {
        // An x87 and SSE state alone.
        return vector.to_vec();
    };
    let (length, features) = if in_use & TILE_FEATURES == 0 {
        (vector.len().min(WITHOUT_TILES_BYTES), features & !TILE_FEATURES)
    } else {
        (vector.len(), features)
    };
    let mut bytes = vector.get(..length).unwrap_or(vector).to_vec();
    let size = length as u32;
    let described: [&[u8]; 4] = [
        &VECTOR_MAGIC[0].to_le_bytes(),
        &size.saturating_add(4).to_le_bytes(),
        &features.to_le_bytes(),
        &size.to_le_bytes(),
    ];
    let described = described.concat();
    for (to, from) in bytes.iter_mut().skip(FEATURES_AT).zip(described.iter().chain(&[0; 28])) {
        *to = *from;
    }
    bytes.extend_from_slice(&VECTOR_MAGIC[1].to_le_bytes());
    bytes
}

/// The code, where it can run: in a process of the agent's own architecture.
#[cfg(target_arch = "x86_64")]
mod code;
#[cfg(not(target_arch = "x86_64"))]
mod code {
    pub(super) fn code() -> &'static [u8] {
        &[]
    }
}

#[cfg(test)]
mod tests;
