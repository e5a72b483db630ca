//! Processes that come, go and change under an agent with probes, and agents that do.

use std::process::Command;
use std::time::Duration;

use gpu_agent_tests::entry_points::{observed, sum, unbalanced, unsupported};
use gpu_agent_tests::process::Running;
use gpu_agent_tests::workload::Start;
use gpu_agent_tests::{Agent, GroundTruth, programs};
use rustix::process::Signal;

use super::{BARE, ENGINE, PROBES, calls, start};

/// A Python program that loads the kernels' library when told `load`, calls an entry point with arguments that are refused
/// before anything is launched `call N` times, and runs itself again at `exec`.
const PROGRAM: &str = r#"
import ctypes, os, sys
print("ready", flush=True)
library = None
for line in sys.stdin:
    word, *rest = line.split()
    if word == "load":
        library = ctypes.CDLL(sys.argv[1])
    elif word == "call":
        for _ in range(int(rest[0])):
            library.reshape_and_cache(None, None, None, None, None, 5, 4, 64, 16, 8, 256, 256, None, 0, 3, None, None)
    elif word == "exec":
        os.execv(sys.executable, [sys.executable, *sys.argv[0:0], "-c", os.environ["PROGRAM"], *sys.argv[1:]])
    print(line.strip(), flush=True)
"#;

struct Python {
    process: Running,
    stdin: std::process::ChildStdin,
}

impl Python {
    fn start() -> Self {
        let mut command = Command::new("python3");
        command
            .env("PROGRAM", PROGRAM)
            .args(["-c", PROGRAM])
            .arg(programs::program("libgpu_agent_kernels.so"));
        let mut process = Running::start(&mut command);
        process.until("ready", |process| process.stdout().contains("ready\n").then_some(()));
        let stdin = process.take_stdin();
        Self { process, stdin }
    }

    /// Tells it something, and waits until it has done it.
    fn tell(&mut self, word: &str, answer: &str) {
        use std::io::Write;
        let before = self.process.stdout().matches(answer).count();
        writeln!(self.stdin, "{word}").unwrap();
        self.process.until(word, |process| (process.stdout().matches(answer).count() > before).then_some(()));
    }
}

fn agent(pids: &[u32]) -> Agent {
    Agent::attach(pids, None, &[PROBES, &BARE].concat())
}

#[test]
fn a_library_that_is_loaded_after_the_attachment_is_probed_within_a_second() {
    if unsupported() {
        return;
    }
    let mut program = Python::start();
    let pid = program.process.pid();
    let mut agent = agent(&[pid]);
    agent.until_targets_are(1, "probed");
    program.tell("load", "load\n");
    std::thread::sleep(Duration::from_secs(1));
    program.tell("call 1000", "call 1000\n");
    agent.scrape_until("1000 calls", |samples| {
        (sum(samples, "cache_update_calls_total", pid, &[]) == 1000).then_some(())
    });
    drop(program);
    let left = agent.finish();
    assert_eq!(unbalanced(&left.samples), Vec::<String>::new());
    assert!(left.finished.status.success(), "{}", left.finished.stderr);
}

#[test]
fn a_process_that_runs_another_program_is_probed_anew() {
    if unsupported() {
        return;
    }
    let mut program = Python::start();
    let pid = program.process.pid();
    program.tell("load", "load\n");
    let mut agent = agent(&[pid]);
    agent.until_probed(pid, ENGINE);
    program.tell("call 10", "call 10\n");
    program.tell("exec", "ready\n");
    agent.until_targets_are(1, "ended");
    agent.until_targets_are(1, "probed");
    program.tell("load", "load\n");
    agent.until_probed(pid, ENGINE);
    program.tell("call 7", "call 7\n");
    agent.scrape_until("17 calls", |samples| {
        (sum(samples, "cache_update_calls_total", pid, &[]) == 17).then_some(())
    });
}

#[test]
fn several_processes_are_told_apart() {
    if unsupported() {
        return;
    }
    let mut workloads: Vec<_> =
        ["300", "500"].map(|launches| start().bare().arguments(["--launches", launches]).ready()).into();
    let idle = Start::new("compute=off,quiet=on").bare().ready();
    let pids: Vec<u32> = workloads.iter().map(|workload| workload.pid()).collect();
    let mut agent = agent(&[pids[0], pids[1], idle.pid()]);
    for &pid in &pids {
        agent.until_probed(pid, ENGINE);
    }
    workloads.iter_mut().for_each(|workload| workload.go());
    let truths: Vec<_> =
        workloads.into_iter().map(|workload| calls(&GroundTruth::after_ready(&workload.finish()))).collect();
    agent.until_targets_are(2, "ended");
    let left = agent.terminate();
    for (pid, truth) in pids.into_iter().zip(truths) {
        assert_eq!(observed(&left.samples, pid), truth);
    }
}

#[test]
fn a_program_that_is_attached_to_while_it_works_and_one_whose_agent_is_killed_are_unharmed() {
    if unsupported() {
        return;
    }
    let start = start().bare().arguments(["--launches", "6000", "--rate", "600"]);
    let expected = {
        let mut workload = start.ready();
        workload.go();
        workload.finish()["checksum"].clone()
    };
    let mut workload = start.ready();
    let pid = workload.pid();
    workload.go();
    let mut first = agent(&[pid]);
    first.until_probed(pid, ENGINE);
    first.scrape_until("calls", |samples| {
        (sum(samples, "cache_update_calls_total", pid, &[]) > 0).then_some(())
    });
    first.process().signal(Signal::KILL);
    let _ = first.finish();
    // Linux takes the probes of a dead agent away; another agent finds the place empty.
    let mut second = agent(&[pid]);
    second.until_probed(pid, ENGINE);
    let report = workload.finish();
    assert_eq!(report["checksum"], expected);
    let _ = second.finish();
}

#[test]
fn a_program_that_run_starts_is_probed_with_its_children() {
    if unsupported() {
        return;
    }
    let start = start().arguments(["--seconds", "6", "--rate", "2000"]);
    let mut agent = Agent::run(&start, None, PROBES);
    let pid = agent.scrape_until("calls of a probed child", |samples| {
        let calls =
            samples.iter().find(|sample| sample.name == "engine_op_calls_total" && sample.value > 0.0)?;
        calls.labels.get("process_pid")?.parse::<u32>().ok()
    });
    let timings = |samples: &[gpu_agent_tests::prometheus::Sample], timing| {
        sum(samples, "cache_update_duration_ms_count", pid, &[("timing", timing)])
    };
    agent.scrape_until("both times", |samples| {
        (timings(samples, "gpu") > 0 && timings(samples, "host") > 0).then_some(())
    });
}
