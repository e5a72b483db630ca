//! The BPF programs of gpu-agent: one generic program in three forms, by how they learn which slot a hit means.
//!
//! Enters: hits of uprobes and returns. Leaves: records in the ring buffer, and counters. Refuses: meaning (see
//! `gpu-agent-ebpf-abi`), state between hits, and whatever a Linux since 5.10 cannot verify.
//!
//! | program | attached as | slot by |
//! |---|---|---|
//! | `probe` | uprobe, uretprobe, uprobe-multi | attach cookie (Linux 5.15) |
//! | `session` | uprobe session (Linux 6.13) | attach cookie, one half for each end of a call |
//! | `probe_by_address` | uprobe | process and instruction address |

#![no_std]
#![no_main]
// The target has atomic addition but no compare-and-swap, and `AtomicU64` offers both or neither.
#![feature(core_intrinsics, asm_experimental_arch)]
#![allow(internal_features)]

use aya_ebpf::helpers::{bpf_get_attach_cookie, bpf_get_func_ip};
use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;
use gpu_agent_ebpf_abi::{NO_SLOT, slots};

use crate::hit::Hit;
use crate::registers::Registers;

mod counts;
mod emit;
mod fetch;
mod filter;
mod hit;
mod maps;
mod registers;

/// One place with one meaning: an entry, a return instruction, or a return seen by a trampoline.
#[uprobe]
pub fn probe(context: ProbeContext) -> u32 {
    // SAFETY: the context is the one that Linux gave this program.
    let cookie = unsafe { bpf_get_attach_cookie(context.regs.cast()) };
    Hit::new(Registers::of(&context)).in_slot(slots(cookie).0);
    0
}

/// One place, or both ends of a call. At the hit, the instruction pointer is where the link was attached. What the program
/// returns there says if the return is to be seen: only if it means something, and only in targets. In all others Linux
/// leaves the stack as it is.
#[uprobe]
pub fn session(context: ProbeContext) -> u32 {
    let registers = Registers::of(&context);
    // SAFETY: the context is the one that Linux gave this program.
    let (cookie, place) =
        unsafe { (bpf_get_attach_cookie(context.regs.cast()), bpf_get_func_ip(context.regs.cast())) };
    let (entry, exit) = slots(cookie);
    let is_entry = registers.instruction_pointer() == place;
    let wanted = Hit::new(registers).in_slot(if is_entry { entry } else { exit });
    u32::from(!wanted || exit == NO_SLOT)
}

/// As `probe`, for Linux before 5.15.
#[uprobe]
pub fn probe_by_address(context: ProbeContext) -> u32 {
    Hit::new(Registers::of(&context)).in_slot_of_site();
    0
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The helpers that read a process's memory are for GPL-compatible programs.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
