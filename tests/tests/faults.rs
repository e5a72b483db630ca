//! What goes wrong around a real target with the real shim in it.
//!
//! Enters: the workload on the simulated device, agents, signals. Leaves: nothing. Refuses: a crash, a silence, a target
//! that pays for an agent's end.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use gpu_agent_ring::control::ShimState;
use gpu_agent_ring::{AgentControl, Reader};
use gpu_agent_tests::process::{PATIENCE, Running};
use gpu_agent_tests::workload::Start;
use gpu_agent_tests::{Agent, json_log, programs, prometheus};

const SIMULATOR: &str = "compute=off,clock=virtual,kernel_us=2,quiet=on";

/// A workload that works for a minute unless it is ended.
fn endless() -> Start {
    Start::new(SIMULATOR).arguments(["--seconds", "60", "--rate", "5000", "--layers", "1"])
}

fn attach(arguments: &[&str]) -> Command {
    let mut command = Command::new(programs::program("gpu-agent"));
    command.args(["attach", "--listen", "off", "--probe-engines", "none", "--pid"]).args(arguments);
    command
}

/// What an agent that cannot attach says; it must end by itself, and not well.
fn refusal(command: &mut Command) -> String {
    let finished = Running::start(command).finish();
    assert_eq!(finished.status.code(), Some(2), "{}", finished.stderr);
    finished.stderr
}

/// The shim's control page in a process, looked at without taking the lease.
fn control_page(pid: u32) -> AgentControl {
    let memfd = |name: &str| {
        let folder = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let is_it = |path: &std::path::PathBuf| {
            std::fs::read_link(path).is_ok_and(|target| target.to_string_lossy().contains(name))
        };
        let path = folder.map(|entry| entry.unwrap().path()).find(is_it).unwrap();
        File::options().read(true).write(name.contains("control")).open(path).unwrap()
    };
    let ring = Reader::open(memfd("gpu-agent-ring")).unwrap();
    AgentControl::open(memfd("gpu-agent-control"), ring.writer().ring_id, std::process::id()).unwrap()
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "it never came to: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_pid_that_is_not_there_is_named() {
    let mut gone = Command::new("true").spawn().unwrap();
    let pid = gone.id().to_string();
    gone.wait().unwrap();
    let said = refusal(&mut attach(&[&pid]));
    assert!(said.contains(&pid), "{said}");
}

#[test]
fn a_process_without_cuda_is_told_apart_from_one_without_the_shim() {
    let plain = Running::start(Command::new("sleep").arg("60"));
    let said = refusal(&mut attach(&[&plain.pid().to_string()]));
    assert!(said.contains("has not loaded CUDA"), "{said}");

    let bare = endless().bare().ready();
    let said = refusal(&mut attach(&[&bare.pid().to_string(), "--inject", "never"]));
    assert!(said.contains("does not have the gpu-agent shim") && said.contains("gpu-agent run"), "{said}");
}

#[test]
fn a_process_of_another_user_is_refused_with_what_to_do() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can start an agent as another user");
        return;
    }
    let workload = endless().ready();
    // A copy that nobody may read, in a folder that everybody may enter.
    let folder =
        tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).tempdir();
    let agent = folder.as_ref().unwrap().path().join("gpu-agent");
    std::fs::copy(programs::program("gpu-agent"), &agent).unwrap();
    let mut command = Command::new(agent);
    command.args(["attach", "--listen", "off", "--pid", &workload.pid().to_string()]);
    let said = refusal(command.uid(65_534).gid(65_534));
    assert!(said.contains("belongs to user 0") && said.contains("CAP_SYS_PTRACE"), "{said}");
}

#[test]
fn a_second_agent_is_told_who_holds_the_lease() {
    let mut workload = endless().ready();
    let mut first = Agent::attach(&[workload.pid()], None, &[]);
    first.until_targets_are(1, "armed");
    workload.go();
    let said = refusal(&mut attach(&[&workload.pid().to_string()]));
    let holder = format!("another agent (pid {}", first.process().pid());
    assert!(said.contains(&holder), "{said}");
    assert!(first.terminate().finished.status.success());
    // Free again at once.
    let mut second = Agent::attach(&[workload.pid()], None, &[]);
    second.until_targets_are(1, "armed");
    assert!(second.terminate().finished.status.success());
}

