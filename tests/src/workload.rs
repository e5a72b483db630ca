//! The bundled workload on the simulated device.
//!
//! Enters: settings of the simulated device, arguments. Leaves: a process that waits, then works, then tells exactly
//! what it did. Refuses: a real device.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::process::{Finished, Running};
use crate::programs;

/// How a workload is started.
#[derive(Debug, Clone, Default)]
pub struct Start {
    simulator: String,
    arguments: Vec<OsString>,
    shim: bool,
    program: Option<PathBuf>,
    variables: Vec<(OsString, OsString)>,
}

impl Start {
    /// With the shim in it, on a simulated device that is set up by `simulator` (see tests/cuda-sim/README.md).
    #[must_use]
    pub fn new(simulator: &str) -> Self {
        Self { simulator: simulator.to_owned(), shim: true, ..Self::default() }
    }

    /// Without the shim.
    #[must_use]
    pub fn bare(mut self) -> Self {
        self.shim = false;
        self
    }

    /// Another program than the workload, to be started by `gpu-agent run`.
    #[must_use]
    pub fn program(mut self, program: &str) -> Self {
        self.program = Some(program.into());
        self
    }

    /// With these arguments too.
    #[must_use]
    pub fn arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// With this environment variable too.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Starts `program` in the environment of the simulated device: the workload, or the agent that starts it.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("LD_LIBRARY_PATH", programs::simulator()).env("GPU_AGENT_CUDA_SIM", &self.simulator);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The command line of the program itself.
    #[must_use]
    pub fn line(&self) -> Vec<OsString> {
        let program = self.program.clone().unwrap_or_else(|| programs::program("gpu-agent-workload"));
        let mut line = vec![program.into()];
        line.extend(self.arguments.iter().cloned());
        line
    }

    /// Starts it, and waits until it has allocated everything and waits for the word to go.
    #[must_use]
    pub fn ready(&self) -> Workload {
        let mut command = self.command(&programs::program("gpu-agent-workload"));
        command.args(&self.arguments).arg("--wait-stdin");
        if self.shim {
            command.env("LD_PRELOAD", programs::program("libgpu_agent_cupti.so"));
        }
        let mut process = Running::start(&mut command);
        process.until("ready", |process| process.stdout().contains("ready\n").then_some(()));
        Workload { process }
    }
}

/// A running workload.
#[derive(Debug)]
pub struct Workload {
    process: Running,
}

impl Workload {
    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Lets it work.
    pub fn go(&mut self) {
        self.process.tell("go\n");
    }

    /// The process.
    pub fn process(&mut self) -> &mut Running {
        &mut self.process
    }

    /// Waits for its end, which must be a good one; its report.
    #[must_use]
    pub fn finish(self) -> Value {
        report(&self.process.finish())
    }
}

/// The report in what a workload printed.
#[must_use]
pub fn report(finished: &Finished) -> Value {
    assert!(finished.status.success(), "{}\n-- stderr\n{}", finished.status, finished.stderr);
    let line = finished.stdout.lines().find(|line| line.starts_with("{\"workload\"")).expect("a report");
    let report: Value = serde_json::from_str(line).expect("a report");
    assert_eq!(report["workload"]["simulated"], true);
    report["workload"].clone()
}
