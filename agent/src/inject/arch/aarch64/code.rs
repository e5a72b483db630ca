//! What the shim's first thread runs on AArch64: the same as on x86-64, as instructions rather than assembly, so that it can
//! be tested on any machine.
//!
//! Enters: the address of a [`Mailbox`] in `x0`, in a thread that `pthread_create` has made. Leaves: a loaded shim, or the
//! words of the dynamic linker; neither descriptor nor mapping. Refuses: nothing; it is a list of calls.
//!
//! `x19` holds the mailbox, `w20` what to say in the end. Encodings: Arm Architecture Reference Manual, C6.2.

use core::mem::offset_of;

use super::Aarch64;
use crate::inject::arch::{Arch, MASK_BYTES, SIG_UNBLOCK};
use crate::inject::mailbox::{Mailbox, PAGE_BYTES, Progress};
use crate::inject::runtime::Functions;

const BOX: u32 = 19;
const VERDICT: u32 = 20;

/// `ldr xt, [xn, #offset]`
const fn load(t: u32, n: u32, offset: usize) -> u32 {
    0xf940_0000 | ((offset / 8) as u32) << 10 | n << 5 | t
}

/// `ldr wt, [xn, #offset]`
const fn load_half(t: u32, n: u32, offset: usize) -> u32 {
    0xb940_0000 | ((offset / 4) as u32) << 10 | n << 5 | t
}

/// `mov xd, xm`
const fn copy(d: u32, m: u32) -> u32 {
    0xaa00_03e0 | m << 16 | d
}

/// `mov xd, #value`
const fn number(d: u32, value: u64) -> u32 {
    0xd280_0000 | (value as u32) << 5 | d
}

/// `mov xd, #value` of a multiple of 64 Ki.
const fn pages(d: u32, value: u64) -> u32 {
    0xd2a0_0000 | ((value >> 16) as u32) << 5 | d
}

/// `add xd, x19, #offset`
const fn within(d: u32, offset: usize) -> u32 {
    0x9100_0000 | (offset as u32) << 10 | BOX << 5 | d
}

/// `cbz xt, .+instructions`
const fn if_zero(t: u32, instructions: u32) -> u32 {
    0xb400_0000 | instructions << 5 | t
}

/// `b .+instructions`
const fn jump(instructions: u32) -> u32 {
    0x1400_0000 | instructions
}

/// `blr xn`
const fn call(n: u32) -> u32 {
    0xd63f_0000 | n << 5
}

/// `svc #0`
const SYSCALL: u32 = 0xd400_0001;
const FUNCTIONS: usize = offset_of!(Mailbox, functions);

/// `ldr x9, [x19, #function]`; `blr x9`
const fn function(offset: usize) -> [u32; 2] {
    [load(9, BOX, FUNCTIONS + offset), call(9)]
}

const PTHREAD_SELF: [u32; 2] = function(offset_of!(Functions, pthread_self));
const PTHREAD_DETACH: [u32; 2] = function(offset_of!(Functions, pthread_detach));
const DLOPEN: [u32; 2] = function(offset_of!(Functions, dlopen));
const DLSYM: [u32; 2] = function(offset_of!(Functions, dlsym));

/// The instructions. Distances of jumps are counted in instructions, as the comments on the right count them.
#[rustfmt::skip]
pub(super) const CODE: [u32; 56] = [
    0xa9be_7bfd,                                            //  0  stp x29, x30, [sp, #-32]!
    0x9100_03fd,                                            //  1  mov x29, sp
    0xa901_53f3,                                            //  2  stp x19, x20, [sp, #16]
    copy(BOX, 0),                                           //  3
    number(0, SIG_UNBLOCK),                                 //  4  the C library's own, before any lock
    within(1, offset_of!(Mailbox, unblocked)),              //  5
    number(2, 0),                                           //  6
    number(3, MASK_BYTES),                                  //  7
    number(8, Aarch64::NUMBERS.rt_sigprocmask),             //  8
    SYSCALL,                                                //  9
    number(VERDICT, Progress::Started as u64),              // 10
    0x889f_fe74,                                            // 11  stlr w20, [x19]
    PTHREAD_SELF[0], PTHREAD_SELF[1],                       // 12  nobody joins this thread
    PTHREAD_DETACH[0], PTHREAD_DETACH[1],                   // 14
    load(0, BOX, offset_of!(Mailbox, path_address)),        // 16
    load(1, BOX, FUNCTIONS + offset_of!(Functions, dlopen_flags)), // 17
    DLOPEN[0], DLOPEN[1],                                   // 18
    if_zero(0, 9),                                          // 20  to 29
    load(1, BOX, offset_of!(Mailbox, entry_address)),       // 21
    DLSYM[0], DLSYM[1],                                     // 22
    if_zero(0, 5),                                          // 24  to 29
    copy(9, 0),                                             // 25
    call(9),                                                // 26
    number(VERDICT, Progress::Done as u64),                 // 27
    jump(13),                                               // 28  to 41
    number(VERDICT, Progress::Refused as u64),              // 29  what the dynamic linker says, if it can
    load(9, BOX, FUNCTIONS + offset_of!(Functions, dlerror)), // 30
    if_zero(9, 10),                                         // 31  to 41
    call(9),                                                // 32
    if_zero(0, 8),                                          // 33  to 41
    within(1, offset_of!(Mailbox, message)),                // 34
    number(2, Mailbox::MESSAGE_BYTES as u64 - 1),           // 35
    0x3840_1403,                                            // 36  ldrb w3, [x0], #1
    0x3800_1423,                                            // 37  strb w3, [x1], #1
    if_zero(3, 3),                                          // 38  to 41
    0xf100_0442,                                            // 39  subs x2, x2, #1
    0x54ff_ff81,                                            // 40  b.ne to 36
    load_half(0, BOX, offset_of!(Mailbox, descriptor)),     // 41
    number(8, Aarch64::NUMBERS.close),                      // 42
    SYSCALL,                                                // 43
    load(10, BOX, offset_of!(Mailbox, code_address)),       // 44  the last looks into the mailbox
    load(16, BOX, FUNCTIONS + offset_of!(Functions, munmap)), // 45
    load(0, BOX, offset_of!(Mailbox, own_address)),         // 46
    0x889f_fe74,                                            // 47  stlr w20, [x19]: the last word to the agent
    pages(1, PAGE_BYTES),                                   // 48
    number(8, Aarch64::NUMBERS.munmap),                     // 49
    SYSCALL,                                                // 50
    copy(0, 10),                                            // 51  the code itself: the C library returns to the thread's end
    pages(1, PAGE_BYTES),                                   // 52
    0xa941_53f3,                                            // 53  ldp x19, x20, [sp, #16]
    0xa8c2_7bfd,                                            // 54  ldp x29, x30, [sp], #32
    0xd61f_0200,                                            // 55  br x16
];

const _: () = assert!(PAGE_BYTES >> 16 << 16 == PAGE_BYTES && offset_of!(Mailbox, message) < 4096);
