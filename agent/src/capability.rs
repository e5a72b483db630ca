//! What this process may do: the capabilities that attaching to other users' processes, loading the shim into them and loading
//! BPF programs takes.
//!
//! Enters: `/proc/thread-self/status`. Leaves: yes or no by capability, and the words for a user. Refuses: to try things out:
//! a look is enough.

/// Bits of `CapEff`, from `linux/capability.h`.
const DAC_OVERRIDE: u32 = 1;
const DAC_READ_SEARCH: u32 = 2;
const SYS_PTRACE: u32 = 19;
const SYS_ADMIN: u32 = 21;
const PERFMON: u32 = 38;
const BPF: u32 = 39;
const CHECKPOINT_RESTORE: u32 = 40;

/// The capabilities that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// Reading the memory maps of other users' processes (`CAP_SYS_PTRACE`).
    pub sys_ptrace: bool,
    /// Reading what Linux shows of a process to its user alone, such as its descriptors and `/proc/PID/task/TID/syscall`
    /// (`CAP_DAC_READ_SEARCH` or `CAP_DAC_OVERRIDE`).
    pub dac_read_search: bool,
    /// Reading a seccomp filter (`CAP_SYS_ADMIN`).
    pub sys_admin: bool,
    /// Opening files through `/proc/PID/map_files` (`CAP_CHECKPOINT_RESTORE`, from Linux 5.9, or `CAP_SYS_ADMIN`).
    pub map_files: bool,
    /// Loading BPF programs and creating maps (`CAP_BPF`, from Linux 5.8, or `CAP_SYS_ADMIN`).
    pub bpf: bool,
    /// BPF programs that read memory, and uprobes (`CAP_PERFMON`, from Linux 5.8, or `CAP_SYS_ADMIN`).
    pub perfmon: bool,
}

impl Capabilities {
    /// Those of this thread; none where `/proc` cannot be read.
    #[must_use]
    pub fn own() -> Self {
        std::fs::read_to_string("/proc/thread-self/status")
            .map_or_else(|_| Self::default(), |status| Self::parse(&status))
    }

    fn parse(status: &str) -> Self {
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let bits = line.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0);
        let has = |bit: u32| bits & 1 << bit != 0;
        Self {
            sys_ptrace: has(SYS_PTRACE),
            dac_read_search: has(DAC_READ_SEARCH) || has(DAC_OVERRIDE),
            sys_admin: has(SYS_ADMIN),
            map_files: has(CHECKPOINT_RESTORE) || has(SYS_ADMIN),
            bpf: has(BPF) || has(SYS_ADMIN),
            perfmon: has(PERFMON) || has(SYS_ADMIN),
        }
    }

    /// What to give the agent so that it can attach to other users' processes; empty if it has all of it.
    #[must_use]
    pub fn missing_for_others(&self) -> &'static str {
        match (self.sys_ptrace, self.dac_read_search) {
            (true, true) => "",
            (true, false) => "CAP_DAC_READ_SEARCH",
            (false, true) => "CAP_SYS_PTRACE",
            (false, false) => "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH",
        }
    }

    /// The same, and so that it can open files that the process maps but has no path or descriptor of any more.
    fn missing(&self) -> &'static str {
        match (self.missing_for_others(), self.map_files) {
            (missing, true) => missing,
            ("", false) => "CAP_CHECKPOINT_RESTORE",
            ("CAP_DAC_READ_SEARCH", false) => "CAP_DAC_READ_SEARCH and CAP_CHECKPOINT_RESTORE",
            ("CAP_SYS_PTRACE", false) => "CAP_SYS_PTRACE and CAP_CHECKPOINT_RESTORE",
            (_, false) => "CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH and CAP_CHECKPOINT_RESTORE",
        }
    }

    /// What to give the agent so that it can open any file that a process of user `uid` maps; empty if it has all of it.
    #[must_use]
    pub fn missing_for_files_of(&self, uid: u32) -> &'static str {
        match (uid == rustix::process::geteuid().as_raw(), self.map_files) {
            (true, true) => "",
            (true, false) => "CAP_CHECKPOINT_RESTORE",
            (false, _) => self.missing(),
        }
    }

    /// What to give the agent so that it can load BPF programs and attach them; empty if it has all of it.
    #[must_use]
    pub fn missing_for_bpf(&self) -> &'static str {
        match (self.bpf, self.perfmon) {
            (true, true) => "",
            (true, false) => "CAP_PERFMON",
            (false, true) => "CAP_BPF",
            (false, false) => "CAP_BPF and CAP_PERFMON",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Capabilities;

    #[test]
    fn roots_and_nobodys_capabilities_are_told_apart() {
        let of = |bits: &str| Capabilities::parse(&format!("Name:\tx\nCapEff:\t{bits}\n"));
        assert_eq!(of("000001ffffffffff").missing(), "");
        assert_eq!(
            of("0000000000000000").missing(),
            "CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH and CAP_CHECKPOINT_RESTORE"
        );
        assert_eq!(of("0000000000080004").missing(), "CAP_CHECKPOINT_RESTORE");
        assert_eq!(of("0000000000200002").missing(), "CAP_SYS_PTRACE", "CAP_SYS_ADMIN opens map_files too");
        assert_eq!(of("0000010000080000").missing(), "CAP_DAC_READ_SEARCH");
        assert_eq!(of("nonsense").missing_for_others(), "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH");
    }

    #[test]
    fn what_bpf_takes_is_told_apart_from_what_attaching_takes() {
        let of = |bits: &str| Capabilities::parse(&format!("CapEff:\t{bits}\n"));
        assert_eq!(of("0000000000000000").missing_for_bpf(), "CAP_BPF and CAP_PERFMON");
        assert_eq!(of("0000008000000000").missing_for_bpf(), "CAP_PERFMON");
        assert_eq!(of("0000004000000000").missing_for_bpf(), "CAP_BPF");
        assert_eq!(of("000000c000000000").missing_for_bpf(), "");
        assert_eq!(of("0000000000200000").missing_for_bpf(), "", "CAP_SYS_ADMIN is both");
    }

    #[test]
    fn what_other_users_processes_take_is_told_apart() {
        let of = |bits: &str| Capabilities::parse(&format!("CapEff:\t{bits}\n"));
        assert_eq!(of("0000000000000000").missing_for_others(), "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH");
        assert_eq!(of("0000000000080000").missing_for_others(), "CAP_DAC_READ_SEARCH");
        assert_eq!(of("0000000000000004").missing_for_others(), "CAP_SYS_PTRACE");
        assert_eq!(of("0000000000080004").missing_for_others(), "");
        assert!(of("0000000000200000").sys_admin && !of("0000000000080004").sys_admin);
    }

    #[test]
    fn this_process_has_some_answer() {
        let is_root = rustix::process::geteuid().is_root();
        assert!(!Capabilities::own().missing().is_empty() || is_root);
    }
}
