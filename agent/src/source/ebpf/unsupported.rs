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
         `setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_checkpoint_restore+ep` or the container's securityContext"
    )]
    Permission {
        /// Which.
        missing: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Lockdown.
    #[error("Linux is in lockdown mode ({mode}), which forbids BPF programs to read the memory of processes")]
    Lockdown {
        /// `integrity` or `confidentiality`.
        mode: String,
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
    let log = log.split(|byte| *byte == 0).next().unwrap_or_default();
    let log = String::from_utf8_lossy(log);
    // After its reason, the verifier says only how much work it did.
    let reason = log.lines().rev().map(str::trim).find(|line| {
        !line.is_empty()
            && !["processed ", "verification time", "stack depth"].iter().any(|word| line.starts_with(word))
    });
    match (reason, error.raw_os_error()) {
        (Some(reason), Some(libc::EACCES | libc::EINVAL | libc::E2BIG | libc::ENOSPC)) => {
            Unsupported::Verifier { program, reason: reason.to_owned(), source: error }
        }
        _ => explain(error, || format!("loading the BPF program {program}")),
    }
}

fn explain(error: io::Error, what: impl FnOnce() -> String) -> Unsupported {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => Unsupported::NoBpf,
        Some(libc::EPERM | libc::EACCES) => {
            let missing = Capabilities::own().missing_for_bpf();
            if !missing.is_empty() {
                return Unsupported::Permission { missing, source: error };
            }
            match (lockdown(), locked_memory_limit()) {
                (Some(mode), _) => Unsupported::Lockdown { mode },
                (None, Some(limit_bytes)) => Unsupported::LockedMemory { limit_bytes, source: error },
                (None, None) => Unsupported::Kernel { what: what(), source: error },
            }
        }
        _ => Unsupported::Kernel { what: what(), source: error },
    }
}

/// The lockdown mode, if there is one: `none [integrity] confidentiality` is `integrity`.
fn lockdown() -> Option<String> {
    let modes = std::fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    let mode = modes.split_once('[')?.1.split_once(']')?.0;
    (mode != "none").then(|| mode.to_owned())
}

/// The limit on locked memory, if there is one.
fn locked_memory_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Memlock).current
}
