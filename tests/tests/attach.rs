//! Programs that were started without us: attached to, measured, let go.
//!
//! Enters: the bundled workload, a C program, a Python program that loads CUDA later, each started bare. Leaves: nothing.
//! Refuses: a count that differs from what the program did while the agent was attached.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod attach {
    pub(crate) mod program;
}

use std::process::Command;

use attach::program::{Program, compiled};
use gpu_agent_tests::agent::Left;
use gpu_agent_tests::workload::Start;
use gpu_agent_tests::{Agent, GroundTruth, json_log, programs};

/// What the simulated device does in these tests: everything at once.
const SIMULATOR: &str = "compute=model,clock=virtual,kernel_us=2,quiet=on";
const ATTACH: [&str; 6] = ["--inject", "auto", "--mode", "kernels", "--flush-period-ms", "10"];

/// Executions of the small programs' one kernel.
fn executions(left: &Left, pid: u32) -> u64 {
    json_log::observed(&left.log, pid).calls.get("attached_late").copied().unwrap_or(0)
}

#[test]
fn a_workload_that_runs_already_is_measured_exactly() {
    for shape in [["--threads", "1"].as_slice(), &["--threads", "4", "--devices", "2"], &["--graph"]] {
        let arguments = ["--layers", "1", "--batch", "1", "--prompt", "4", "--tokens", "8"];
        let start = Start::new(SIMULATOR).bare().arguments(arguments).arguments(shape.iter().copied());
        let mut workload = start.ready();
        let pid = workload.pid();
        let mut agent = Agent::attach(&[pid], None, &ATTACH);
        agent.until_targets_are(1, "armed");
        workload.go();
        let truth = GroundTruth::after_ready(&workload.finish());
        let left = agent.finish();
        assert!(left.finished.status.success(), "{}", left.finished.stderr);
        let differences = json_log::observed(&left.log, pid).differences(&truth, 0);
        assert!(differences.is_empty(), "{shape:?}: {differences:#?}\n{}", left.finished.stderr);
    }
}

#[test]
fn a_c_program_is_measured_while_attached_and_runs_on_afterwards() {
    let mut program = Program::start(&mut compiled(SIMULATOR));
    let pid = program.pid();
    program.order("launch 100", "launched 100");
    let mut agent = Agent::attach(&[pid], None, &ATTACH);
    agent.until_targets_are(1, "armed");
    program.order("launch 1000", "launched 1000");
    let first = agent.terminate();
    assert_eq!(executions(&first, pid), 1000, "{}", first.finished.stderr);
    assert!(first.finished.stderr.contains("loaded the shim"), "{}", first.finished.stderr);
    program.order("launch 100", "launched 100");
    // Once more: the shim is there, and nothing is loaded again.
    let mut agent = Agent::attach(&[pid], None, &ATTACH);
    agent.until_targets_are(1, "armed");
    program.order("launch 10", "launched 10");
    let second = agent.terminate();
    assert_eq!(executions(&second, pid), 10, "{}", second.finished.stderr);
    assert!(!second.finished.stderr.contains("loaded the shim"), "{}", second.finished.stderr);
    program.order("launch 100", "launched 100");
    program.end();
}

#[test]
fn a_python_program_that_loads_cuda_later_is_waited_for() {
    let Some(python) = programs::python() else { return };
    let script = programs::repository().join("tests/tests/attach/later.py");
    let mut command = Start::new(SIMULATOR).command(&python);
    let mut program = Program::start(command.arg(script));
    let pid = program.pid();
    let mut agent = Agent::attach(&[pid], None, &[ATTACH.as_slice(), &["--wait", "60s"]].concat());
    agent.process().until("that it waits", |agent| agent.stderr().contains("not yet").then_some(()));
    program.order("load", "loaded");
    agent.until_targets_are(1, "armed");
    program.order("launch 321", "launched 321");
    let left = agent.terminate();
    assert_eq!(executions(&left, pid), 321, "{}", left.finished.stderr);
    program.end();
}

#[test]
fn all_processes_are_followed_those_that_run_and_those_that_come() {
    let mut first = Program::start(&mut compiled(SIMULATOR));
    // Other tests have CUDA processes of their own.
    let mut agent = Agent::attach(&[], None, &[ATTACH.as_slice(), &["--all"]].concat());
    let attached = |pid: u32| {
        move |agent: &gpu_agent_tests::process::Running| {
            agent.stderr().contains(&format!("target pid={pid} state=armed")).then_some(())
        }
    };
    agent.process().until("the first is armed", attached(first.pid()));
    let mut second = Program::start(&mut compiled(SIMULATOR));
    agent.process().until("the second is armed", attached(second.pid()));
    first.order("launch 20", "launched 20");
    second.order("launch 30", "launched 30");
    let left = agent.terminate();
    assert_eq!((executions(&left, first.pid()), executions(&left, second.pid())), (20, 30));
    first.end();
    second.end();
}

#[test]
fn a_process_is_let_go_by_one_command_and_lent_by_another() {
    let mut program = Program::start(&mut compiled(SIMULATOR));
    let pid = program.pid().to_string();
    let mut agent = Agent::attach(&[program.pid()], None, &ATTACH);
    agent.until_targets_are(1, "armed");
    let command = |arguments: &[&str]| {
        let done = Command::new(programs::program("gpu-agent")).args(arguments).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    command(&["yield", "--pid", &pid, "--duration", "300ms"]);
    agent.until_targets_are(1, "armed");
    command(&["detach", "--pid", &pid]);
    agent.until_targets_are(1, "detached");
    program.order("launch 50", "launched 50");
    let left = agent.terminate();
    assert_eq!(executions(&left, program.pid()), 0);
    let mut agent = Agent::attach(&[program.pid()], None, &ATTACH);
    agent.until_targets_are(1, "armed");
    program.order("launch 60", "launched 60");
    assert_eq!(executions(&agent.terminate(), program.pid()), 60);
    program.end();
}

#[test]
fn a_process_is_left_alone_where_the_user_says_so() {
    let program = Program::start(&mut compiled(SIMULATOR));
    // Where there are probes they may tell of it all the same.
    let agent = Agent::attach(&[program.pid()], None, &["--inject", "never", "--duration", "500ms"]).finish();
    assert!(agent.finished.stderr.contains("--inject auto"), "{}", agent.finished.stderr);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", program.pid())).unwrap();
    assert!(!maps.contains("gpu_agent"), "{maps}");
    program.end();
}
