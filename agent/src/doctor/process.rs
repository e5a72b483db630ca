//! One process: what CUDA it has, whether the shim is or can be in it, and what will not be visible.
//!
//! Enters: a pid. Leaves: lines. Refuses: to stop it, to open its devices, to read its arguments; of its environment only
//! three variables are looked at.

use std::fs;
use std::path::Path;

use super::{Line, Report};
use crate::event::Pid;
use crate::identity::{IdentityError, Process};
use crate::inject;
use crate::inject::arch::Native;
use crate::inject::checks::{self, Checked};
use crate::inject::cupti::{Candidate, Cuda};
use crate::inject::door::Linux;
use crate::inject::runtime::Runtime;
use crate::source::cupti;
use crate::symbols::process::{Mapped, mapped};
use crate::symbols::{Cache, Image, Pattern};

/// The variables that say something about CUPTI in a process.
const VARIABLES: [&str; 3] = ["CUDA_INJECTION64_PATH", "NVTX_INJECTION64_PATH", "GPU_AGENT_SHIM"];
/// Longest environment that is looked through.
const MAX_ENVIRONMENT_BYTES: usize = 4 << 20;
/// Namespaces that make a difference to a user who looks, or to the agent.
const NAMESPACES: [&str; 7] = ["mnt", "pid", "net", "user", "ipc", "cgroup", "time"];

/// All about `pid`.
///
/// # Errors
/// There is no such process, or it cannot be looked at at all.
pub fn report(pid: Pid) -> Result<Report, IdentityError> {
    let process = Process::look_up(pid)?;
    let subject = format!(
        "process {pid} ({}, user {}{})",
        process.executable,
        process.uid,
        process.container.as_deref().map(|id| format!(", container {id}")).unwrap_or_default()
    );
    let files = match mapped(pid) {
        Ok(files) => files,
        Err(error) => {
            let line =
                Line::no("mappings", error.to_string(), "run the agent as root, or give it CAP_SYS_PTRACE");
            return Ok(Report { subject, lines: vec![line] });
        }
    };
    let cuda = Cuda::of(&files);
    let environment = environment(pid);
    let mut lines = vec![driver(&cuda), runtime(&cuda)];
    lines.push(cupti(pid, &cuda));
    lines.push(owner(&cuda, &environment));
    lines.push(shim(&process, &cuda));
    lines.push(loading(&process, &files, &cuda));
    lines.push(symbols(&files, &cuda));
    lines.push(mig(pid));
    lines.push(namespaces(pid));
    lines.extend(invisible(&cuda));
    Ok(Report { subject, lines })
}

fn driver(cuda: &Cuda) -> Line {
    match (&cuda.driver, cuda.driver_version()) {
        (Some(_), Some(version)) => Line::ok("CUDA driver", format!("libcuda {version}")),
        (Some(path), None) => Line::ok("CUDA driver", path.display().to_string()),
        (None, _) => Line::no(
            "CUDA driver",
            "libcuda.so is not mapped: the process has not used CUDA so far",
            "name the process that does the GPU work, not its launcher; or attach with --wait",
        ),
    }
}

fn runtime(cuda: &Cuda) -> Line {
    match (cuda.runtimes.as_slice(), cuda.major()) {
        ([path, ..], Some(major)) => {
            Line::ok("CUDA runtime", format!("CUDA {major}, dynamic: {}", path.display()))
        }
        ([path, ..], None) => Line::ok("CUDA runtime", format!("dynamic: {}", path.display())),
        ([], _) => Line::ok("CUDA runtime", "linked statically, or the program uses the driver's API alone"),
    }
}

