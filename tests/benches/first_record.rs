//! From the command `gpu-agent attach --pid` to the first kernel of a process that was started without us.
//!
//! Enters: nothing. Leaves: how long it took, and its parts: the agent's start, the loading of the shim, its arming, the first
//! flush; for how long a thread of the process was stopped. Refuses: a real device.
//!
//! Each round is a fresh process, a C program on the simulated device that launches a kernel each millisecond, and a fresh
//! agent whose JSON log is read as it is written.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark stops where its expectations do not hold")]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use gpu_agent_tests::bare::Bare;
use gpu_agent_tests::programs;

const ROUNDS: usize = 15;
const BAR: Duration = Duration::from_secs(1);
const STOP_BAR: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(60);
const SIMULATOR: &str = "compute=model,clock=virtual,kernel_us=2,quiet=on";

fn main() {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    println!("attach --pid to the first kernel record, simulated device, load {}", load.trim());
    for (name, arguments) in
        [("without probes", ["--probe-engines", "none"]), ("with probes", ["--probe-engines", "all"])]
    {
        let mut rounds: Vec<Parts> = (0..ROUNDS).map(|_| round(&arguments)).collect();
        rounds.sort_by_key(Parts::whole);
        let (Some(middle), Some(worst)) = (rounds.get(ROUNDS / 2), rounds.last()) else { return };
        let verdict = if worst.whole() <= BAR { "met" } else { "MISSED" };
        println!("{name}: median {middle}\n    worst {worst} (bar {BAR:?}: {verdict})");
        let mut stops: Vec<Duration> = rounds.iter().map(|round| round.stopped).collect();
        stops.sort_unstable();
        let (Some(middle), Some(worst)) = (stops.get(ROUNDS / 2), stops.last()) else { return };
        let verdict = if *worst <= STOP_BAR { "met" } else { "MISSED" };
        println!(
            "    a thread was stopped for: median {middle:?}, worst {worst:?} (bar {STOP_BAR:?}: {verdict})"
        );
    }
}

/// Moments of one round, each since the command.
#[derive(Debug)]
struct Parts {
    began: Duration,
    loaded: Duration,
    armed: Duration,
    recorded: Duration,
    /// Not a moment: for how long a thread of the process was stopped.
    stopped: Duration,
}

impl Parts {
    fn whole(&self) -> Duration {
        self.recorded
    }
}

impl std::fmt::Display for Parts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |from: Duration, to: Duration| to.saturating_sub(from).as_millis();
        let Self { began, loaded, armed, recorded, .. } = *self;
        write!(
            formatter,
            "{} ms: start {}, loading {}, arming {}, first record {}",
            recorded.as_millis(),
            began.as_millis(),
            ms(began, loaded),
            ms(loaded, armed),
            ms(armed, recorded)
        )
    }
}

fn round(arguments: &[&str]) -> Parts {
    let mut program =
        Bare::c().command(SIMULATOR).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut orders = program.stdin.take().unwrap();
    let answers = lines(program.stdout.take().unwrap());
    await_line(&answers, "ready");
    let over = AtomicBool::new(false);
    let parts = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                writeln!(orders, "launch 1").unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let parts = attach(program.id(), arguments);
        over.store(true, Ordering::Relaxed);
        parts
    });
    program.kill().unwrap();
    program.wait().unwrap();
    parts
}

fn attach(pid: u32, arguments: &[&str]) -> Parts {
    let mut command = Command::new(programs::program("gpu-agent"));
    command.args([
        "attach",
        "--pid",
        &pid.to_string(),
        "--mode",
        "kernels",
        "--listen",
        "off",
        "--probe-cache",
        "off",
    ]);
    command.args(["--json-log", "-", "--log-filter", "kernel=debug"]).args(arguments);
    let started = Instant::now();
    let mut agent = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let said = lines(agent.stderr.take().unwrap());
    let log = lines(agent.stdout.take().unwrap());
    let (line, loaded) = await_line(&said, "loaded the shim");
    let field = |name: &str| {
        let value = line.split_once(name).unwrap().1.split_whitespace().next().unwrap();
        value.parse::<u64>().unwrap()
    };
    let took = Duration::from_millis(field("total_ms="));
    let stopped = Duration::from_micros(field("stopped_us="));
    let (_, armed) = await_line(&said, "state=armed");
    let (_, recorded) = await_line(&log, "\"attached_late\"");
    agent.kill().unwrap();
    agent.wait().unwrap();
    let [loaded, armed, recorded] = [loaded, armed, recorded].map(|moment| moment - started);
    Parts { began: loaded.saturating_sub(took), loaded, armed, recorded, stopped }
}

/// Lines of a stream, each with the moment at which it came.
fn lines(stream: impl Read + Send + 'static) -> Receiver<(String, Instant)> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send((line, Instant::now())).is_err() {
                return;
            }
        }
    });
    lines
}

fn await_line(lines: &Receiver<(String, Instant)>, words: &str) -> (String, Instant) {
    let mut seen = String::new();
    loop {
        let Ok((line, moment)) = lines.recv_timeout(PATIENCE) else { panic!("no {words:?} in:\n{seen}") };
        if line.contains(words) {
            return (line, moment);
        }
        seen.push_str(&line);
        seen.push('\n');
    }
}
