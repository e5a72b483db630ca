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
//!
//! They are written out, because what aya-ebpf's macro makes returns zero whatever the function says.

#![no_std]
#![no_main]
// The target has atomic addition but no compare-and-swap, and `AtomicU64` offers both or neither.
#![feature(core_intrinsics, asm_experimental_arch)]
#![allow(internal_features)]

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_get_attach_cookie, bpf_get_func_ip};
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
#[unsafe(no_mangle)]
#[unsafe(link_section = "uprobe")]
pub extern "C" fn probe(context: *mut c_void) -> u32 {
    // SAFETY: the context is the one that Linux gave this program.
    let cookie = unsafe { bpf_get_attach_cookie(context) };
    Hit::new(Registers::of(context)).in_slot(slots(cookie).0);
    0
}

/// One place, or both ends of a call. At the hit, the instruction pointer is where the link was attached. What the program
/// returns there says if the return is not to be seen: it is only in targets, and only if it means something. In all other
/// cases Linux leaves the stack as it is.
#[unsafe(no_mangle)]
#[unsafe(link_section = "uprobe")]
pub extern "C" fn session(context: *mut c_void) -> u32 {
    let registers = Registers::of(context);
    // SAFETY: the context is the one that Linux gave this program.
    let (cookie, place) = unsafe { (bpf_get_attach_cookie(context), bpf_get_func_ip(context)) };
    let (entry, exit) = slots(cookie);
    let is_entry = registers.instruction_pointer() == place;
    let wanted = Hit::new(registers).in_slot(if is_entry { entry } else { exit });
    u32::from(!wanted || exit == NO_SLOT)
}

/// As `probe`, for Linux before 5.15.
#[unsafe(no_mangle)]
#[unsafe(link_section = "uprobe")]
pub extern "C" fn probe_by_address(context: *mut c_void) -> u32 {
    Hit::new(Registers::of(context)).in_slot_of_site();
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
