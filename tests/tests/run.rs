//! `gpu-agent run`: from the very first kernel, children included, exit status passed on.
//!
//! Enters: commands. Leaves: nothing. Refuses: a record missed because a process was too short.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::process::Command;

use gpu_agent_tests::process::Running;
use gpu_agent_tests::workload::{Start, report};
use gpu_agent_tests::{Agent, GroundTruth, Observed, Volume, json_log, programs};

const SIMULATOR: &str = "compute=model,clock=virtual,kernel_us=2,quiet=on";

/// The log's counts, over all processes.
fn observed(log: &[serde_json::Value]) -> Observed {
    let pids: std::collections::BTreeSet<u32> =
        log.iter().filter_map(|line| line["pid"].as_u64()?.try_into().ok()).collect();
    let mut sum = Observed::default();
    for one in pids.into_iter().map(|pid| json_log::observed(log, pid)) {
        one.calls.into_iter().for_each(|(name, count)| *sum.calls.entry(name).or_default() += count);
        one.memory.into_iter().for_each(|(name, count)| *sum.memory.entry(name).or_default() += count);
        for (direction, volume) in one.copies {
            let whole: &mut Volume = sum.copies.entry(direction).or_default();
            *whole = Volume { count: whole.count + volume.count, bytes: whole.bytes + volume.bytes };
        }
        sum.memsets.count += one.memsets.count;
        sum.memsets.bytes += one.memsets.bytes;
    }
    sum
}

#[test]
fn everything_from_the_first_call_to_the_last_is_seen() {
    for shape in [&["--threads", "1"][..], &["--threads", "4", "--devices", "2", "--graph"]] {
        let start = Start::new(SIMULATOR).arguments(["--layers", "1", "--tokens", "8"]).arguments(shape);
        let left = Agent::run(&start, None, &[]).finish();
        let truth = GroundTruth::whole(&report(&left.finished));
        assert_eq!(observed(&left.log).differences(&truth, 0), Vec::<String>::new(), "{shape:?}");
    }
}

#[test]
fn processes_that_live_for_milliseconds_are_not_missed() {
    const PROCESSES: u64 = 8;
    let workload = programs::program("gpu-agent-workload");
    let script =
        format!("for i in $(seq {PROCESSES}); do {} --launches 7 || exit 9; done", workload.display());
    let start = Start::new(SIMULATOR).program("sh").arguments(["-c", &script]);
    let left = Agent::run(&start, None, &[]).finish();
    assert!(left.finished.status.success(), "{}", left.finished.stderr);
    let calls: u64 = observed(&left.log).calls.values().sum();
    assert_eq!(calls, PROCESSES * 7);
}

#[test]
fn the_exit_status_is_the_programs_own() {
    let run = |script: &str| {
        let mut command = Command::new(programs::program("gpu-agent"));
        command.args(["run", "--listen", "off", "--", "sh", "-c", script]);
        Running::start(&mut command).finish().status.code()
    };
    assert_eq!(run("exit 0"), Some(0));
    assert_eq!(run("exit 7"), Some(7));
    assert_eq!(run("kill -TERM $$"), Some(128 + 15));
}

#[test]
fn a_program_that_cannot_be_started_is_named() {
    let mut command = Command::new(programs::program("gpu-agent"));
    let finished =
        Running::start(command.args(["run", "--listen", "off", "--", "/nowhere/program"])).finish();
    assert!(!finished.status.success());
    assert!(finished.stderr.contains("/nowhere/program"), "{}", finished.stderr);
}
