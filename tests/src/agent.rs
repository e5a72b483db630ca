//! The agent under test, with all its exporters on.
//!
//! Enters: what to attach to, or what to run. Leaves: what Prometheus, OTLP and the JSON log said. Refuses: fixed ports.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::otlp::Receiver;
use crate::process::{Finished, Running};
use crate::prometheus::{self, Sample};
use crate::workload::Start;
use crate::{json_log, programs};

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    process: Running,
    listen: SocketAddr,
    folder: TempDir,
    last: Vec<Sample>,
}

/// What an agent left behind.
#[derive(Debug)]
pub struct Left {
    /// Its end.
    pub finished: Finished,
    /// The last scrape.
    pub samples: Vec<Sample>,
    /// The JSON log.
    pub log: Vec<Value>,
}

/// A local address that nobody listens at.
#[must_use]
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

impl Agent {
    /// `gpu-agent attach` to all `pids`, with OTLP to `receiver` and `arguments` of its own.
    #[must_use]
    pub fn attach(pids: &[u32], receiver: Option<&Receiver>, arguments: &[&str]) -> Self {
        let mut command = Command::new(programs::program("gpu-agent"));
        command.arg("attach");
        for pid in pids {
            command.args(["--pid", &pid.to_string()]);
        }
        Self::start(command, receiver, arguments, &[])
    }

    /// `gpu-agent run -- …` with the workload that `start` describes.
    #[must_use]
    pub fn run(start: &Start, receiver: Option<&Receiver>, arguments: &[&str]) -> Self {
        let mut command = start.command(&programs::program("gpu-agent"));
        command.arg("run");
        let mut line: Vec<OsString> = vec!["--".into()];
        line.extend(start.line());
        Self::start(command, receiver, arguments, &line)
    }

    fn start(
        mut command: Command,
        receiver: Option<&Receiver>,
        arguments: &[&str],
        last: &[OsString],
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listen = free_address();
        command.args(["--listen", &listen.to_string()]);
        if !arguments.contains(&"--log-filter") {
            command.args(["--log-filter", json_log::FILTER]);
        }
        // What is tested of the rings is tested without probes, which are tested on their own.
        if !arguments.contains(&"--probe-engines") {
            command.args(["--probe-engines", "none"]);
        }
        if !arguments.contains(&"--json-log") {
            command.arg("--json-log").arg(folder.path().join("events.jsonl"));
        }
        if let Some(receiver) = receiver {
            command.args([
                "--otlp-endpoint",
                &format!("http://{}", receiver.grpc),
                "--metrics-period-ms",
                "300",
            ]);
        }
        command.args(arguments).args(last);
        Self { process: Running::start(&mut command), listen, folder, last: Vec::new() }
    }

    /// The process.
    pub fn process(&mut self) -> &mut Running {
        &mut self.process
    }

    /// Where its JSON log is.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("events.jsonl")
    }

    /// Where it serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// Scrapes until `look` finds what it looks for.
    pub fn scrape_until<T>(&mut self, what: &str, look: impl Fn(&[Sample]) -> Option<T>) -> T {
        let listen = self.listen;
        let (samples, found) = self.process.until(what, |_| {
            let samples = prometheus::scrape(listen)?;
            look(&samples).map(|found| (samples, found))
        });
        self.last = samples;
        found
    }

    /// Waits until entry points of `engine` are probed in a process.
    pub fn until_probed(&mut self, pid: u32, engine: &str) {
        let pid = pid.to_string();
        self.scrape_until(&format!("probes of {engine} in {pid}"), |samples| {
            let are_attached = |sample: &&Sample| {
                sample.name == "gpu_agent_probes_attached"
                    && sample.labels.get("process_pid") == Some(&pid)
                    && sample.labels.get("engine").is_some_and(|known| known == engine)
            };
            samples.iter().find(are_attached).map(drop)
        });
    }

    /// Waits until at least `count` targets are in `state`.
    pub fn until_targets_are(&mut self, count: u32, state: &str) {
        self.scrape_until(&format!("{count} targets that are {state}"), |samples| {
            let in_state = |sample: &&Sample| {
                sample.name == "gpu_agent_targets" && sample.labels.get("state").is_some_and(|s| s == state)
            };
            samples.iter().find(in_state).filter(|sample| sample.value >= f64::from(count)).map(drop)
        });
    }

    /// Asks it to end, and waits for that.
    #[must_use]
    pub fn terminate(self) -> Left {
        self.process.signal(rustix::process::Signal::TERM);
        self.finish()
    }

    /// Waits for its end.
    #[must_use]
    pub fn finish(self) -> Left {
        let finished = self.process.finish();
        let text = std::fs::read_to_string(self.folder.path().join("events.jsonl")).unwrap_or_default();
        Left { finished, samples: self.last, log: json_log::lines(&text) }
    }
}
