//! The counters of this CPU.
//!
//! Enters: what happened. Leaves: counts. Refuses: to count with anything but atomic additions: a thread that is preempted
//! in a program, and the next one on its CPU, must both be counted.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use gpu_agent_ebpf_abi::Counters;

/// The counters.
#[derive(Clone, Copy)]
pub struct Counts(*mut Counters);

macro_rules! counts {
    ($($name:ident)*) => {$(
        #[inline(always)]
        pub fn $name(self) {
            // SAFETY: a field of the map's value.
            add(unsafe { &raw mut (*self.0).$name }, 1);
        }
    )*};
}

impl Counts {
    #[inline(always)]
    pub fn of_this_cpu() -> Option<Self> {
        crate::maps::COUNTERS.get_ptr_mut(0).map(Self)
    }

    counts!(hits filtered unknown emitted lost);

    #[inline(always)]
    pub fn faulted_reads(self, amount: u32) {
        // SAFETY: a field of the map's value.
        add(unsafe { &raw mut (*self.0).faulted_reads }, u64::from(amount));
    }
}

#[inline(always)]
fn add(counter: *mut u64, amount: u64) {
    // SAFETY: aligned, in a map's value, and only ever added to.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, amount) };
}
