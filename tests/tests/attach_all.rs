//! `attach --all`: processes that run and processes that come, while some of them cannot be had.
//!
//! Enters: small programs on the simulated device, each started bare. Leaves: nothing. Refuses: to follow processes of other
//! tests; each runs in a pid namespace of its own.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use gpu_agent_tests::agent::Left;
use gpu_agent_tests::bare::{Bare, KERNEL, Program};
use gpu_agent_tests::process::Running;
use gpu_agent_tests::workload::Start;
use gpu_agent_tests::{Agent, alone, json_log, programs};
use rustix::process::{Pid, Signal, kill_process};

/// What the simulated device does in these tests: everything at once.
const SIMULATOR: &str = "compute=model,clock=virtual,kernel_us=2,quiet=on";

/// Above every pid that Linux gives out.
const NOBODY: u32 = 0x3FFF_FFFF;

fn follow(arguments: &[&str]) -> Agent {
    let common = ["--all", "--mode", "kernels", "--flush-period-ms", "10"];
    Agent::attach(&[], None, &[common.as_slice(), arguments].concat())
}

fn program() -> Program {
    Program::start(&mut Bare::c().command(SIMULATOR))
}

/// A shell that becomes `then` once it is told to, with these variables until then.
fn shell(then: &str, variables: &[(&str, &str)]) -> Running {
    let script = format!("echo waiting; read line; exec {then}");
    let mut command = Start::new(SIMULATOR).command("/bin/sh".as_ref());
    command.args(["-c", &script]).envs(variables.iter().copied());
    let mut shell = Running::start(&mut command);
    shell.until("that it waits", |shell| shell.stdout().contains("waiting\n").then_some(()));
    shell
}

fn is_armed(agent: &Running, pid: u32) -> bool {
    agent.stderr().contains(&format!("target pid={pid} state=armed"))
}

fn until_armed(agent: &mut Agent, pids: &[u32]) {
    let armed = |agent: &Running| pids.iter().all(|&pid| is_armed(agent, pid)).then_some(());
    agent.process().until(&format!("{pids:?} are armed"), armed);
}

/// Lines about one process that say why it is not measured.
fn complaints(agent: &Running, pid: u32) -> Vec<String> {
    let text = agent.stderr();
    let about = |line: &&str| line.contains(&format!(" pid={pid} ")) && line.contains("error=");
    text.lines().filter(about).map(str::to_owned).collect()
}

/// Executions of the small programs' one kernel.
fn executions(left: &Left, pid: u32) -> u64 {
    json_log::observed(&left.log, pid).calls.get(KERNEL).copied().unwrap_or(0)
}

#[test]
fn processes_that_run_and_those_that_come_are_measured() {
    alone(|| {
        let mut first = program();
        let mut agent = follow(&[]);
        until_armed(&mut agent, &[first.pid()]);
        let mut second = program();
        until_armed(&mut agent, &[second.pid()]);
        first.launch(20);
        second.launch(30);
        let left = agent.terminate();
        assert_eq!((executions(&left, first.pid()), executions(&left, second.pid())), (20, 30));
        first.end();
        second.end();
    });
}

#[test]
fn a_named_process_that_is_not_there_does_not_end_the_following() {
    alone(|| {
        let mut there = program();
        let mut agent = follow(&["--pid", &NOBODY.to_string()]);
        agent.process().until("who is missing", |agent| {
            agent.stderr().contains(&format!("there is no process with pid {NOBODY}")).then_some(())
        });
        until_armed(&mut agent, &[there.pid()]);
        let mut later = program();
        until_armed(&mut agent, &[later.pid()]);
        there.launch(20);
        later.launch(30);
        let left = agent.terminate();
        assert_eq!((executions(&left, there.pid()), executions(&left, later.pid())), (20, 30));
        assert_eq!(left.finished.status.code(), Some(1), "{}", left.finished.stderr);
    });
}

#[test]
fn one_process_that_cannot_be_entered_does_not_delay_the_others() {
    alone(|| {
        let stuck = Program::start(&mut Bare::locked().command(SIMULATOR));
        let mut others: Vec<_> = (0..12).map(|_| program()).collect();
        let pids: Vec<u32> = others.iter().map(Program::pid).collect();
        // Longer than a test has patience.
        let mut agent = follow(&["--inject-timeout", "10m"]);
        until_armed(&mut agent, &pids);
        let last = program();
        until_armed(&mut agent, &[last.pid()]);
        others.iter_mut().for_each(|other| other.launch(7));
        assert_eq!(complaints(agent.process(), stuck.pid()), [""; 0], "it is still being tried");
        // The first signal would wait for that one.
        agent.process().signal(Signal::TERM);
        agent.process().until("that it stops", |agent| agent.stderr().contains("stopping").then_some(()));
        let left = agent.terminate();
        assert!(pids.iter().all(|&pid| executions(&left, pid) == 7), "{}", left.finished.stderr);
    });
}

