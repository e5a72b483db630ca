//! `attach --pid` of several processes, of which some cannot be had, and signals in the middle of it.
//!
//! Enters: small programs on the simulated device, each started bare. Leaves: nothing. Refuses: to have one process keep the
//! others from being measured.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use gpu_agent_tests::bare::{Bare, KERNEL, Program};
use gpu_agent_tests::process::Running;
use gpu_agent_tests::{Agent, json_log};
use rustix::process::Signal;

/// What the simulated device does in these tests: everything at once.
const SIMULATOR: &str = "compute=model,clock=virtual,kernel_us=2,quiet=on";
/// Above every pid that Linux gives out.
const NOBODY: u32 = 0x3FFF_FFFF;

fn program() -> Program {
    Program::start(&mut Bare::c().command(SIMULATOR))
}

/// Waits until the first try has begun, which then comes to its end whatever signal there is.
fn until_begun(agent: &mut Agent) {
    let begun = |agent: &Running| agent.stderr().contains("looking at the process").then_some(());
    agent.process().until("that it looks at the process", begun);
}

#[test]
fn one_that_is_not_there_does_not_keep_the_others_from_being_measured() {
    let mut first = program();
    let mut second = program();
    let pids = [first.pid(), NOBODY, second.pid(), first.pid()];
    let mut agent = Agent::attach(&pids, None, &["--mode", "kernels", "--flush-period-ms", "10"]);
    agent.until_targets_are(2, "armed");
    let said = format!("pid={NOBODY} error=there is no process");
    agent.process().until("who is missing", |agent| agent.stderr().contains(&said).then_some(()));
    first.launch(20);
    second.launch(30);
    let left = agent.terminate();
    let count = |pid| json_log::observed(&left.log, pid).calls.get(KERNEL).copied().unwrap_or(0);
    assert_eq!((count(first.pid()), count(second.pid())), (20, 30));
    assert_eq!(left.finished.status.code(), Some(1), "{}", left.finished.stderr);
    first.end();
    second.end();
}

#[test]
fn where_none_can_be_had_each_has_its_reason_and_the_status_is_2() {
    let ended = program();
    let pid = ended.pid();
    ended.end();
    let left = Agent::attach(&[pid, NOBODY], None, &[]).finish();
    let said = &left.finished.stderr;
    assert_eq!(left.finished.status.code(), Some(2), "{said}");
    assert!([pid, NOBODY].iter().all(|pid| said.contains(&format!(" pid={pid} error="))), "{said}");
    assert!(said.contains("none of the 2 processes"), "{said}");
}

#[test]
fn a_signal_lets_a_loading_under_way_end_and_a_second_one_does_not() {
    let stuck = Program::start(&mut Bare::locked().command(SIMULATOR));
    // Longer than a test has patience.
    let mut agent = Agent::attach(&[stuck.pid()], None, &["--inject-timeout", "10m"]);
    until_begun(&mut agent);
    agent.process().signal(Signal::INT);
    agent.process().until("that it stops", |agent| agent.stderr().contains("stopping").then_some(()));
    // Far more than its end takes where nothing is under way.
    std::thread::sleep(Duration::from_secs(2));
    assert!(!agent.process().has_ended(), "it waits for the loading");
    agent.process().signal(Signal::INT);
    let left = agent.finish();
    assert!(left.finished.stderr.contains("by halves"), "{}", left.finished.stderr);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", stuck.pid())).unwrap();
    assert!(!maps.contains("gpu_agent"), "{maps}");
}

#[test]
fn a_signal_during_a_loading_that_succeeds_leaves_a_program_that_runs_on() {
    for delay_ms in [0, 5, 15, 40] {
        let mut program = program();
        let mut agent = Agent::attach(&[program.pid()], None, &[]);
        until_begun(&mut agent);
        std::thread::sleep(Duration::from_millis(delay_ms));
        agent.process().signal(Signal::INT);
        let left = agent.finish();
        assert_eq!(left.finished.status.code(), Some(0), "{}", left.finished.stderr);
        program.launch(10);
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", program.pid())).unwrap().flatten();
        let links = descriptors.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        let left_behind: Vec<_> =
            links.filter(|link| link.to_string_lossy().contains("libgpu_agent_cupti")).collect();
        assert_eq!(left_behind, Vec::<std::path::PathBuf>::new());
        program.end();
    }
}
