//! The workload: its ground truth, its limits, what it says when it cannot run.

use std::io::{BufRead, BufReader, Write};
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::program::{command, json_lines, stderr};

const WORKLOAD: &str = env!("CARGO_BIN_EXE_gpu-agent-workload");

fn run(arguments: &str, settings: &str) -> Option<Output> {
    Some(command(WORKLOAD, arguments, settings)?.output().unwrap())
}

/// The report of a run that must succeed.
fn report(arguments: &str) -> Option<Value> {
    let output = run(arguments, "")?;
    assert!(output.status.success(), "{arguments}: {}", stderr(&output));
    let lines = json_lines(&output);
    assert_eq!(lines.len(), 1, "{arguments}");
    let report = lines[0]["workload"].clone();
    assert_eq!(report["matches_plan"], true, "{arguments}");
    assert_eq!(report["simulated"], true, "{arguments}");
    Some(report)
}

#[test]
fn counts_match_the_plan_in_every_mode() {
    let modes = [
        "",
        "--graph",
        "--v2",
        "--graph --v2 --dtype bf16",
        "--dtype f32 --block-size 32 --head-size 128 --heads 2 --kv-heads 1",
        "--head-size 256 --heads 1 --kv-heads 1 --prompt 1",
        "--threads 4 --devices 2 --streams 1 --batch 1 --layers 1",
        "--swap-every 0 --fork-every 0 --tokens 3",
        "--prompt 40 --tokens 2 --swap-every 1 --fork-every 1",
    ];
    for mode in modes {
        let Some(report) = report(mode) else { return };
        assert_eq!(report["frees"], report["allocations"]["count"], "{mode}");
        assert_eq!(report["before_ready"]["launches_total"], 0, "{mode}");
        assert_eq!(report["before_ready"]["allocations"], report["allocations"], "{mode}");
    }
}

#[test]
fn the_logits_do_not_depend_on_how_they_are_launched() {
    let base = "--prompt 20 --tokens 20";
    let Some(eager) = report(base) else { return };
    for other in ["", "--graph", "--v2", "--swap-every 1", "--fork-every 1", "--swap-every 0 --fork-every 0"]
    {
        let same = report(&format!("{base} {other}")).unwrap();
        assert_eq!(same["checksum"], eager["checksum"], "{other}");
    }
    for other in ["--seed 2", "--dtype bf16", "--tokens 21"] {
        let different =
            report(&format!("{base} {other}").replace("--tokens 20 --tokens", "--tokens")).unwrap();
        assert_ne!(different["checksum"], eager["checksum"], "{other}");
    }
}

#[test]
fn a_graph_replays_what_eager_launches() {
    let (Some(eager), Some(graph)) = (report("--tokens 9"), report("--tokens 9 --graph")) else { return };
    assert_eq!(eager["launches"], graph["launches"]);
    assert_eq!(eager["copies"], graph["copies"]);
    assert_eq!(eager["memsets"], graph["memsets"]);
    assert_eq!(graph["graph_launches"], 2 * 9);
    assert_eq!(eager["graph_launches"], 0);
    // Two streams; their steps of 18 launches are captured once each instead of being called 9 times.
    let calls = |report: &Value| report["launch_calls"].as_u64().unwrap();
    assert_eq!(calls(&eager) - calls(&graph), 2 * 8 * 18);
}

#[test]
fn devices_add_up() {
    let Some(report) = report("--devices 2 --threads 3") else { return };
    let devices = report["devices"].as_array().unwrap();
    assert_eq!(devices.len(), 2);
    for kernel in report["launches"].as_object().unwrap().keys() {
        let sum: u64 = devices.iter().map(|device| device["launches"][kernel].as_u64().unwrap()).sum();
        assert_eq!(report["launches"][kernel], sum);
    }
    // Threads 0 and 2 are on device 0.
    let total = |device: &Value| device["launches_total"].as_u64().unwrap();
    assert_eq!(total(&devices[0]), 2 * total(&devices[1]));
}

#[test]
fn a_launch_budget_is_met_exactly() {
    for budget in [1u64, 50, 777] {
        let Some(report) = report(&format!("--launches {budget} --threads 2 --graph")) else { return };
        assert_eq!(report["launches_total"], 2 * budget);
    }
}

#[test]
fn pacing_is_not_exceeded() {
    let Some(report) = report("--rate 4000 --launches 1000") else { return };
    assert!(report["wall_seconds"].as_f64().unwrap() > 0.2);
}

#[test]
fn a_time_limit_starts_new_rounds() {
    let Some(report) = report("--seconds 0.3 --tokens 2") else { return };
    assert!(report["steps"].as_u64().unwrap() > 4);
}

#[test]
fn it_waits_for_a_line_before_it_works() {
    let Some(mut command) = command(WORKLOAD, "--wait-stdin", "") else { return };
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    assert!(child.try_wait().unwrap().is_none());
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    line.clear();
    stdout.read_line(&mut line).unwrap();
    assert!(line.starts_with("{\"workload\":"));
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_is_missing_is_named() {
    let expectations = [
        ("", "devices=0", 2, "the driver reports 0"),
        ("--devices 3", "devices=2", 2, "CUDA device 2 does not exist: the driver reports 2"),
        ("--head-size 96", "", 2, "--head-size 96"),
        ("--no-such-flag", "", 2, "--no-such-flag"),
        ("", "fail=cuLaunchKernel:719@50", 1, "cuLaunchKernel failed with CUDA error 719"),
        ("--graph", "fail=cuGraphLaunch:700@3", 1, "cuGraphLaunch failed with CUDA error 700"),
        ("--threads 3", "fail=cuMemAlloc_v2:2@9", 1, "cuMemAlloc_v2 failed with CUDA error 2"),
    ];
    for (arguments, settings, status, message) in expectations {
        let Some(output) = run(arguments, settings) else { return };
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(status), "{arguments} {settings}: {said}");
        assert!(said.contains(message), "{arguments} {settings}: {said}");
        assert!(json_lines(&output).is_empty(), "{arguments} {settings}");
    }
}

#[test]
fn without_a_driver_it_says_what_to_do() {
    // Where the machine has a driver, this test has nothing to show.
    if ["/usr/lib/x86_64-linux-gnu/libcuda.so.1", "/usr/lib64/libcuda.so.1"]
        .iter()
        .any(|path| std::fs::exists(path).unwrap())
    {
        println!("skipped: this machine has a CUDA driver");
        return;
    }
    let output = std::process::Command::new(WORKLOAD).env_remove("LD_LIBRARY_PATH").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("libcuda.so.1") && said.contains("install the NVIDIA driver"), "{said}");
}
