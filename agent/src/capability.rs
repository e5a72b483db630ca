//! What this process may do: the capabilities that attaching to other users' processes takes.
//!
//! Enters: `/proc/self/status`. Leaves: yes or no by capability, and the words for a user. Refuses: to try things out:
//! a look is enough.

/// Bits of `CapEff`, from `linux/capability.h`.
const SYS_PTRACE: u32 = 19;
const SYS_ADMIN: u32 = 21;
const CHECKPOINT_RESTORE: u32 = 40;

/// The capabilities that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// Reading the memory maps of other users' processes (`CAP_SYS_PTRACE`).
    pub sys_ptrace: bool,
    /// Opening files through `/proc/PID/map_files` (`CAP_CHECKPOINT_RESTORE`, from Linux 5.9, or `CAP_SYS_ADMIN`).
    pub map_files: bool,
    /// Lifting and reading the seccomp filters of other processes (`CAP_SYS_ADMIN`).
    pub sys_admin: bool,
}

impl Capabilities {
    /// Those of this process; none where `/proc` cannot be read.
    #[must_use]
    pub fn own() -> Self {
        std::fs::read_to_string("/proc/self/status")
            .map_or_else(|_| Self::default(), |status| Self::parse(&status))
    }

    fn parse(status: &str) -> Self {
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let bits = line.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0);
        let has = |bit: u32| bits & 1 << bit != 0;
        Self {
            sys_ptrace: has(SYS_PTRACE),
            map_files: has(CHECKPOINT_RESTORE) || has(SYS_ADMIN),
            sys_admin: has(SYS_ADMIN),
        }
    }

    /// What to give the agent so that it can attach to any process; empty if it has all of it.
    #[must_use]
    pub fn missing(&self) -> &'static str {
        match (self.sys_ptrace, self.map_files) {
            (true, true) => "",
            (true, false) => "CAP_CHECKPOINT_RESTORE",
            (false, true) => "CAP_SYS_PTRACE",
            (false, false) => "CAP_SYS_PTRACE and CAP_CHECKPOINT_RESTORE",
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
        assert_eq!(of("0000000000000000").missing(), "CAP_SYS_PTRACE and CAP_CHECKPOINT_RESTORE");
        assert_eq!(of("0000000000080000").missing(), "CAP_CHECKPOINT_RESTORE");
        assert_eq!(of("0000000000200000").missing(), "CAP_SYS_PTRACE", "CAP_SYS_ADMIN opens map_files too");
        assert_eq!(of("nonsense").missing(), "CAP_SYS_PTRACE and CAP_CHECKPOINT_RESTORE");
    }

    #[test]
    fn this_process_has_some_answer() {
        let is_root = rustix::process::geteuid().is_root();
        assert!(!Capabilities::own().missing().is_empty() || is_root);
    }
}
