//! What the shim's first thread runs on AArch64: the same as on x86-64, as instructions rather than assembly, so that it can
//! be tested on any machine.
//!
//! Enters: the address of a [`Mailbox`] in `x0`, in a thread that `pthread_create` has made. Leaves: a loaded shim, or the
//! words of the dynamic linker; neither descriptor nor mapping. Refuses: nothing; it is a list of calls.
//!
//! `x19` holds the mailbox, `w20` what to say in the end. Encodings: Arm Architecture Reference Manual, C6.2.

use core::mem::offset_of;

use super::Aarch64;
use crate::inject::arch::Arch;
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
pub(super) const CODE: [u32; 50] = [
    0xa9be_7bfd,                                            //  0  stp x29, x30, [sp, #-32]!
    0x9100_03fd,                                            //  1  mov x29, sp
    0xa901_53f3,                                            //  2  stp x19, x20, [sp, #16]
    copy(BOX, 0),                                           //  3
    number(VERDICT, Progress::Started as u64),              //  4
    0x889f_fe74,                                            //  5  stlr w20, [x19]
    PTHREAD_SELF[0], PTHREAD_SELF[1],                       //  6  nobody joins this thread
    PTHREAD_DETACH[0], PTHREAD_DETACH[1],                   //  8
    load(0, BOX, offset_of!(Mailbox, path_address)),        // 10
    load(1, BOX, FUNCTIONS + offset_of!(Functions, dlopen_flags)), // 11
    DLOPEN[0], DLOPEN[1],                                   // 12
    if_zero(0, 9),                                          // 14  to 23
    load(1, BOX, offset_of!(Mailbox, entry_address)),       // 15
    DLSYM[0], DLSYM[1],                                     // 16
    if_zero(0, 5),                                          // 18  to 23
    copy(9, 0),                                             // 19
    call(9),                                                // 20
    number(VERDICT, Progress::Done as u64),                 // 21
    jump(13),                                               // 22  to 35
    number(VERDICT, Progress::Refused as u64),              // 23  what the dynamic linker says, if it can
    load(9, BOX, FUNCTIONS + offset_of!(Functions, dlerror)), // 24
    if_zero(9, 10),                                         // 25  to 35
    call(9),                                                // 26
    if_zero(0, 8),                                          // 27  to 35
    0x9100_0000 | (offset_of!(Mailbox, message) as u32) << 10 | BOX << 5 | 1, // 28  add x1, x19, #message
    number(2, Mailbox::MESSAGE_BYTES as u64 - 1),           // 29
    0x3840_1403,                                            // 30  ldrb w3, [x0], #1
    0x3800_1423,                                            // 31  strb w3, [x1], #1
    if_zero(3, 3),                                          // 32  to 35
    0xf100_0442,                                            // 33  subs x2, x2, #1
    0x54ff_ff81,                                            // 34  b.ne to 30
    load_half(0, BOX, offset_of!(Mailbox, descriptor)),     // 35
    number(8, Aarch64::NUMBERS.close),                      // 36
    SYSCALL,                                                // 37
    load(10, BOX, offset_of!(Mailbox, code_address)),       // 38  the last looks into the mailbox
    load(16, BOX, FUNCTIONS + offset_of!(Functions, munmap)), // 39
    load(0, BOX, offset_of!(Mailbox, own_address)),         // 40
    0x889f_fe74,                                            // 41  stlr w20, [x19]: the last word to the agent
    pages(1, PAGE_BYTES),                                   // 42
    number(8, Aarch64::NUMBERS.munmap),                     // 43
    SYSCALL,                                                // 44
    copy(0, 10),                                            // 45  the code itself: the C library returns to the thread's end
    pages(1, PAGE_BYTES),                                   // 46
    0xa941_53f3,                                            // 47  ldp x19, x20, [sp, #16]
    0xa8c2_7bfd,                                            // 48  ldp x29, x30, [sp], #32
    0xd61f_0200,                                            // 49  br x16
];

const _: () = assert!(PAGE_BYTES >> 16 << 16 == PAGE_BYTES && offset_of!(Mailbox, message) < 4096);
