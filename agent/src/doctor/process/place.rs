//! Where the process runs, and what of its files can be probed: symbols, MIG, namespaces.
//!
//! Enters: mapped files, `/proc/PID/fd` and `/proc/PID/ns`. Leaves: lines. Refuses: to open what a descriptor leads to.

use std::fs;
use std::path::Path;

use super::environment::Environment;
use crate::doctor::Line;
use crate::event::Pid;
use crate::inject::cupti::Cuda;
use crate::symbols::process::Mapped;
use crate::symbols::{Cache, Image, Pattern};

/// Namespaces that make a difference to a user who looks, or to the agent.
const NAMESPACES: [&str; 7] = ["mnt", "pid", "net", "user", "ipc", "cgroup", "time"];
/// Most descriptors that are looked at.
const MOST_DESCRIPTORS: usize = 1 << 16;

/// Whether the driver's entry points can be probed.
pub(super) fn symbols(files: &[Mapped], cuda: &Cuda) -> Line {
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
pub(super) fn mig(pid: Pid, environment: &Environment) -> Line {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let has_capability = entries
        .take(MOST_DESCRIPTORS)
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|path| path.starts_with("/dev/nvidia-caps"));
    if has_capability || environment.names_mig() {
        return Line::degraded(
            "MIG",
            "the process uses a MIG instance: its times and sizes are the instance's, counters of the device are the whole device's",
            "nothing must be done",
        );
    }
    Line::ok("MIG", "not in use")
}

pub(super) fn namespaces(pid: Pid) -> Line {
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
