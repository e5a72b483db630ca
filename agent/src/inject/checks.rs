//! What forbids to load the shim, found out before the process is touched.
//!
//! Enters: `/proc` of the process and of the host. Leaves: permission, or a [`Refusal`] that says what to do. Refuses: to
//! try things out.

use std::fs;
use std::io::{self, Read};

use super::{Error, Refusal};
use crate::capability::Capabilities;
use crate::event::Pid;
use crate::identity::Process;

/// Longest environment that is looked through for the switch.
const MAX_ENVIRONMENT_BYTES: u64 = 4 << 20;

/// What `/proc/PID/status` says that matters here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Status {
    /// State is `T` (stopped) or `t` (stopped by a tracer).
    pub stopped: bool,
    /// Pid of the tracer, 0 for none.
    pub tracer: u32,
    /// 0 none, 1 strict, 2 filter.
    pub seccomp: u32,
    /// Runs with a shadow stack.
    pub shadow_stack: bool,
    /// Signals that wait to be delivered and have a handler, as a mask.
    pub handled: u64,
}

impl Status {
    /// Reads that of a process or thread.
    pub fn read(pid: Pid) -> Result<Self, Error> {
        let path = format!("/proc/{pid}/status");
        match fs::read_to_string(&path) {
            Ok(status) => Ok(Self::parse(&status)),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Err(Error::Gone { pid }),
            Err(source) => Err(Error::Proc { path, source }),
        }
    }

    /// From the text of the file.
    #[must_use]
    pub fn parse(status: &str) -> Self {
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let number = |name| field(name).and_then(|value| value.parse().ok()).unwrap_or(0);
        let mask = |name| field(name).and_then(|value| u64::from_str_radix(value, 16).ok()).unwrap_or(0);
        Self {
            stopped: field("State:").is_some_and(|state| state.starts_with('T')),
            tracer: number("TracerPid:"),
            seccomp: number("Seccomp:"),
            shadow_stack: field("x86_Thread_features:")
                .is_some_and(|features| features.split_whitespace().any(|word| word == "shstk")),
            handled: (mask("SigPnd:") | mask("ShdPnd:")) & mask("SigCgt:"),
        }
    }

    /// What in it forbids to load the shim.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match *self {
            Self { tracer: tracer @ 1.., .. } => Some(Refusal::Traced { tracer }),
            Self { stopped: true, .. } => Some(Refusal::Stopped),
            Self { seccomp: 1, .. } => Some(Refusal::SeccompStrict),
            Self { shadow_stack: true, .. } => Some(Refusal::ShadowStack),
            _ => None,
        }
    }
}

/// What is to be reckoned with in a process that may be entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// A seccomp filter is in force.
    pub has_seccomp: bool,
    /// It may execute memory files, as far as is known before it makes one.
    pub has_memory_files: bool,
}

/// Checks everything that needs no look into the C library.
pub fn check(process: &Process) -> Result<Checked, Error> {
    let pid = process.pid;
    let status = Status::read(pid)?;
    let refusal = status
        .refusal()
        .or_else(|| privileges(process, Capabilities::own(), yama()))
        .or_else(|| is_switched_off(&environment(pid)).then_some(Refusal::SwitchedOff));
    match refusal {
        Some(refusal) => Err(Error::Refused { pid, refusal }),
        None => Ok(Checked { has_seccomp: status.seccomp == 2, has_memory_files: memfd_noexec() < 2 }),
    }
}

/// Whether Linux lets this agent trace the process.
fn privileges(process: &Process, own: Capabilities, yama: u32) -> Option<Refusal> {
    match yama {
        scope @ 3.. => Some(Refusal::Yama { scope }),
        scope @ 1..=2 if !own.sys_ptrace => Some(Refusal::Yama { scope }),
        _ if !own.sys_ptrace && process.uid != rustix::process::geteuid().as_raw() => {
            Some(Refusal::Unprivileged)
        }
        _ => None,
    }
}

/// `kernel.yama.ptrace_scope`; 0 where Yama is not built in.
pub fn yama() -> u32 {
    setting("/proc/sys/kernel/yama/ptrace_scope")
}

/// `vm.memfd_noexec` of the agent's own pid namespace; 0 before Linux 6.3. A process in another may have a stricter one, and
/// says so when it makes the file.
pub fn memfd_noexec() -> u32 {
    setting("/proc/sys/vm/memfd_noexec")
}

fn setting(path: &str) -> u32 {
    fs::read_to_string(path).ok().and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// The environment that the process began with, as far as it is looked through. A process says itself where it lies, and may
/// say terabytes (`PR_SET_MM_MAP`).
fn environment(pid: Pid) -> Vec<u8> {
    let mut environment = Vec::new();
    if let Ok(file) = fs::File::open(format!("/proc/{pid}/environ")) {
        // What was read until an error counts.
        let _ = file.take(MAX_ENVIRONMENT_BYTES).read_to_end(&mut environment);
    }
    environment
}

/// Only this one variable is looked at; the rest may be secret.
fn is_switched_off(environment: &[u8]) -> bool {
    environment.split(|&byte| byte == 0).any(|variable| variable == b"GPU_AGENT_SHIM=off")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_nothing_special_is_not_refused() {
        let status = "Name:\tx\nState:\tS (sleeping)\nTracerPid:\t0\nSeccomp:\t0\nx86_Thread_features:\t\n";
        assert_eq!(Status::parse(status), Status::default());
        assert_eq!(Status::default().refusal(), None);
    }

    #[test]
    fn each_obstacle_in_the_status_has_its_name() {
        let refusal = |line: &str| Status::parse(line).refusal();
        assert_eq!(refusal("TracerPid:\t77\n"), Some(Refusal::Traced { tracer: 77 }));
        assert_eq!(refusal("State:\tT (stopped)\n"), Some(Refusal::Stopped));
        assert_eq!(refusal("Seccomp:\t1\n"), Some(Refusal::SeccompStrict));
        assert_eq!(refusal("Seccomp:\t2\n"), None, "its filter is looked at");
        assert_eq!(refusal("x86_Thread_features:\tshstk wrss\n"), Some(Refusal::ShadowStack));
    }

    #[test]
    fn of_the_waiting_signals_those_with_a_handler_count() {
        let status = "SigPnd:\t0000000000000200\nShdPnd:\t0000000000010001\nSigCgt:\t0000000000000201\n";
        assert_eq!(Status::parse(status).handled, 0x201);
    }

    #[test]
    fn yama_and_users_are_obstacles_only_without_the_capability() {
        let own = Process::look_up(Pid(std::process::id())).unwrap();
        let none = Capabilities::default();
        let all = Capabilities { sys_ptrace: true, ..Capabilities::default() };
        assert_eq!(privileges(&own, none, 0), None);
        assert_eq!(privileges(&own, none, 1), Some(Refusal::Yama { scope: 1 }));
        assert_eq!(privileges(&own, all, 2), None);
        assert_eq!(privileges(&own, all, 3), Some(Refusal::Yama { scope: 3 }));
    }

    #[test]
    fn only_the_very_switch_switches_off() {
        assert!(is_switched_off(b"A=b\0GPU_AGENT_SHIM=off\0"));
        assert!(!is_switched_off(b"A=b\0GPU_AGENT_SHIM=offline\0XGPU_AGENT_SHIM=off\0GPU_AGENT_SHIM=on\0"));
    }
}
