//! What differs between processors: registers, system calls, the frame of a signal, the code that is run in a process.
//!
//! Enters: the registers of a stopped thread. Leaves: the registers, frames and code to make it do something and come back.
//! Refuses: to touch a thread; that is [`super::held`]'s.
//!
//! # How a thread comes back by itself
//!
//! A thread that works for the agent has, at every moment, registers and a stack from which it finds its way back without the
//! agent: the function or the `syscall; ret` that it runs returns into the C library's own `rt_sigreturn`, and the stack
//! below holds the frame of a signal with the thread's state in it. Linux treats the end of a tracer as a detach, so an agent
//! that is killed leaves a thread that finishes its one call, "returns from a signal", and goes on with what it did.
//! Only then does it notice: a call that Linux would have restarted with the rest of its time-out, or that any handler ends,
//! ends with `EINTR` (signal(7)), and one that is ended only by handlers without `SA_RESTART` starts again after those too. Where the agent lives, it restores the registers itself, and Linux restarts the call as if nothing had been.

use core::ops::Range;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

mod aarch64;
mod x86_64;

pub use self::aarch64::Aarch64;
pub use self::x86_64::X86_64;
use super::mailbox::{Mailbox, PAGE_BYTES};

/// The processor that this agent runs on.
#[cfg(target_arch = "x86_64")]
pub type Native = X86_64;
/// The processor that this agent runs on.
#[cfg(target_arch = "aarch64")]
pub type Native = Aarch64;

/// Longest frame: all of an AVX-512 and AMX state, and 1 KiB for the rest.
pub const MAX_FRAME_BYTES: usize = 16 << 10;

/// System calls that a target is made to do, by their numbers.
#[derive(Debug, Clone, Copy)]
pub struct Numbers {
    /// `memfd_create`.
    pub memfd_create: u64,
    /// `mmap`.
    pub mmap: u64,
    /// `munmap`.
    pub munmap: u64,
    /// `close`.
    pub close: u64,
    /// `rt_sigprocmask`.
    pub rt_sigprocmask: u64,
    /// `openat`.
    pub openat: u64,
    /// `ppoll`.
    pub ppoll: u64,
}

/// How a system call waits, which decides whether its thread may be borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rest {
    /// Until something happens; Linux restarts it exactly.
    Endless,
    /// With a time-out, which Linux restarts with what is left of it.
    Timed,
    /// Linux does not restart it, or not with what is left of its time-out; the agent starts it again, with all of it.
    Fragile,
}

/// Addresses of the instructions in a target that bring a thread back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gadgets {
    /// A system call, then a return to the caller.
    pub syscall: u64,
    /// `rt_sigreturn`.
    pub sigreturn: u64,
}

/// A call: of a function, or of [`Gadgets::syscall`].
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// Where.
    pub address: u64,
    /// Number of the system call; 0 for a function.
    pub number: u64,
    /// Arguments.
    pub arguments: [u64; 6],
}

/// A frame to write, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Address of its first byte.
    pub address: u64,
    /// Itself.
    pub bytes: Vec<u8>,
}

/// See the module.
pub trait Arch {
    /// The general registers, as `NT_PRSTATUS` has them.
    type Registers: Copy + core::fmt::Debug + FromBytes + IntoBytes + Immutable + KnownLayout;

    /// Number of the regset with floating point and vectors.
    const VECTOR_SET: i32;
    /// Bytes below the stack pointer that belong to the running function.
    const RED_ZONE_BYTES: u64;
    /// Its system calls.
    const NUMBERS: Numbers;

    /// All zero.
    fn zeroed() -> Self::Registers;
    /// How system call `number` with these arguments waits; `None` if its thread is not to be borrowed.
    fn rest(number: u64, arguments: &[u64; 6]) -> Option<Rest>;
    /// Finds the gadgets in the C library's code, which lies at `address`.
    fn gadgets(code: &[u8], address: u64) -> Result<Gadgets, &'static str>;
    /// Stack pointer and program counter.
    fn position(registers: &Self::Registers) -> (u64, u64);
    /// What the system call returns that the thread has left.
    fn syscall_outcome(registers: &Self::Registers) -> i64;
    /// The state that Linux is to restore when the agent lets the thread go, if it may be borrowed: it is in the system call in
    /// which it was seen at `position` (stack pointer and program counter), and Linux or, by going back one instruction,
    /// the agent starts that again.
    fn resumable(stopped: &Self::Registers, position: (u64, u64)) -> Option<Self::Registers>;
    /// The frame that brings a thread with this state back, written so that the stack pointer at a call is `Frame::address`
    /// and all of it lies below `top`.
    fn frame(state: &Self::Registers, vector: &[u8], signal_mask: u64, gadgets: &Gadgets, top: u64) -> Frame;
    /// Whether these words of a stack, from its innermost on, hold the frame of a signal: a handler runs then.
    fn is_in_handler(stack: &[u64], gadgets: &Gadgets, vdso: &Range<u64>) -> bool;
    /// Registers for `call`, whose return leads into the frame.
    fn call(state: &Self::Registers, call: &Call, gadgets: &Gadgets, frame: &Frame) -> Self::Registers;
    /// Registers of a thread that does nothing but come back.
    fn idle(state: &Self::Registers, gadgets: &Gadgets, frame: &Frame) -> Self::Registers;
    /// The code that the borrowed thread runs, and the one that it makes: a function of the mailbox's address. Position
    /// independent.
    fn code() -> &'static [u8];
}

/// `SIG_UNBLOCK`, on either processor.
const SIG_UNBLOCK: u64 = 1;
/// Bytes of a signal mask.
const MASK_BYTES: u64 = 8;

const _: () = assert!(size_of::<Mailbox>() as u64 <= PAGE_BYTES);
