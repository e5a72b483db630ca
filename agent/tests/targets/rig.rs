//! Starting fake targets and the agent's own program.
//!
//! Enters: arguments. Leaves: processes that end with the test. Refuses: nothing.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gpu_agent::aggregate::snapshot::{Snapshot, Value};
use gpu_agent::event::Pid;
use gpu_agent::export::{EventSender, SnapshotSource};
use gpu_agent::pipeline::{self, Pipeline, TargetStatus};

/// Longest that anything here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running fake target.
pub(crate) struct Fake {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Fake {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::from(Command::new(example("fake_target")).args(arguments))
    }

    pub(crate) fn from(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the fake target");
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut fake = Self { child, orders, answers };
        assert_eq!(fake.line(), "ready");
        fake
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid(self.child.id())
    }

    pub(crate) fn order(&mut self, order: &str) -> String {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
        self.line()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Lets it end by itself.
    pub(crate) fn end(mut self) {
        self.orders.take();
        self.child.wait().unwrap();
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    pub(crate) fn reap(&mut self) {
        self.child.wait().unwrap();
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A pipeline with default options and no exporters.
pub(crate) fn pipeline() -> Pipeline {
    let config = pipeline::options::Options::default().resolve().unwrap();
    Pipeline::start(config, Vec::new(), EventSender::disabled()).unwrap()
}

/// The only target, once it is as `wanted` says.
pub(crate) fn wait_for(
    shared: &Arc<pipeline::Shared>,
    wanted: impl Fn(&TargetStatus) -> bool,
) -> TargetStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let targets = shared.registry().targets();
        match targets.last() {
            Some(target) if wanted(target) => return target.clone(),
            other => assert!(Instant::now() < deadline, "still waiting: {other:?}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The sum of a counter's points with these attributes.
pub(crate) fn counter(snapshot: &Snapshot, name: &str, wanted: &[(&str, &str)]) -> u64 {
    let family = snapshot.families.iter().find(|family| family.instrument.name == name);
    let points = family.into_iter().flat_map(|family| &family.points).filter(|point| {
        wanted.iter().all(|(key, value)| point.attributes.iter().any(|(k, v)| k == key && &**v == *value))
    });
    points
        .map(|point| if let Value::Counter(count) = point.value { count } else { panic!("no counter") })
        .sum()
}

/// Each stage passes on or counts what the stage before passed on.
pub(crate) fn assert_accounted(snapshot: &Snapshot) {
    let at = |hop: &str, outcome: &str| {
        counter(snapshot, "gpu_agent.records", &[("hop", hop), ("outcome", outcome)])
    };
    let all = |hop: &str| counter(snapshot, "gpu_agent.records", &[("hop", hop)]);
    assert_eq!(all("shim"), at("cupti", "passed"), "shim");
    assert_eq!(
        all("ring"),
        at("shim", "passed") + counter(snapshot, "gpu_agent.records.metadata", &[]),
        "ring"
    );
    assert_eq!(all("decode"), at("ring", "passed"), "decode");
}

pub(crate) fn snapshot(shared: &Arc<pipeline::Shared>) -> Arc<Snapshot> {
    shared.snapshot()
}

/// The agent's program, run to its end.
pub(crate) fn agent(arguments: &[&str]) -> Output {
    agent_command().args(arguments).output().expect("the agent's program")
}

pub(crate) fn agent_command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-agent"));
    command.env("GPU_AGENT_LISTEN", "off");
    command
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// cargo builds examples along with the tests of a whole package, beside the folder of test programs.
pub(crate) fn example(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let path = this.parent().and_then(|deps| deps.parent()).unwrap().join("examples").join(name);
    assert!(path.is_file(), "{} is missing: cargo build -p gpu-agent --example {name}", path.display());
    path
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
