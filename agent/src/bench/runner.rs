//! One process of the kernel bench, and the agent that holds its shim armed.
//!
//! Enters: a configuration, orders. Leaves: answers. Refuses: to measure an armed configuration whose shim is not armed.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{Arguments, Configuration, Error};
use crate::event::Pid;
use crate::export::EventSender;
use crate::pipeline::{self, Pipeline, State};
use crate::source::cupti;

/// How long a shim may take to arm.
const ARMING: Duration = Duration::from_secs(10);

/// What the bench says of one kernel.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Answer {
    pub(super) device: String,
    pub(super) simulated: bool,
    pub(super) gpu_ns: Times,
    pub(super) launch_ns: Times,
    pub(super) gb_per_second: f64,
    pub(super) max_abs_error: f64,
    pub(super) max_rel_error: f64,
}

/// Nanoseconds an iteration.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Times {
    pub(super) p50: f64,
}

/// A waiting process.
pub(super) struct Runner {
    configuration: Configuration,
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Holds the lease while it lives.
    pipeline: Option<Pipeline>,
}

/// Names of the kernels that `wanted` means.
pub(super) fn cases(program: &Path, wanted: &[String]) -> Result<Vec<String>, Error> {
    let configuration = Configuration::Bare.name();
    let list = Command::new(program)
        .arg("--list")
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| Error::Program { what: "start", configuration, source })?;
    let known: Vec<String> = String::from_utf8_lossy(&list.stdout).lines().map(str::to_owned).collect();
    let unknown = wanted.iter().find(|name| *name != "all" && !known.contains(name));
    match unknown {
        Some(name) => Err(Error::Answer { configuration, problem: format!("knows no case {name}") }),
        None => Ok(known
            .into_iter()
            .filter(|name| wanted.iter().any(|wanted| wanted == "all" || wanted == name))
            .collect()),
    }
}

impl Runner {
    /// Starts the process, waits until its kernels are ready, and arms its shim where the configuration wants it.
    pub(super) fn start(
        configuration: Configuration,
        program: &Path,
        shim: &Path,
        arguments: &Arguments,
    ) -> Result<Self, Error> {
        let failed =
            |what| move |source| Error::Program { what, configuration: configuration.name(), source };
        let mut command = Command::new(program);
        command.arg("--interactive").arg("--device").arg(arguments.device.to_string());
        for case in &arguments.cases {
            command.arg("--case").arg(case);
        }
        if configuration != Configuration::Bare {
            command.env("LD_PRELOAD", shim).env("CUDA_INJECTION64_PATH", shim);
            // The others would say the same: which device, and whether it is simulated.
            command.stderr(Stdio::null());
        }
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed("start"))?;
        let gone = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let orders = child.stdin.take().ok_or_else(gone).map_err(failed("talk to"))?;
        let answers = child.stdout.take().ok_or_else(gone).map_err(failed("talk to"))?;
        let mut runner =
            Self { configuration, child, orders, answers: BufReader::new(answers), pipeline: None };
        let ready = runner.line()?;
        if ready != "ready" {
            return Err(runner.wrong(format!("said {ready:?} instead of \"ready\"")));
        }
        if let Configuration::Armed(mode) = configuration {
            runner.pipeline = Some(runner.arm(mode)?);
        }
        Ok(runner)
    }

    /// Lets one kernel run.
    pub(super) fn measure(&mut self, case: &str, iterations: u32) -> Result<Answer, Error> {
        let configuration = self.configuration.name();
        writeln!(self.orders, "run {case} {iterations}")
            .and_then(|()| self.orders.flush())
            .map_err(|source| Error::Program { what: "talk to", configuration, source })?;
        let line = self.line()?;
        serde_json::from_str(&line).map_err(|error| self.wrong(format!("answered {line:?} ({error})")))
    }

    /// Ends the process, and makes sure that an armed one was armed to the end.
    pub(super) fn finish(self) -> Result<(), Error> {
        self.pipeline.as_ref().map_or(Ok(()), |pipeline| armed(pipeline, self.configuration))
    }

    fn arm(&self, mode: cupti::Mode) -> Result<Pipeline, Error> {
        let configuration = self.configuration.name();
        let failed = |source: pipeline::Error| Error::Arm { configuration, source: Box::new(source) };
        let mut config = pipeline::options::Options::default().resolve()?;
        config.lease.mode = mode;
        let pipeline = Pipeline::start(config, Vec::new(), EventSender::disabled())
            .map_err(|source| Error::Program { what: "start a thread for", configuration, source })?;
        let opened = cupti::find(Pid(self.child.id())).map_err(|error| failed(error.into()))?;
        pipeline.attach(opened, false).map_err(failed)?;
        let deadline = Instant::now() + ARMING;
        loop {
            match armed(&pipeline, self.configuration) {
                Ok(()) => return Ok(pipeline),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    fn line(&mut self) -> Result<String, Error> {
        let mut line = String::new();
        let configuration = self.configuration.name();
        let read = self.answers.read_line(&mut line).map_err(|source| Error::Program {
            what: "listen to",
            configuration,
            source,
        })?;
        if read == 0 {
            let status =
                self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
            return Err(self.wrong(format!("ended ({status})")));
        }
        Ok(line.trim_end().to_owned())
    }

    fn wrong(&self, problem: String) -> Error {
        Error::Answer { configuration: self.configuration.name(), problem }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // A process that has ended by itself needs no signal.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn armed(pipeline: &Pipeline, configuration: Configuration) -> Result<(), Error> {
    let targets = pipeline.shared().registry().targets();
    match targets.first() {
        Some(target) if target.state == State::Armed => Ok(()),
        Some(target) => Err(Error::NotArmed {
            configuration: configuration.name(),
            state: target.state,
            why: target.why.clone(),
        }),
        None => Err(Error::NotArmed {
            configuration: configuration.name(),
            state: State::Ended,
            why: "the process is gone".to_owned(),
        }),
    }
}
