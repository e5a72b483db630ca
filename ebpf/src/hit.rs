//! One run of a program.
//!
//! Enters: registers, and how to find the slot. Leaves: a record at most, and exactly one of the counters that make up the
//! hits. Refuses: nothing.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use gpu_agent_ebpf_abi::{FetchProgram, SiteKey};

use crate::counts::Counts;
use crate::emit;
use crate::filter;
use crate::maps::{PROGRAMS, SITES};
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

    /// Runs the fetch program in `slot`, if the process is a target; says if it is.
    #[inline(always)]
    pub fn in_slot(self, slot: u32) -> bool {
        self.run(|_| Some(slot))
    }

    /// Runs the fetch program of this place in this process, likewise.
    #[inline(always)]
    pub fn in_slot_of_site(self) -> bool {
        self.run(|hit| {
            let address = hit.registers.instruction_pointer();
            let site = SITES.get_ptr(SiteKey { process: hit.process(), reserved: 0, address })?;
            // SAFETY: a value of the map; a slot that another process's site took meanwhile is a stale generation.
            Some(unsafe { *site })
        })
    }

    #[inline(always)]
    fn run(self, slot: impl FnOnce(&Self) -> Option<u32>) -> bool {
        let Some(counters) = Counts::of_this_cpu() else { return false };
        counters.hits();
        if !filter::wants(self.process()) {
            counters.filtered();
            return false;
        }
        match slot(&self).and_then(|slot| Some((slot, program_in(slot)?))) {
            Some((slot, program)) => emit::record(&self, slot, program, counters),
            None => counters.unknown(),
        }
        true
    }
}

/// The fetch program in `slot`, if there is one.
#[inline(always)]
fn program_in(slot: u32) -> Option<&'static FetchProgram> {
    // SAFETY: a value of a map. The agent writes it while no place means it, or else makes it none.
    let program = unsafe { &*PROGRAMS.get_ptr(slot)? };
    (program.phase != 0).then_some(program)
}