/// Which libcupti the shim would use.
fn cupti(pid: Pid, cuda: &Cuda) -> Line {
    let candidates = cuda.candidates(pid);
    let Some(Candidate { path, place, is_before_12_6 }) = candidates.first() else {
        return Line::no(
            "CUPTI",
            "no libcupti is loaded, beside its CUDA libraries, in its Python environment, or in a toolkit",
            "install the CUPTI that belongs to its CUDA (pip install nvidia-cuda-cupti-cu12), or name one in GPU_AGENT_CUPTI when it starts",
        );
    };
    let mut reason = format!("{} ({place})", path.display());
    if candidates.len() > 1 {
        reason.push_str(&format!("; {} copies in all", candidates.len()));
    }
    if *is_before_12_6 == Some(true) {
        return Line::degraded(
            "CUPTI",
            format!(
                "{reason}: older than 12.6, where CUDA graphs that exist already may crash the process once CUPTI is on"
            ),
            "start it with `gpu-agent run`, update its CUDA, or, if it has no CUDA graphs, attach with --inject force",
        );
    }
    Line::ok("CUPTI", reason)
}

fn owner(cuda: &Cuda, environment: &[(&'static str, String)]) -> Line {
    let injected =
        environment.iter().find(|(name, path)| name.ends_with("_PATH") && !path.contains("gpu_agent"));
    match (cuda.owners.as_slice(), injected) {
        ([], None) => Line::ok("CUPTI's owner", "no other profiler is mapped"),
        ([owner, ..], _) => Line::no(
            "CUPTI's owner",
            format!("{owner} is in the process, and CUPTI has one owner"),
            "wait until it has ended, or run the process without it",
        ),
        ([], Some((name, path))) => Line::degraded(
            "CUPTI's owner",
            format!("{name} is {path}: that library may own CUPTI"),
            "start the process without that variable",
        ),
    }
}

fn shim(process: &Process, cuda: &Cuda) -> Line {
    match cupti::find(process.pid) {
        Ok(opened) => {
            let state = opened.control.report().state;
            Line::ok(
                "shim",
                format!(
                    "loaded, {}",
                    state.map_or_else(
                        || "in no known state".to_owned(),
                        |state| format!("{state:?}").to_lowercase()
                    )
                ),
            )
        }
        Err(_) if cuda.has_shim => Line::degraded(
            "shim",
            "loaded, but without a ring: CUDA is not initialised yet, or shared memory could not be had",
            "attach with --wait",
        ),
        Err(_) => Line::ok("shim", "not loaded"),
    }
}

fn loading(process: &Process, files: &[Mapped], cuda: &Cuda) -> Line {
    if cuda.has_shim {
        return Line::ok("loading", "not needed");
    }
    let outcome = checks::check(process)
        .and_then(|checked| Runtime::find::<Linux, Native>(&Linux, process.pid, files).map(|_| checked));
    match outcome {
        Ok(Checked { has_seccomp: false, .. }) => Line::ok("loading", "the shim can be loaded while it runs"),
        Ok(_) => Line::degraded(
            "loading",
            "a seccomp filter is in force; whether it lets the shim in is read when it is loaded (CAP_SYS_ADMIN)",
            "nothing must be done; if it is refused then, allow in the filter what the refusal names",
        ),
        Err(inject::Error::Refused { refusal, .. }) => {
            let text = refusal.to_string();
            let (reason, fix) = text.split_once("; ").unwrap_or((&text, "start it with `gpu-agent run`"));
            Line::no("loading", reason, fix)
        }
        Err(error) => Line::no("loading", error.to_string(), "start it with `gpu-agent run`"),
    }
}

/// Whether the driver's entry points can be probed.
fn symbols(files: &[Mapped], cuda: &Cuda) -> Line {
    let Some(driver) = &cuda.driver else { return Line::ok("symbols", "none to look for without a driver") };
    let file = files.iter().find(|file| Path::new(&*file.shown) == driver);
    let found = file.and_then(|file| {
        let image = Image::open(&file.path, file.shown.clone()).ok()?;
        let answers =
            image.lookup(&Cache::disabled(), &[Pattern::Exact("cuLaunchKernel".to_owned())]).ok()?;
        answers.into_iter().next()?.ok().filter(|symbols| !symbols.is_empty())
    });
    match found {
        Some(_) => {
            Line::ok("symbols", "cuLaunchKernel is found; `gpu-agent probes check` tells of the engine's")
        }
        None => Line::degraded(
            "symbols",
            format!("cuLaunchKernel is not found in {}", driver.display()),
            "run the agent as root, so that it can open the very file that is mapped",
        ),
    }
}

/// A process that uses a MIG instance holds that instance's capability open.
fn mig(pid: Pid) -> Line {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let uses = entries
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|path| path.starts_with("/dev/nvidia-caps"));
    if uses {
        return Line::degraded(
            "MIG",
            "the process uses a MIG instance: its times and sizes are the instance's, counters of the device are the whole device's",
            "nothing must be done",
        );
    }
    Line::ok("MIG", "not in use")
}

fn namespaces(pid: Pid) -> Line {
    let link = |pid: &str, name: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).ok();
    let differs = |name: &&&str| {
        let theirs = link(&pid.to_string(), name);
        theirs.is_some() && theirs != link("self", name)
    };
    let other: Vec<&str> = NAMESPACES.iter().filter(differs).copied().collect();
    if other.contains(&"time") {
        return Line::no(
            "namespaces",
            "it is in another time namespace, whose CLOCK_MONOTONIC is not the agent's",
            "run the agent in the same time namespace",
        );
    }
    match other.as_slice() {
        [] => Line::ok("namespaces", "the agent's own"),
        other => {
            Line::ok("namespaces", format!("of its own: {}; that makes no difference", other.join(", ")))
        }
    }
}

