//! Why the kernel refuses BPF programs here, in words a user can act on.
//!
//! Enters: errors of the kernel. Leaves: [`Unsupported`]. Refuses: to call the agent broken where the host merely does not
//! allow something.

use std::error::Error;
use std::io;

use aya::maps::MapError;

use crate::capability::Capabilities;

/// Why there are no probes here.
#[derive(Debug, thiserror::Error)]
pub enum Unsupported {
    /// bpf(2) does not exist.
    #[error("this Linux has no bpf(2) system call (CONFIG_BPF_SYSCALL); probes need Linux 5.10 or later")]
    NoBpf,
    /// Uprobes do not exist.
    #[error("this Linux has no uprobes (CONFIG_UPROBE_EVENTS): {UNIT}/type cannot be read")]
    NoUprobes(#[source] io::Error),
    /// A capability is missing.
    #[error(
        "loading BPF programs is not permitted: {missing} missing; run the agent as root, or grant it by \
         `setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search,cap_checkpoint_restore+ep` or the container's securityContext"
    )]
    Permission {
        /// Which.
        missing: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Lockdown.
    #[error(
        "Linux refuses the BPF programs. It is in lockdown mode ({mode}), which as Linux has it allows them: \
         see what this distribution or its security module adds (/sys/kernel/security/lockdown, /sys/kernel/security/lsm)"
    )]
    Lockdown {
        /// `integrity` or `confidentiality`.
        mode: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The limit on locked memory, which Linux before 5.11 applies to maps and programs.
    #[error(
        "the limit on locked memory is too small for BPF maps ({limit_bytes} bytes): raise it \
         (`ulimit -l unlimited`, systemd: LimitMEMLOCK=infinity), or grant CAP_SYS_RESOURCE"
    )]
    LockedMemory {
        /// The limit.
        limit_bytes: u64,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The agent sees other process ids than the kernel.
    #[error(
        "the agent runs in a pid namespace of its own: start it in the host's (Kubernetes: hostPID: true)"
    )]
    PidNamespace,
    /// The verifier.
    #[error("the kernel's verifier refuses the program {program}: {reason}")]
    Verifier {
        /// Which.
        program: &'static str,
        /// The last of the verifier's words.
        reason: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Another refusal.
    #[error("{what} failed")]
    Kernel {
        /// What was tried.
        what: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The object is not what the agent was built for.
    #[error("the built BPF object is unusable")]
    Object(#[source] Box<dyn Error + Send + Sync>),
}

/// Where Linux describes its uprobe unit.
pub(super) const UNIT: &str = "/sys/bus/event_source/devices/uprobe";

impl Unsupported {
    pub(super) fn object(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Object(Box::new(error))
    }
}

/// Looks at what no system call says.
pub(super) fn check_host() -> Result<(), Unsupported> {
    let own = rustix::fs::stat("/proc/self/ns/pid").map_err(|error| Unsupported::Kernel {
        what: "looking at /proc/self/ns/pid".to_owned(),
        source: error.into(),
    })?;
    if own.st_ino == INITIAL_PID_NAMESPACE { Ok(()) } else { Err(Unsupported::PidNamespace) }
}

/// `PROC_PID_INIT_INO`, `linux/proc_ns.h`.
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Why a map was not created.
pub(super) fn of_map(name: &str, error: MapError) -> Unsupported {
    match error {
        MapError::CreateError { io_error, .. } => {
            explain(io_error, || format!("creating the BPF map {name}"))
        }
        other => Unsupported::object(other),
    }
}

/// Why a program was not loaded.
pub(super) fn of_program(program: &'static str, error: io::Error, log: &[u8]) -> Unsupported {
    match (verdict(log), error.raw_os_error()) {
        (Some(reason), Some(libc::EACCES | libc::EINVAL | libc::E2BIG | libc::ENOSPC)) => {
            Unsupported::Verifier { program, reason, source: error }
        }
        _ => explain(error, || format!("loading the BPF program {program}")),
    }
}

/// The verifier's reason: the last that it says, but for how much work it did.
fn verdict(log: &[u8]) -> Option<String> {
    let log = String::from_utf8_lossy(log.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
    let is_statistics = |line: &&str| {
        ["processed ", "verification time ", "stack depth "].iter().any(|word| line.starts_with(word))
    };
    let mut lines = log.lines().rev().map(str::trim);
    lines.find(|line| !line.is_empty() && !is_statistics(line)).map(str::to_owned)
}

fn explain(error: io::Error, what: impl FnOnce() -> String) -> Unsupported {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => Unsupported::NoBpf,
        Some(libc::EPERM | libc::EACCES) => {
            let lockdown = std::fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
            let host = Host {
                missing: Capabilities::own().missing_for_bpf(),
                lockdown: lockdown_mode(&lockdown).map(str::to_owned),
                locked_memory: locked_memory_limit(),
            };
            host.explain(error, what)
        }
        _ => Unsupported::Kernel { what: what(), source: error },
    }
}

/// What may be the reason where something is not permitted.
struct Host {
    missing: &'static str,
    lockdown: Option<String>,
    locked_memory: Option<u64>,
}

impl Host {
    fn explain(self, source: io::Error, what: impl FnOnce() -> String) -> Unsupported {
        match self {
            Self { missing, .. } if !missing.is_empty() => Unsupported::Permission { missing, source },
            Self { lockdown: Some(mode), .. } => Unsupported::Lockdown { mode, source },
            Self { locked_memory: Some(limit_bytes), .. } => {
                Unsupported::LockedMemory { limit_bytes, source }
            }
            _ => Unsupported::Kernel { what: what(), source },
        }
    }
}

/// The lockdown mode, if there is one: of `none [integrity] confidentiality` it is `integrity`.
fn lockdown_mode(modes: &str) -> Option<&str> {
    let mode = modes.split_once('[')?.1.split_once(']')?.0;
    (mode != "none").then_some(mode)
}

/// The limit on locked memory, if there is one.
fn locked_memory_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Memlock).current
}

