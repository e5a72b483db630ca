//! Programs that were started without us: attached to, measured, let go.
//!
//! Enters: the bundled workload, a C program, one of cudarc's examples, a Python program that loads CUDA later, each started
//! bare. Leaves: nothing.
//! Refuses: a count that differs from what the program did while the agent was attached.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::process::Command;

use gpu_agent_tests::agent::Left;
use gpu_agent_tests::bare::{Bare, KERNEL, Program};
use gpu_agent_tests::process::Running;
use gpu_agent_tests::{Agent, GroundTruth, cudarc, json_log, programs};
use rustix::process::Signal;

/// What the simulated device does in these tests: everything at once.
const SIMULATOR: &str = "compute=model,clock=virtual,kernel_us=2,quiet=on";
const ATTACH: [&str; 6] = ["--inject", "auto", "--mode", "kernels", "--flush-period-ms", "10"];

/// Executions of the small programs' one kernel.
fn executions(left: &Left, pid: u32) -> u64 {
    json_log::observed(&left.log, pid).calls.get(KERNEL).copied().unwrap_or(0)
}

#[test]
fn a_workload_that_runs_already_is_measured_exactly() {
    for shape in [["--threads", "1"].as_slice(), &["--threads", "4", "--devices", "2"], &["--graph"]] {
        let arguments = ["--layers", "1", "--batch", "1", "--prompt", "4", "--tokens", "8"];
        let workload = Program::start(&mut Bare::workload(&[&arguments, shape].concat()).command(SIMULATOR));
        let pid = workload.pid();
        let mut agent = Agent::attach(&[pid], None, &ATTACH);
        agent.until_targets_are(1, "armed");
        let truth = GroundTruth::after_ready(&workload.work());
        let left = agent.finish();
        assert!(left.finished.status.success(), "{}", left.finished.stderr);
        let differences = json_log::observed(&left.log, pid).differences(&truth, 0);
        assert!(differences.is_empty(), "{shape:?}: {differences:#?}\n{}", left.finished.stderr);
    }
}

#[test]
fn a_c_program_is_measured_while_attached_and_runs_on_afterwards() {
    let mut program = Program::start(&mut Bare::c().command(SIMULATOR));
    let pid = program.pid();
    program.launch(100);
    let mut agent = Agent::attach(&[pid], None, &ATTACH);
    agent.until_targets_are(1, "armed");
    program.launch(1000);
    let first = agent.terminate();
    assert_eq!(executions(&first, pid), 1000, "{}", first.finished.stderr);
    assert!(first.finished.stderr.contains("loaded the shim"), "{}", first.finished.stderr);
    program.launch(100);
    // Once more: the shim is there, and nothing is loaded again.
    let mut agent = Agent::attach(&[pid], None, &ATTACH);
    agent.until_targets_are(1, "armed");
    program.launch(10);
    let second = agent.terminate();
    assert_eq!(executions(&second, pid), 10, "{}", second.finished.stderr);
    assert!(!second.finished.stderr.contains("loaded the shim"), "{}", second.finished.stderr);
    program.launch(100);
    program.end();
}

#[test]
fn one_of_cudarcs_examples_is_measured_while_attached_and_runs_on_afterwards() {
    let Some(cudarc) = Bare::cudarc() else { return };
    let mut program = Program::start(&mut cudarc.command(SIMULATOR));
    let mut agent = Agent::attach(&[program.pid()], None, &ATTACH);
    agent.until_targets_are(1, "armed");
    program.launch(50);
    let left = agent.terminate();
    let differences = json_log::observed(&left.log, program.pid()).differences(&cudarc::truth(50), 0);
    assert!(differences.is_empty(), "{differences:#?}\n{}", left.finished.stderr);
    program.launch(1);
    program.end();
}

/// A folder with these libraries of the simulated device, each at its place in there.
fn libraries(paths: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for path in paths {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(programs::simulator().join(path.file_name().unwrap()), path).unwrap();
    }
    folder
}

