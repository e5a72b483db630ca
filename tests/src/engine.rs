//! Published engines, and what the agent says of their calls.
//!
//! Enters: the name of an engine in `tests/engines/fetch.sh`, a driver that runs it. Leaves: the driver's own account of what it
//! did, and every call that the agent logged. Refuses: an engine whose files are not the pinned ones, an agent that lost a record.
//!
//! A driver prints `ready` when its engine is loaded (`ready PID` where that is another process), waits for a line on its standard
//! input, works, and prints one JSON object. It knows nothing of the agent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::process::Running;
use crate::{Agent, programs};

/// The log lines of calls and of their tensors.
const FILTER: &str = "op=debug,paged_attention=debug,tensor_metrics=debug,losses=info";
/// The targets of calls, one line a call.
const TARGETS: [&str; 4] = ["op", "paged_attention", "paged_attention_reshape", "paged_attention_cache"];

/// The drivers and what they share.
#[must_use]
pub fn drivers() -> PathBuf {
    programs::repository().join("tests/engines")
}

/// The unpacked files of an engine; `None`, after saying why, where they cannot be had here.
#[must_use]
pub fn fetch(engine: &str) -> Option<PathBuf> {
    prepare("fetch.sh", &[engine])
}

/// The path that a script of `tests/engines` prints; `None`, after saying why, where it cannot do its work here.
#[must_use]
pub fn prepare(script: &str, arguments: &[&str]) -> Option<PathBuf> {
    let fetched = Command::new(drivers().join(script)).args(arguments).output().expect("bash");
    let complaint = String::from_utf8_lossy(&fetched.stderr);
    match fetched.status.code() {
        Some(0) => Some(String::from_utf8(fetched.stdout).expect("a path").trim().into()),
        Some(75) => {
            println!("skipped: {}", complaint.lines().last().unwrap_or_default());
            None
        }
        _ => panic!("{complaint}"),
    }
}

/// A call that the agent logged.
#[derive(Debug, Clone)]
pub struct Call {
    /// Name of the probe.
    pub probe: String,
    /// How it ended: `stop`, `exception`, `start`.
    pub phase: String,
    /// The whole line.
    pub line: Value,
}

/// All that the agent logged of one process.
#[derive(Debug, Default)]
pub struct Calls {
    /// Its calls, in the order of the log.
    pub calls: Vec<Call>,
    /// Its tensors: how often each was seen, by probe, name, shape and data type, such as `decode query [3, 8, 64] f16`.
    pub tensors: BTreeMap<String, u64>,
}

impl Calls {
    fn of(log: &[Value], pid: u32) -> Self {
        let mut all = Self::default();
        let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
        for line in log.iter().filter(|line| line["pid"] == pid) {
            let target = text(line, "target");
            if target == "tensor_metrics" && !line["probe"].is_null() {
                let [probe, name, dtype] = ["probe", "tensor_name", "dtype"].map(|key| text(line, key));
                let shape = line["shape"].as_str().map_or_else(|| line["shape"].to_string(), str::to_owned);
                let shape = shape.replace(' ', "");
                *all.tensors
                    .entry(format!("{probe} {name} {shape} {dtype}").trim_end().to_owned())
                    .or_default() += 1;
            } else if TARGETS.contains(&target.as_str()) && !line["probe"].is_null() {
                let [probe, phase] = ["probe", "phase"].map(|key| text(line, key));
                all.calls.push(Call { probe, phase, line: line.clone() });
            }
        }
        all
    }

    /// The calls of one probe.
    pub fn of_probe(&self, probe: &str) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| call.probe == probe)
    }

    /// How many calls of a probe there were.
    #[must_use]
    pub fn count(&self, probe: &str) -> u64 {
        self.of_probe(probe).count() as u64
    }

    /// The sum of a field over the calls of a probe. A call without it is an error.
    #[must_use]
    pub fn sum(&self, probe: &str, field: &str) -> i64 {
        let value =
            |call: &Call| call.line[field].as_i64().unwrap_or_else(|| panic!("no {field}: {}", call.line));
        self.of_probe(probe).map(value).sum()
    }

    /// The tensors of one probe by name, shape and data type.
    #[must_use]
    pub fn tensors(&self, probe: &str) -> BTreeMap<String, u64> {
        let of_probe = |(key, count): (&String, &u64)| {
            key.strip_prefix(probe)?.strip_prefix(' ').map(|rest| (rest.to_owned(), *count))
        };
        self.tensors.iter().filter_map(of_probe).collect()
    }
}

/// Runs a driver without the agent: its account.
#[must_use]
pub fn run(driver: &mut Command) -> Value {
    let mut driver = Running::start(driver);
    let _ = ready(&mut driver);
    driver.tell("\n");
    account(driver)
}

/// Runs a driver with the agent attached to it from `ready` on, when `engine` and all else that is there is probed: its account, and
/// what the agent says.
#[must_use]
pub fn watch(driver: &mut Command, engine: &str) -> (Value, Calls) {
    let mut driver = Running::start(driver);
    let pid = ready(&mut driver);
    // With the shim, CUDA's calls would not be the probes' to count.
    let options = ["--inject", "never", "--probe-engines", "all", "--log-filter", FILTER];
    let mut agent = Agent::attach(&[pid], None, &options);
    agent.until_probed(pid, engine);
    driver.tell("\n");
    let account = account(driver);
    agent.until_targets_are(1, "ended");
    let left = agent.terminate();
    assert!(
        left.finished.status.success(),
        "the agent ended with {}: {}",
        left.finished.status,
        left.finished.stderr
    );
    // A tensor of PyTorch is read as each of its two layouts, one of which may lead nowhere.
    let is_expected = |line: &&Value| line["metric"] == "gpu_agent.probes.reads.faulted";
    let lost: Vec<&Value> =
        left.log.iter().filter(|line| line["target"] == "losses" && !is_expected(line)).collect();
    assert!(lost.is_empty(), "something is missing: {lost:?}");
    (account, Calls::of(&left.log, pid))
}

/// Waits until the driver is ready; the process to watch.
fn ready(driver: &mut Running) -> u32 {
    let own = driver.pid();
    driver.until("ready", |driver| {
        let stdout = driver.stdout();
        let told = stdout.lines().find_map(|line| line.strip_prefix("ready"))?;
        Some(told.trim().parse().unwrap_or(own))
    })
}

fn account(driver: Running) -> Value {
    let finished = driver.finish();
    assert!(finished.status.success(), "the driver ended with {}: {}", finished.status, finished.stderr);
    let last = finished.stdout.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {last}"))
}

/// A GGUF model with random weights in `folder`.
#[must_use]
pub fn tiny_gguf(folder: &Path) -> PathBuf {
    let path = folder.join("tiny.gguf");
    let made =
        Command::new("python3").arg(drivers().join("tiny_gguf.py")).arg(&path).output().expect("python3");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    path
}
