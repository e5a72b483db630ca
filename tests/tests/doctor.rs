//! What `gpu-agent doctor` says of the host and of processes, as a program reads it and as a terminal shows it.
//!
//! Enters: processes of many kinds. Leaves: nothing. Refuses: a line without a way out, a topic that comes or goes unnoticed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::process::{Command, Output};

use gpu_agent_tests::bare::{Bare, Program};
use gpu_agent_tests::{Agent, programs};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const SIMULATOR: &str = "compute=model,clock=virtual,kernel_us=2,quiet=on";

fn doctor(arguments: &[&str]) -> Output {
    Command::new(programs::program("gpu-agent")).arg("doctor").args(arguments).output().unwrap()
}

/// The reports, each of whose lines says what to do where something does not work; the status says whether all does.
fn reports(arguments: &[&str]) -> Vec<Value> {
    let output = doctor(&[arguments, &["--json"]].concat());
    let reports: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let lines = || reports.iter().flat_map(|report| report["lines"].as_array().unwrap());
    for line in lines() {
        assert!(line["verdict"] == "ok" || line["fix"] != "", "{line}");
    }
    let is_impossible = lines().any(|line| line["verdict"] == "no");
    assert_eq!(output.status.code(), Some(i32::from(is_impossible)), "{reports:#?}");
    reports
}

fn report(pid: u32) -> Value {
    let mut reports = reports(&["--pid", &pid.to_string()]);
    assert_eq!(reports.len(), 1);
    reports.remove(0)
}

fn topics(report: &Value) -> Vec<&str> {
    report["lines"].as_array().unwrap().iter().map(|line| line["topic"].as_str().unwrap()).collect()
}

/// Verdict and reason about one topic.
fn line<'a>(report: &'a Value, topic: &str) -> (&'a str, &'a str) {
    let line = report["lines"].as_array().unwrap().iter().find(|line| line["topic"] == topic).unwrap();
    (line["verdict"].as_str().unwrap(), line["reason"].as_str().unwrap())
}

#[test]
fn a_host_has_its_topics() {
    let reports = reports(&[]);
    let expected = "kernel BTF attach loading probes lockdown yama seccomp memfd_noexec SELinux AppArmor driver CUPTI NVML";
    assert_eq!(topics(&reports[0]).join(" "), expected);
}

#[test]
fn a_cuda_process_has_its_topics_before_and_after_it_was_attached_to() {
    let program = Program::start(&mut Bare::c().command(SIMULATOR));
    let expected = [
        "CUDA driver",
        "CUDA runtime",
        "CUDA major",
        "CUPTI",
        "CUPTI's owner",
        "shim",
        "loading",
        "CUDA graphs",
        "symbols",
        "MIG",
        "namespaces",
        "not visible",
    ];
    let before = report(program.pid());
    assert_eq!(topics(&before), expected);
    assert_eq!(line(&before, "shim"), ("ok", "not loaded"));
    assert_eq!(line(&before, "loading"), ("ok", "the shim can be loaded while it runs"));
    assert!(line(&before, "CUPTI").1.contains("beside its CUDA driver"));
    let mut agent = Agent::attach(&[program.pid()], None, &[]);
    agent.until_targets_are(1, "armed");
    let armed = report(program.pid());
    assert_eq!(topics(&armed), expected);
    assert_eq!(line(&armed, "shim").0, "ok");
    assert!(line(&armed, "shim").1.contains("armed"));
    assert_eq!(line(&armed, "loading").1, "not needed");
    assert!(line(&armed, "CUDA driver").1.contains("knows CUDA up to 12.4"), "{armed:#}");
    assert!(agent.terminate().finished.status.success());
    assert!(line(&report(program.pid()), "shim").1.contains("dormant"));
    program.end();
}

#[test]
fn each_process_that_cannot_be_entered_is_told_why() {
    let program = Program::start(&mut Bare::c().command(SIMULATOR));
    let pid = Pid::from_raw(program.pid().cast_signed()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let stopped = report(program.pid());
    assert_eq!(line(&stopped, "loading"), ("no", "it is stopped by a signal"));
    kill_process(pid, Signal::CONT).unwrap();
    program.end();
    let off = Program::start(Bare::c().command(SIMULATOR).env("GPU_AGENT_SHIM", "off"));
    assert!(line(&report(off.pid()), "loading").1.contains("GPU_AGENT_SHIM=off"));
    off.end();
}

#[test]
fn processes_without_cuda_missing_ones_and_threads_of_linux_each_have_a_report() {
    let own = std::process::id().to_string();
    let reports = reports(&["--pid", &own, "--pid", "1073741823", "--pid", "2"]);
    assert_eq!(line(&reports[0], "CUDA driver").0, "no");
    assert_eq!(topics(&reports[1]), ["process"]);
    assert!(line(&reports[1], "process").1.contains("no process with pid 1073741823"));
    // Where this is no namespace of its own.
    if reports[2]["subject"].as_str().unwrap().contains("kthreadd") {
        assert!(line(&reports[2], "process").1.contains("thread of Linux"));
    }
}

#[test]
fn a_hostile_name_does_nothing_to_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evil\n  yama OK\u{1b}[2J\u{202e}");
    std::fs::copy(Bare::c().program, &path).unwrap();
    let bare = Bare { program: path, ..Bare::c() };
    let program = Program::start(&mut bare.command(SIMULATOR));
    let pid = program.pid().to_string();
    let is_plain = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(text.contains("evil\\n"), "{text:?}");
        assert!(!text.contains(['\u{1b}', '\u{202e}']) && !text.contains("\n  yama OK"), "{text:?}");
    };
    is_plain(&doctor(&["--pid", &pid]).stdout);
    assert!(reports(&["--pid", &pid])[0]["subject"].as_str().unwrap().contains("evil\n"));
    let attach = |arguments: &[&str]| {
        let mut command = Command::new(programs::program("gpu-agent"));
        command.args(["attach", "--listen", "off", "--probe-engines", "none", "--pid", &pid]).args(arguments);
        command.output().unwrap().stderr
    };
    is_plain(&attach(&["--inject", "never"]));
    is_plain(&attach(&["--inject", "never", "--pid", "1073741823"]));
    program.end();
}
