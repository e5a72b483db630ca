//! What `gpu-agent attach --all` costs on a host with 1,000 processes that do not use CUDA.
//!
//! Enters: nothing. Leaves: processor time of one glance at all of them. Refuses: to count processes of others: it runs in a pid
//! namespace of its own, and so needs root.
#![allow(clippy::unwrap_used, reason = "a benchmark stops where its expectations do not hold")]

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gpu_agent_tests::programs;

const PROCESSES: usize = 1_000;
/// Seconds that are measured, each with one glance.
const SECONDS: u32 = 20;
const INSIDE: &str = "GPU_AGENT_BENCH_ALONE";

fn main() {
    if std::env::var_os(INSIDE).is_none() {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
        let status = command.arg(std::env::current_exe().unwrap()).env(INSIDE, "yes").status().unwrap();
        assert!(status.success(), "a pid namespace needs root");
        return;
    }
    let none = measure();
    let sleepers: Vec<Child> = (0..PROCESSES)
        .map(|_| Command::new("sleep").arg("3600").stdout(Stdio::null()).spawn().unwrap())
        .collect();
    let all = measure();
    println!(
        "attach --all, {} processes: {:.1} ms of a processor a second, of which one glance at all takes {:.1} ms",
        sleepers.len(),
        all * 1e3,
        (all - none) * 1e3
    );
    for mut sleeper in sleepers {
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }
}

/// Processor time a second of an agent that follows all processes, once it has looked at each.
fn measure() -> f64 {
    let mut agent = Command::new(programs::program("gpu-agent"))
        .args(["attach", "--all", "--listen", "off", "--probe-engines", "none"])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let before = processor_seconds(agent.id());
    std::thread::sleep(Duration::from_secs(SECONDS.into()));
    let spent = processor_seconds(agent.id()) - before;
    agent.kill().unwrap();
    agent.wait().unwrap();
    spent / f64::from(SECONDS)
}

/// By the scheduler's account, in nanoseconds: clock ticks are too coarse.
fn processor_seconds(pid: u32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let of_task = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        text.split_whitespace().next().and_then(|spent| spent.parse::<f64>().ok()).unwrap_or(0.0)
    };
    tasks.map(of_task).sum::<f64>() / 1e9
}
