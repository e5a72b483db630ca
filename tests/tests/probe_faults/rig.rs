//! Targets from their sources, and the agent's own way from records to calls.
//!
//! Enters: names of sources, specifications. Leaves: programs, and what the agent makes of their calls. Refuses: to pass where
//! BPF programs cannot be loaded; it says `skipped: why`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gpu_agent::correlate::{Calls, Correlator, Counts, Limits, PATIENCE_NS};
use gpu_agent::source::ebpf::Attached;
use gpu_agent_ebpf_abi::{FetchProgram, phase};
use gpu_agent_tests::probed::Target;
use gpu_agent_tests::probed::prober::{Prober, Watched, Way};
use gpu_agent_tests::probed::reads::{self, ARGUMENTS, RETURN_VALUE, register};
use gpu_agent_tests::process::{PATIENCE, Running};
use gpu_agent_tests::{json_log, programs};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// A program that was compiled from one of the sources; its file lives as long as this.
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    _folder: TempDir,
}

impl Program {
    /// Compiles `targets/SOURCE`.
    pub(crate) fn of(source: &str) -> Self {
        Self::compiled(&programs::repository().join("tests/tests/probe_faults/targets").join(source), &[])
    }

    /// Compiles any source, with more arguments for the compiler.
    pub(crate) fn compiled(source: &Path, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(source.file_stem().unwrap());
        let is_c = source.extension().is_some_and(|extension| extension == "c");
        let (compiler, standard) = if is_c { ("cc", "-std=gnu11") } else { ("g++", "-std=c++17") };
        let compiled = Command::new(compiler)
            .args([standard, "-O1", "-g", "-pthread", "-o"])
            .arg(&path)
            .arg(source)
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("{compiler}: {error}"));
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        Self { path, _folder: folder }
    }

    pub(crate) fn start(&self) -> Target {
        Target::start(&self.path, &[])
    }
}

/// Probes, if this process may load them; else says why not.
pub(crate) fn prober() -> Option<Prober> {
    Prober::load().inspect_err(|why| println!("skipped: {why}")).ok()
}

/// The first two arguments of a function.
pub(crate) fn arguments() -> FetchProgram {
    reads::program(phase::ENTRY, &[register(ARGUMENTS[0]), register(ARGUMENTS[1])])
}

/// What a function returned.
pub(crate) fn result(way: Way) -> FetchProgram {
    reads::program(way.phase(), &[register(RETURN_VALUE)])
}

/// A specification that probes climb() of throwing.cpp and jumping.c.
pub(crate) const CLIMB: &str = r#"
engine = "climber"
executable = true

[[probe]]
name = "climb"
op = "other"
signature = "uint64_t climb(uint64_t depth, uint64_t attempt)"
fields.depth = "depth"
fields.attempt = "attempt"
"#;

/// A folder with one specification.
pub(crate) fn folder_of(specification: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("test.toml"), specification).unwrap();
    folder
}

/// `gpu-agent attach` on a target, with one specification.
pub(crate) struct Agent {
    pub(crate) process: Running,
    folder: TempDir,
}

impl Agent {
    pub(crate) fn start(target: &Target, specification: &str) -> Self {
        let folder = folder_of(specification);
        let mut command = Command::new(programs::program("gpu-agent"));
        command.args(["attach", "--listen", "off", "--probe-cache", "off", "--log-filter", "trace"]);
        command
            .args(["--probe-engines", "all", "--pid", &target.pid().to_string(), "--probes"])
            .arg(folder.path());
        command.arg("--json-log").arg(folder.path().join("log"));
        Self { process: Running::start(&mut command), folder }
    }

    /// Waits until there are breakpoints in a function that has none where it is as `bare`.
    pub(crate) fn until_probed(&mut self, target: &Target, function: &str, bare: &[u8]) {
        self.process.until("probes", |_| (target.text(function) != bare).then_some(()));
    }

    /// Ends it in good order; gives its log.
    pub(crate) fn stop(self) -> Vec<Value> {
        self.process.signal(Signal::INT);
        let finished = self.process.finish();
        assert!(finished.status.success(), "{}", finished.stderr);
        json_log::lines(&std::fs::read_to_string(self.folder.path().join("log")).unwrap())
    }
}

/// Waits until a function is as it was without probes.
pub(crate) fn until_bare(target: &Target, function: &str, bare: &[u8]) {
    let started = Instant::now();
    while target.text(function) != bare {
        assert!(started.elapsed() < PATIENCE, "breakpoints remain");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The agent's way from records to calls.
pub(crate) struct Correlation {
    calls: Calls,
    correlator: Correlator,
    latest_ktime_ns: u64,
}

impl Correlation {
    /// Of the records of these attachments.
    pub(crate) fn of(attached: &Attached) -> Self {
        let mut calls = Calls::default();
        for slot in &attached.slots {
            let has_exit = attached
                .slots
                .iter()
                .any(|other| other.phase != phase::ENTRY && Arc::ptr_eq(&other.call, &slot.call));
            calls.insert(slot.slot, slot.generation, Arc::clone(&slot.call), has_exit);
        }
        Self { calls, correlator: Correlator::new(Limits::default()), latest_ktime_ns: 0 }
    }

    pub(crate) fn observe(&mut self, watched: &Watched) {
        for record in &watched.records {
            self.correlator.observe(&record.header, &record.payload, &self.calls, |_, _| {});
            self.latest_ktime_ns = self.latest_ktime_ns.max(record.header.ktime_ns);
        }
    }

    /// What it has counted when long enough has passed.
    pub(crate) fn settled(&mut self) -> Counts {
        self.correlator.tick(self.latest_ktime_ns + 2 * PATIENCE_NS, |_, _| {});
        self.correlator.counts()
    }

    /// What it has counted at the end of a process.
    pub(crate) fn ended(mut self, process: u32) -> Counts {
        self.correlator.end_process(process, |_, _| {});
        assert_eq!(self.correlator.open(), 0);
        self.correlator.counts()
    }
}
