//! One run of a program.
//!
//! Enters: registers, and how to find the slot. Leaves: a record at most, and exactly one of the counters that make up the
//! hits. Refuses: nothing.

use core::ptr;

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use gpu_agent_ebpf_abi::{FetchProgram, SiteKey};

use crate::emit::{self, count};
use crate::filter;
use crate::maps::{COUNTERS, PROGRAMS, SITES};
use crate::registers::Registers;

/// Where and when.
#[derive(Clone, Copy)]
pub struct Hit {
    pub registers: Registers,
    pub ktime_ns: u64,
    /// Process in the high half, thread in the low one.
    pub process_and_thread: u64,
}

impl Hit {
    #[inline(always)]
    pub fn new(registers: Registers) -> Self {
        // SAFETY: the helper takes no argument.
        let ktime_ns = unsafe { bpf_ktime_get_ns() };
        Self { registers, ktime_ns, process_and_thread: bpf_get_current_pid_tgid() }
    }

    pub fn process(&self) -> u32 {
        (self.process_and_thread >> 32) as u32
    }

    pub fn thread(&self) -> u32 {
        self.process_and_thread as u32
    }

    /// Runs the fetch program in `slot`. Returns what all programs return.
    #[inline(always)]
    pub fn in_slot(self, slot: u32) -> u32 {
        self.run(|_| Some(slot))
    }

    /// Runs the fetch program of this place in this process.
    #[inline(always)]
    pub fn in_slot_of_site(self) -> u32 {
        self.run(|hit| {
            let address = hit.registers.instruction_pointer();
            let site = SITES.get_ptr(SiteKey { process: hit.process(), reserved: 0, address })?;
            // SAFETY: a value of the map; a slot that another process's site took meanwhile is a stale generation.
            Some(unsafe { *site })
        })
    }

    #[inline(always)]
    fn run(self, slot: impl FnOnce(&Self) -> Option<u32>) -> u32 {
        let Some(counters) = COUNTERS.get_ptr_mut(0) else { return 0 };
        // SAFETY: all the counters are this CPU's own, and only ever added to.
        let (hits, filtered, unknown) = unsafe {
            (&raw mut (*counters).hits, &raw mut (*counters).filtered, &raw mut (*counters).unknown)
        };
        count(hits);
        if !filter::wants(self.process()) {
            count(filtered);
            return 0;
        }
        let Some(slot) = slot(&self) else {
            count(unknown);
            return 0;
        };
        let Some(program) = PROGRAMS.get_ptr(slot) else {
            count(unknown);
            return 0;
        };
        // SAFETY: a value of the map; the agent may be writing it, and then says so by the generation.
        let program: &FetchProgram = unsafe { &*program };
        // SAFETY: as above.
        if unsafe { ptr::read_volatile(&raw const program.phase) } == 0 {
            count(unknown);
            return 0;
        }
        emit::record(&self, slot, program, counters);
        0
    }
}
