//! What the borrowed thread, and the one that it makes, run on AArch64: the same as on x86-64, as instructions rather than
//! assembly, so that it can be tested on any machine.
//!
//! Enters: the address of a [`Mailbox`] in `x0`. Leaves: a loaded shim, or the words of the dynamic linker; neither
//! descriptor nor mapping. Refuses: to load before the agent's order, and to wait for it, or for the agent, for ever.
//!
//! `x19` holds the mailbox. In the borrowed thread `x20` holds its stack and `x21` the way back; in the new one, `w20` what
//! to say in the end and `x21` how often it still looks for an order. Encodings: Arm Architecture Reference Manual, C6.2.

use core::mem::offset_of;

use super::Aarch64;
use crate::inject::arch::{Arch, MASK_BYTES, SIG_UNBLOCK};
use crate::inject::mailbox::{Mailbox, Order, PAGE_BYTES, PAUSE_NS, Progress, ROUNDS, SHARED_BYTES, STAY_NS};
use crate::inject::runtime::Functions;

const BOX: u32 = 19;
const VERDICT: u32 = 20;
const LOOKS: u32 = 21;

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

/// `sub xd, xd, #value`
const fn less(d: u32, value: u64) -> u32 {
    0xd100_0000 | (value as u32) << 10 | d << 5 | d
}

/// The distance from one instruction to another, in the bits from 5 on.
const fn distance(from: i32, to: i32) -> u32 {
    ((to - from) as u32 & 0x7_ffff) << 5
}

/// `cbz xt, to`
const fn if_zero(t: u32, from: i32, to: i32) -> u32 {
    0xb400_0000 | distance(from, to) | t
}

/// `b.eq to`
const fn if_equal(from: i32, to: i32) -> u32 {
    0x5400_0000 | distance(from, to)
}

/// `b.ne to`
const fn if_unequal(from: i32, to: i32) -> u32 {
    0x5400_0001 | distance(from, to)
}

/// `b to`
const fn jump(from: i32, to: i32) -> u32 {
    0x1400_0000 | ((to - from) as u32 & 0x3ff_ffff)
}

