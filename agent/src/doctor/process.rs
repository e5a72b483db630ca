//! One process: what CUDA it has, whether the shim is or can be in it, and what will not be visible.
//!
//! Enters: a pid. Leaves: lines. Refuses: to stop it, to open its devices, to read its arguments; of its environment only the
//! variables that CUDA, NVTX and CUPTI go by are looked at.

use std::path::PathBuf;

use super::{Line, Report};
use crate::capability::Capabilities;
use crate::event::Pid;
use crate::identity::{Glance, IdentityError, Process};
use crate::inject::cupti::Cuda;
use crate::symbols::process::{Mapped, ProcessError, mapped};

mod cuda;
mod environment;
mod loading;
mod place;
mod shim;

use environment::Environment;

/// All about `pid`; where there is no such process, that.
#[must_use]
pub fn report(pid: Pid) -> Report {
    let process = match Process::look_up(pid) {
        Ok(process) => process,
        Err(error) => return nobody(pid, &error),
    };
    let subject = format!(
        "process {pid} ({}, user {}{})",
        process.executable,
        process.uid,
        process.container.as_deref().map(|id| format!(", container {id}")).unwrap_or_default()
    );
    if Glance::at(pid).is_ok_and(|glance| glance.address_space_bytes == 0) {
        let reason = "it is a thread of Linux itself, or about to end: it has no memory, and so no CUDA";
        let line = Line::no("process", reason, "name the process that does the GPU work");
        return Report { subject, lines: vec![line] };
    }
    let lines = match mapped(pid) {
        Ok(files) => Looked::at(process, files).lines(),
        Err(error) => vec![unreadable(&error, Capabilities::own().missing_for_others())],
    };
    Report { subject, lines }
}

/// What was read of it.
struct Looked {
    process: Process,
    files: Vec<Mapped>,
    cuda: Cuda,
    environment: Environment,
}

impl Looked {
    fn at(process: Process, files: Vec<Mapped>) -> Self {
        let (cuda, environment) = (Cuda::of(&files), Environment::of(process.pid));
        Self { process, files, cuda, environment }
    }

    fn lines(&self) -> Vec<Line> {
        let Self { process, files, cuda, environment } = self;
        let pid = process.pid;
        let candidates = cuda.candidates(pid);
        let shim = shim::Shim::of(process, cuda);
        let mut lines = vec![
            cuda::driver(cuda, shim.versions()),
            cuda::runtime(cuda, &executable(pid), files),
            cuda::major(cuda, shim.versions()),
            cuda::cupti(cuda, &candidates),
            cuda::owner(cuda, environment),
            shim.line(),
        ];
        lines.extend(loading::lines(process, files, &shim, candidates.first()));
        lines.extend(cuda::graphs(cuda, candidates.first()));
        lines.push(place::symbols(files, cuda));
        lines.push(place::mig(pid, environment));
        lines.push(place::namespaces(pid));
        lines.extend(unseen(cuda));
        lines
    }
}

fn executable(pid: Pid) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/exe"))
}

fn nobody(pid: Pid, error: &IdentityError) -> Report {
    let fix = match error {
        IdentityError::NoSuchProcess(_) => {
            "look the pid up again; in a container, in the agent's own pid namespace"
        }
        IdentityError::Ended(_) => "look the pid up again; its parent has not taken note of its end",
        IdentityError::Proc { .. } => "run the agent as root, with /proc mounted without hidepid",
    };
    Report { subject: format!("process {pid}"), lines: vec![Line::no("process", error.to_string(), fix)] }
}

fn unreadable(error: &ProcessError, missing: &str) -> Line {
    let fix = match missing {
        "" => {
            "this agent has what it takes here: the process is in another user namespace, or a security module (SELinux, AppArmor) protects it".to_owned()
        }
        missing => format!("run the agent as root, or give it {missing}"),
    };
    Line::no("mappings", error.to_string(), fix)
}

/// What even a perfect attachment does not show.
fn unseen(cuda: &Cuda) -> Option<Line> {
    cuda.driver.as_ref()?;
    Some(Line::degraded(
        "not visible",
        "kernels, copies and allocations from before the attachment: CUPTI tells of devices and contexts that exist, not of the past",
        "start the process with `gpu-agent run` to see it from its first call",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn topics(report: &Report) -> Vec<&str> {
        report.lines.iter().map(|line| line.topic).collect()
    }

    #[test]
    fn a_process_without_cuda_is_told_apart() {
        let report = report(Pid(std::process::id()));
        let line = |topic: &str| report.lines.iter().find(|line| line.topic == topic).unwrap();
        assert_eq!(
            topics(&report),
            [
                "CUDA driver",
                "CUDA runtime",
                "CUDA major",
                "CUPTI",
                "CUPTI's owner",
                "shim",
                "loading",
                "symbols",
                "MIG",
                "namespaces"
            ]
        );
        assert_eq!(line("CUDA driver").verdict, Verdict::No);
        assert_eq!(line("namespaces").reason, "the agent's own");
        let has_way_out = |line: &Line| line.verdict == Verdict::Ok || !line.fix.is_empty();
        assert!(report.lines.iter().all(has_way_out), "{report}");
    }

    #[test]
    fn a_pid_without_a_process_or_with_a_dead_one_has_a_report_that_says_so() {
        assert_eq!(topics(&report(Pid(0x3FFF_FFFF))), ["process"]);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid(child.id());
        while !matches!(Process::look_up(pid), Err(IdentityError::Ended(_))) {
            std::thread::yield_now();
        }
        let zombie = report(pid);
        assert_eq!(topics(&zombie), ["process"]);
        assert!(zombie.to_string().contains("has ended"), "{zombie}");
        child.wait().unwrap();
    }

    #[test]
    fn mappings_that_may_not_be_read_have_a_way_out_for_who_has_every_capability_too() {
        let source = std::io::Error::from_raw_os_error(libc::EACCES);
        let error = ProcessError::Maps { path: "/proc/1/maps".to_owned(), source };
        assert!(unreadable(&error, "").fix.contains("user namespace"));
        assert!(unreadable(&error, "CAP_SYS_PTRACE").fix.contains("CAP_SYS_PTRACE"));
    }
}
