//! Probes on programs that throw, jump, fork, lie and die, and agents that die over them.
//!
//! Enters: the programs of `probe_faults/targets`, compiled here. Leaves: nothing. Refuses: a target that computes something
//! else with probes than without, a breakpoint that outlives its agent, a value that nobody could read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod probe_faults {
    pub(crate) mod children;
    pub(crate) mod files;
    pub(crate) mod lifetimes;
    pub(crate) mod memory;
    pub(crate) mod permissions;
    pub(crate) mod rig;
    pub(crate) mod specifications;
    pub(crate) mod stacks;
    pub(crate) mod unwinding;
}