/// `adr xd, to`
const fn address(d: u32, from: i32, to: i32) -> u32 {
    0x1000_0000 | distance(from, to) | d
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

const PTHREAD_CREATE: [u32; 2] = function(offset_of!(Functions, pthread_create));
const PTHREAD_SELF: [u32; 2] = function(offset_of!(Functions, pthread_self));
const PTHREAD_DETACH: [u32; 2] = function(offset_of!(Functions, pthread_detach));
const DLOPEN: [u32; 2] = function(offset_of!(Functions, dlopen));
const DLSYM: [u32; 2] = function(offset_of!(Functions, dlsym));
const DLOPEN_FLAGS: usize = FUNCTIONS + offset_of!(Functions, dlopen_flags);
const DESCRIPTORS: usize = offset_of!(Mailbox, descriptors);
/// `stlr w9, [x19]` and `stlr w20, [x19]`: the mailbox begins with the progress.
const SAY_9: u32 = 0x889f_fe69;
const SAY_VERDICT: u32 = 0x889f_fe74;

/// The instructions. Jumps name where they are and where they go, by the numbers on the right.
#[rustfmt::skip]
pub(super) const CODE: [u32; 125] = [
    // The borrowed thread.
    copy(BOX, 0),                                           //   0
    0x9100_03f4,                                            //   1  mov x20, sp
    copy(21, 30),                                           //   2
    load(9, BOX, offset_of!(Mailbox, stack_top)),           //   3
    0x9100_013f,                                            //   4  mov sp, x9
    number(9, Progress::Making as u64),                     //   5
    SAY_9,                                                  //   6
    within(0, offset_of!(Mailbox, thread)),                 //   7
    number(1, 0),                                           //   8
    address(2, 9, 30),                                      //   9
    copy(3, BOX),                                           //  10
    PTHREAD_CREATE[0], PTHREAD_CREATE[1],                   //  11
    0xd100_429f,                                            //  13  sub sp, x20, #16: its own stack again
    0x9100_0400,                                            //  14  add x0, x0, #1
    within(9, offset_of!(Mailbox, made)),                   //  15
    0x889f_fd20,                                            //  16  stlr w0, [x9]
    pages(9, STAY_NS),                                      //  17
    0xa900_27ff,                                            //  18  stp xzr, x9, [sp]
    number(0, 0),                                           //  19  the agent fetches it here
    number(1, 0),                                           //  20
    0x9100_03e2,                                            //  21  mov x2, sp
    number(3, 0),                                           //  22
    number(4, MASK_BYTES),                                  //  23
    number(8, Aarch64::NUMBERS.ppoll),                      //  24
    SYSCALL,                                                //  25
    0xb100_101f,                                            //  26  cmn x0, #4: EINTR, after a handler
    if_equal(27, 19),                                       //  27
    0x9100_029f,                                            //  28  mov sp, x20
    0xd61f_02a0,                                            //  29  br x21
    // The new thread.
    0xa9bd_7bfd,                                            //  30  stp x29, x30, [sp, #-48]!
    0x9100_03fd,                                            //  31  mov x29, sp
    0xa901_53f3,                                            //  32  stp x19, x20, [sp, #16]
    0xf900_13f5,                                            //  33  str x21, [sp, #32]
    copy(BOX, 0),                                           //  34
    number(0, SIG_UNBLOCK),                                 //  35  the C library's own, before any lock
    within(1, offset_of!(Mailbox, unblocked)),              //  36
    number(2, 0),                                           //  37
    number(3, MASK_BYTES),                                  //  38
    number(8, Aarch64::NUMBERS.rt_sigprocmask),             //  39
    SYSCALL,                                                //  40
    number(9, Progress::Waiting as u64),                    //  41
    SAY_9,                                                  //  42
    PTHREAD_SELF[0], PTHREAD_SELF[1],                       //  43  nobody joins this thread
    PTHREAD_DETACH[0], PTHREAD_DETACH[1],                   //  45
    number(VERDICT, Progress::Left as u64),                 //  47
    number(LOOKS, ROUNDS),                                  //  48
    within(9, offset_of!(Mailbox, order)),                  //  49
    0x88df_fd29,                                            //  50  ldar w9, [x9]
    less(9, Order::Load as u64),                            //  51
    if_zero(9, 52, 67),                                     //  52
    less(9, Order::Leave as u64 - Order::Load as u64),      //  53
    if_zero(9, 54, 102),                                     //  54
    within(2, offset_of!(Mailbox, pause)),                  //  55
    pages(9, PAUSE_NS),                                     //  56
    0xa900_245f,                                            //  57  stp xzr, x9, [x2]
    number(0, 0),                                           //  58
    number(1, 0),                                           //  59
    number(3, 0),                                           //  60
    number(4, MASK_BYTES),                                  //  61
    number(8, Aarch64::NUMBERS.ppoll),                      //  62
    SYSCALL,                                                //  63
    0xf100_06b5,                                            //  64  subs x21, x21, #1
    if_unequal(65, 49),                                     //  65
    jump(66, 102),                                           //  66
    number(9, Progress::Loading as u64),                    //  67
    SAY_9,                                                  //  68
    load(0, BOX, offset_of!(Mailbox, companion_address)),   //  69
    if_zero(0, 70, 77),                                     //  70
    load(1, BOX, DLOPEN_FLAGS),                             //  71
    DLOPEN[0], DLOPEN[1],                                   //  72
    if_zero(0, 74, 77),                                     //  74
    number(9, 1),                                           //  75
    0xb900_0e69,                                            //  76  str w9, [x19, #12]: has_companion
    load(0, BOX, offset_of!(Mailbox, path_address)),        //  77
    load(1, BOX, DLOPEN_FLAGS),                             //  78
    DLOPEN[0], DLOPEN[1],                                   //  79
    if_zero(0, 81, 90),                                     //  81
    load(1, BOX, offset_of!(Mailbox, entry_address)),       //  82
    DLSYM[0], DLSYM[1],                                     //  83
    if_zero(0, 85, 90),                                     //  85
    copy(9, 0),                                             //  86
    call(9),                                                //  87
    number(VERDICT, Progress::Done as u64),                 //  88
    jump(89, 102),                                           //  89
    number(VERDICT, Progress::Refused as u64),              //  90  what the dynamic linker says, if it can
    load(9, BOX, FUNCTIONS + offset_of!(Functions, dlerror)), // 91
    if_zero(9, 92, 102),                                     //  92
    call(9),                                                //  93
    if_zero(0, 94, 102),                                     //  94
    within(1, offset_of!(Mailbox, message)),                //  95
    number(2, Mailbox::MESSAGE_BYTES as u64 - 1),           //  96
    0x3840_1403,                                            //  97  ldrb w3, [x0], #1
    0x3800_1423,                                            //  98  strb w3, [x1], #1
    if_zero(3, 99, 102),                                    //  99
    0xf100_0442,                                            // 100  subs x2, x2, #1
    if_unequal(101, 97),                                    // 101
    load_half(0, BOX, DESCRIPTORS),                         // 102
    number(8, Aarch64::NUMBERS.close),                      // 103
    SYSCALL,                                                // 104
    load_half(0, BOX, DESCRIPTORS + 4),                     // 105
    SYSCALL,                                                // 106
    load(10, BOX, offset_of!(Mailbox, code_address)),       // 107  the last looks into the mailbox
    load(16, BOX, FUNCTIONS + offset_of!(Functions, munmap)), // 108
    load(0, BOX, offset_of!(Mailbox, own_address)),         // 109
    SAY_VERDICT,                                            // 110  the last word to the agent
    if_zero(LOOKS, 111, 121),                               // 111
    pages(1, SHARED_BYTES),                                 // 112
    number(8, Aarch64::NUMBERS.munmap),                     // 113
    SYSCALL,                                                // 114
    copy(0, 10),                                            // 115  the code itself: the C library returns to the thread's end
    pages(1, PAGE_BYTES),                                   // 116
    0xf940_13f5,                                            // 117  ldr x21, [sp, #32]
    0xa941_53f3,                                            // 118  ldp x19, x20, [sp, #16]
    0xa8c3_7bfd,                                            // 119  ldp x29, x30, [sp], #48
    0xd61f_0200,                                            // 120  br x16
    0xf940_13f5,                                            // 121  the borrowed thread may still be at work: all stays
    0xa941_53f3,                                            // 122
    0xa8c3_7bfd,                                            // 123
    0xd65f_03c0,                                            // 124  ret
];

const _: () = assert!(PAGE_BYTES >> 16 << 16 == PAGE_BYTES && offset_of!(Mailbox, message) < 4096);
const _: () = assert!(offset_of!(Mailbox, progress) == 0 && offset_of!(Mailbox, has_companion) == 12);