#[test]
fn a_process_without_a_libcupti_gets_the_agents_own() {
    let cuda = libraries(&["libcuda.so.1", "libcudart.so.12"]);
    let mut command = Bare::c().command(&format!("{SIMULATOR},driver=12060,cupti_version=24"));
    // The runtime tells which CUDA it is.
    command.env("LD_LIBRARY_PATH", cuda.path()).env("LD_PRELOAD", cuda.path().join("libcudart.so.12"));
    let program = Program::start(&mut command);
    let pid = program.pid();
    let without = Agent::attach(&[pid], None, &[ATTACH.as_slice(), &["--duration", "2s"]].concat()).finish();
    assert!(without.finished.stderr.contains("state=no_cupti"), "{}", without.finished.stderr);
    program.end();

    let attach = |pid: u32, carried: &tempfile::TempDir| {
        let folder = carried.path().to_str().unwrap();
        Agent::attach(&[pid], None, &[ATTACH.as_slice(), &["--cupti-dir", folder]].concat())
    };
    let mut program = Program::start(&mut command);
    let old = libraries(&["cuda-12.4/extras/CUPTI/lib64/libcupti.so.12"]);
    let refused = attach(program.pid(), &old).finish();
    assert!(refused.finished.stderr.contains("is older than 12.6"), "{}", refused.finished.stderr);
    let new = libraries(&["cuda-12.6/extras/CUPTI/lib64/libcupti.so.12"]);
    let mut agent = attach(program.pid(), &new);
    agent.until_targets_are(1, "armed");
    program.launch(123);
    let left = agent.terminate();
    assert_eq!(executions(&left, program.pid()), 123, "{}", left.finished.stderr);
    assert!(left.finished.stderr.contains("gets this one"), "{}", left.finished.stderr);
    program.launch(10);
    program.end();
}

#[test]
fn a_python_program_that_loads_cuda_later_is_waited_for() {
    let Some(python) = Bare::python() else { return };
    let mut program = Program::start(&mut python.command(SIMULATOR));
    let pid = program.pid();
    let mut agent = Agent::attach(&[pid], None, &[ATTACH.as_slice(), &["--wait", "60s"]].concat());
    agent.process().until("that it waits", |agent| agent.stderr().contains("not yet").then_some(()));
    program.order("load", "loaded");
    agent.until_targets_are(1, "armed");
    program.launch(321);
    let left = agent.terminate();
    assert_eq!(executions(&left, pid), 321, "{}", left.finished.stderr);
    program.end();
}

/// `gpu-agent yield` of a process, once the agent that is attached to it sees that CUPTI was lent.
fn lent(agent: &mut Agent, pid: u32) -> Running {
    let mut command = Command::new(programs::program("gpu-agent"));
    let lending = Running::start(command.args(["yield", "--pid", &pid.to_string()]));
    agent.until_targets_are(1, "yielded");
    lending
}

/// Ends it as Ctrl-C does.
fn take_back(lending: Running) {
    lending.signal(Signal::INT);
    let done = lending.finish();
    assert!(done.status.success(), "{}", done.stderr);
}

#[test]
fn a_process_is_let_go_by_one_command_and_lent_by_another() {
    let mut program = Program::start(&mut Bare::c().command(SIMULATOR));
    let pid = program.pid();
    let mut agent = Agent::attach(&[pid], None, &ATTACH);
    agent.until_targets_are(1, "armed");
    let lending = lent(&mut agent, pid);
    program.launch(40);
    take_back(lending);
    agent.until_targets_are(1, "armed");
    program.launch(30);

    // What lets it go for good stands, whatever becomes of what lent it.
    let lending = lent(&mut agent, pid);
    let mut detach = Command::new(programs::program("gpu-agent"));
    let done = detach.args(["detach", "--pid", &pid.to_string()]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    agent.until_targets_are(1, "detached");
    take_back(lending);
    program.launch(50);
    let left = agent.terminate();
    assert_eq!(executions(&left, pid), 30, "{}", left.finished.stderr);

    let mut agent = Agent::attach(&[pid], None, &ATTACH);
    agent.until_targets_are(1, "armed");
    program.launch(60);
    assert_eq!(executions(&agent.terminate(), pid), 60);
    program.end();
}

#[test]
fn a_process_is_left_alone_where_the_user_says_so() {
    let program = Program::start(&mut Bare::c().command(SIMULATOR));
    // Where there are probes they may tell of it all the same.
    let agent = Agent::attach(&[program.pid()], None, &["--inject", "never", "--duration", "500ms"]).finish();
    assert!(agent.finished.stderr.contains("--inject auto"), "{}", agent.finished.stderr);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", program.pid())).unwrap();
    assert!(!maps.contains("gpu_agent"), "{maps}");
    program.end();
}
