//! Which stack the programs run on: the kernel's own.
//!
//! Enters: contexts. Leaves: nothing. Refuses: Linux's private stacks.
//!
//! Since 6.13, Linux may give programs of the type that uprobes have a *private stack*: one for each CPU, where a function's
//! frame takes 64 bytes or more (`bpf_enable_priv_stack`, kernel/bpf/verifier.c). That takes for granted that no CPU enters the
//! program while it is in it. Linux sees to that where it runs for kprobes, and not where it runs for uprobes: there it can be
//! preempted, and on a preemptible Linux a second thread then works on the stack of the first. Records are lost or wrong, and
//! the kernel oopses (seen on 7.3.4; `tests/kernels` would show it again). A program that has a tail call anywhere gets no
//! private stack (`check_max_stack_depth`), so each has one here, which is never made.

use core::ffi::c_void;

use aya_ebpf::programs::ProbeContext;

use crate::hit::Hit;
use crate::maps::NOWHERE;

/// To be called once by each program.
#[inline(always)]
pub fn stay_on_the_kernels(context: *mut c_void, hit: &Hit) {
    // The verifier does not know that no process has this id.
    if hit.process() == 0 {
        // SAFETY: the map is empty, so that the call fails, and the program goes on.
        let _ = unsafe { NOWHERE.tail_call(&ProbeContext::new(context), 0) };
    }
}
