//! Whose hits make records.
//!
//! Enters: the process that runs. Leaves: yes or no. Refuses: nothing.

use aya_ebpf::helpers::bpf_get_current_cgroup_id;

use crate::maps::{CGROUPS, TARGETS};

/// If `process` (tgid) or the control group that it is in is wanted.
#[inline(always)]
pub fn wants(process: u32) -> bool {
    TARGETS.get_ptr(process).is_some() || {
        // SAFETY: the helper takes no argument and reads the current task, which a uprobe has.
        let cgroup = unsafe { bpf_get_current_cgroup_id() };
        CGROUPS.get_ptr(cgroup).is_some()
    }
}