#[test]
fn a_stopped_process_is_attached_to_once_it_goes_on() {
    alone(|| {
        let stopped = program();
        let pid = Pid::from_raw(stopped.pid().cast_signed()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        let other = program();
        let mut agent = follow(&[]);
        until_armed(&mut agent, &[other.pid()]);
        agent.process().until("that it is told of", |agent| {
            complaints(agent, stopped.pid())
                .iter()
                .any(|line| line.contains("stopped by a signal"))
                .then_some(())
        });
        kill_process(pid, Signal::CONT).unwrap();
        until_armed(&mut agent, &[stopped.pid()]);
        assert_eq!(complaints(agent.process(), stopped.pid()).len(), 1);
        drop(agent);
        stopped.end();
    });
}

#[test]
fn a_cuda_program_is_found_though_its_process_was_another_program_before() {
    alone(|| {
        let mut shell = shell("\"$PROGRAM\"", &[("PROGRAM", Bare::c().program.to_str().unwrap())]);
        let mut agent = follow(&[]);
        // Whoever came after the shell is attached: so the shell was looked at.
        let other = program();
        until_armed(&mut agent, &[other.pid()]);
        shell.say("go\n");
        until_armed(&mut agent, &[shell.pid()]);
        shell.say("launch 44\n");
        shell.until("that it has worked", |shell| shell.stdout().contains("launched 44").then_some(()));
        let pid = shell.pid();
        assert_eq!(executions(&agent.terminate(), pid), 44);
    });
}

#[test]
fn a_refusal_is_told_once_and_the_next_program_of_the_process_is_tried_anew() {
    alone(|| {
        let path = Bare::c().program;
        let driver = programs::simulator().join("libcuda.so.1");
        let mut shell = shell(
            "env -u GPU_AGENT_SHIM -u LD_PRELOAD \"$PROGRAM\"",
            &[
                ("PROGRAM", path.to_str().unwrap()),
                ("GPU_AGENT_SHIM", "off"),
                ("LD_PRELOAD", driver.to_str().unwrap()),
            ],
        );
        let mut agent = follow(&[]);
        agent.process().until("that it is told of", |agent| {
            complaints(agent, shell.pid())
                .iter()
                .any(|line| line.contains("GPU_AGENT_SHIM=off"))
                .then_some(())
        });
        // Each of them takes a look at all processes.
        for _ in 0..2 {
            let other = program();
            until_armed(&mut agent, &[other.pid()]);
        }
        assert_eq!(complaints(agent.process(), shell.pid()).len(), 1);
        shell.say("go\n");
        until_armed(&mut agent, &[shell.pid()]);
    });
}

#[test]
fn two_cuda_programs_one_after_the_other_in_one_process_are_both_measured() {
    alone(|| {
        let path = Bare::c().program;
        let Some(python) = programs::python() else { return };
        let first = format!(
            "import ctypes, os, sys; ctypes.CDLL('libcuda.so.1').cuInit(0); print('waiting', flush=True); \
         os.read(0, 3); os.execv({path:?}, ['program'])",
            path = path.to_str().unwrap()
        );
        let mut command = Start::new(SIMULATOR).command(&python);
        let mut process = Running::start(command.args(["-c", &first]));
        process.until("that it waits", |process| process.stdout().contains("waiting").then_some(()));
        let mut agent = follow(&[]);
        until_armed(&mut agent, &[process.pid()]);
        process.say("go\n");
        process.until("the next program", |process| process.stdout().contains("ready").then_some(()));
        let pid = process.pid();
        agent.process().until("that it is armed again", |agent| {
            let armed = format!("target pid={pid} state=armed");
            (agent.stderr().matches(&armed).count() == 2).then_some(())
        });
        process.say("launch 55\n");
        process.until("that it has worked", |process| process.stdout().contains("launched 55").then_some(()));
        assert_eq!(executions(&agent.terminate(), pid), 55);
    });
}