#[test]
fn a_target_goes_dormant_by_itself_when_its_agent_is_killed_and_the_next_agent_takes_over() {
    let mut workload = endless().ready();
    let control = control_page(workload.pid());
    let mut agent = Agent::attach(&[workload.pid()], None, &["--lease-ms", "2000"]);
    agent.until_targets_are(1, "armed");
    workload.go();
    agent.process().signal(rustix::process::Signal::KILL);
    let killed = Instant::now();
    let state = || control.report().state;
    assert_eq!(state(), Some(ShimState::Armed));
    until("dormant", || state() == Some(ShimState::Dormant));
    assert!(killed.elapsed() < Duration::from_secs(4), "dormant only after {:?}", killed.elapsed());
    assert_eq!(control.report().kinds, 0);
    assert!(!workload.process().has_ended());

    let mut next = Agent::attach(&[workload.pid()], None, &[]);
    next.until_targets_are(1, "armed");
    next.scrape_until("kernels", |samples| {
        samples
            .iter()
            .find(|sample| sample.name == "gpu_kernel_executions_total" && sample.value > 0.0)
            .map(drop)
    });
    assert!(next.terminate().finished.status.success());
}

#[test]
fn the_last_records_of_a_killed_target_are_read_and_accounted_for() {
    let mut workload = endless().ready();
    let pid = workload.pid();
    let mut agent = Agent::attach(&[pid], None, &["--flush-period-ms", "5"]);
    agent.until_targets_are(1, "armed");
    workload.go();
    agent.scrape_until("a thousand kernels", |samples| {
        (prometheus::observed(samples, pid).calls.values().sum::<u64>() > 1_000).then_some(())
    });
    workload.process().signal(rustix::process::Signal::KILL);
    let left = agent.finish();
    assert!(left.finished.status.success(), "{}", left.finished.stderr);
    let seen: u64 = json_log::observed(&left.log, pid).calls.values().sum();
    assert!(seen > 1_000);
}

#[test]
fn a_log_that_cannot_be_written_costs_its_lines_and_nothing_else() {
    let mut workload = endless().ready();
    let pid = workload.pid();
    let mut agent = Agent::attach(&[pid], None, &["--json-log", "/dev/full", "--flush-period-ms", "5"]);
    agent.until_targets_are(1, "armed");
    workload.go();
    agent.scrape_until("lines that failed", |samples| {
        let failed = |sample: &prometheus::Sample| {
            sample.name == "gpu_agent_exports_total"
                && sample.labels.get("outcome").is_some_and(|outcome| outcome == "failed")
                && sample.value > 0.0
        };
        samples.iter().any(failed).then_some(())
    });
    assert!(!workload.process().has_ended());
    assert!(agent.terminate().finished.status.success());
}

#[test]
fn a_target_in_other_namespaces_is_read_like_any_other() {
    let mut probe = Command::new("unshare");
    if !probe
        .args(["--user", "--map-root-user", "--pid", "--mount", "--fork", "true"])
        .status()
        .is_ok_and(|s| s.success())
    {
        println!("skipped: this user may not make namespaces");
        return;
    }
    let start = endless();
    let mut command = start.command("unshare".as_ref());
    command.args(["--user", "--map-root-user", "--pid", "--mount-proc", "--net", "--fork", "--kill-child"]);
    command.env("LD_PRELOAD", programs::program("libgpu_agent_cupti.so"));
    let mut outside = Running::start(command.args(start.line()));
    // The workload is the child of unshare.
    let children = format!("/proc/{0}/task/{0}/children", outside.pid());
    let pid: u32 = outside.until("a child", |_| std::fs::read_to_string(&children).ok()?.trim().parse().ok());
    let mut agent = Agent::attach(&[pid], None, &["--wait", "20s"]);
    agent.until_targets_are(1, "armed");
    agent.scrape_until("kernels of the pid as this namespace sees it", |samples| {
        (prometheus::observed(samples, pid).calls.values().sum::<u64>() > 100).then_some(())
    });
    assert!(agent.terminate().finished.status.success());
}