/// What even a perfect attachment does not show.
fn invisible(cuda: &Cuda) -> Vec<Line> {
    if cuda.driver.is_none() {
        return Vec::new();
    }
    vec![
        Line::degraded(
            "not visible",
            "kernels, copies and allocations from before the attachment: CUPTI tells of devices and contexts that exist, not of the past",
            "start the process with `gpu-agent run` to see it from its first call",
        ),
        Line::degraded(
            "not visible",
            "operations that launched CUDA graphs captured before the attachment: their kernels are classified by name",
            "attach before the engine warms up, or start it with `gpu-agent run`",
        ),
    ]
}

fn environment(pid: Pid) -> Vec<(&'static str, String)> {
    let mut bytes = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    bytes.truncate(MAX_ENVIRONMENT_BYTES);
    bytes.split(|&byte| byte == 0).filter_map(|variable| wanted(&String::from_utf8_lossy(variable))).collect()
}

fn wanted(variable: &str) -> Option<(&'static str, String)> {
    let (name, value) = variable.split_once('=')?;
    let name = VARIABLES.iter().find(|wanted| **wanted == name)?;
    Some((name, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_process_without_cuda_is_told_apart() {
        let report = report(Pid(std::process::id())).unwrap();
        let line = |topic: &str| report.lines.iter().find(|line| line.topic == topic).unwrap();
        assert_eq!(line("CUDA driver").verdict, Verdict::No);
        assert_eq!(line("namespaces").reason, "the agent's own");
        assert!(report.lines.iter().all(|line| line.topic != "not visible"), "nothing can be missed");
        assert!(
            report.lines.iter().all(|line| line.verdict == Verdict::Ok || !line.fix.is_empty()),
            "{report}"
        );
    }

    #[test]
    fn other_variables_of_an_environment_are_not_taken() {
        assert_eq!(wanted("AWS_SECRET_ACCESS_KEY=x"), None);
        assert_eq!(wanted("CUDA_INJECTION64_PATH=/x"), Some(("CUDA_INJECTION64_PATH", "/x".to_owned())));
    }

    #[test]
    fn another_owner_of_cupti_is_named() {
        let nsys = Cuda { owners: vec!["Nsight Systems"], ..Cuda::default() };
        assert_eq!(owner(&nsys, &[]).verdict, Verdict::No);
        let injected = [("CUDA_INJECTION64_PATH", "/opt/other.so".to_owned())];
        assert_eq!(owner(&Cuda::default(), &injected).verdict, Verdict::Degraded);
        let ours = [("CUDA_INJECTION64_PATH", "/x/libgpu_agent_cupti.so".to_owned())];
        assert_eq!(owner(&Cuda::default(), &ours).verdict, Verdict::Ok);
    }
}