#[cfg(test)]
mod tests {
    use std::io;

    use aya::maps::MapError;

    use super::{Host, Unsupported, lockdown_mode, of_map, of_program, verdict};

    fn error(number: i32) -> io::Error {
        io::Error::from_raw_os_error(number)
    }

    #[test]
    fn the_verifiers_reason_is_its_last_word_before_the_statistics() {
        let log =
            b"0: (85) call unknown#174\ninvalid func unknown#174\nverification time 7 usec\nstack depth 0\n\
            processed 2 insns (limit 1000000)\n\0\0\0";
        assert_eq!(verdict(log).as_deref(), Some("invalid func unknown#174"));
        assert_eq!(verdict(b"\0"), None);
        let why = of_program("probe", error(libc::EINVAL), log).to_string();
        assert_eq!(why, "the kernel's verifier refuses the program probe: invalid func unknown#174");
    }

    #[test]
    fn lockdown_is_what_stands_in_brackets_unless_that_is_none() {
        assert_eq!(lockdown_mode("none [integrity] confidentiality\n"), Some("integrity"));
        assert_eq!(lockdown_mode("[none] integrity confidentiality\n"), None);
        assert_eq!(lockdown_mode(""), None);
    }

    #[test]
    fn what_is_not_permitted_has_the_first_reason_that_applies() {
        let host = |missing, lockdown: Option<&str>, locked_memory| {
            let lockdown = lockdown.map(str::to_owned);
            Host { missing, lockdown, locked_memory }
                .explain(error(libc::EPERM), || "this".into())
                .to_string()
        };
        let permission = host("CAP_BPF", Some("integrity"), Some(65536));
        assert!(permission.contains("CAP_BPF missing") && permission.contains("setcap"), "{permission}");
        assert!(host("", Some("integrity"), Some(65536)).contains("lockdown mode (integrity"));
        let memory = host("", None, Some(65536));
        assert!(memory.contains("65536 bytes") && memory.contains("ulimit -l unlimited"), "{memory}");
        assert_eq!(host("", None, None), "this failed");
    }

    #[test]
    fn a_kernel_without_bpf_is_named() {
        let map = MapError::CreateError { name: "RECORDS".into(), io_error: error(libc::ENOSYS) };
        assert!(matches!(of_map("RECORDS", map), Unsupported::NoBpf));
    }
}
