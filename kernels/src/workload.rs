//! The workload: an LLM-like decode loop with exact ground truth.
//!
//! ```text
//! options ─► worker (thread) ─► lane (stream) ─► forward ─► launch::{entry, dense, buffer, graph}
//!                │                                               │ counts each call: tally
//!                └──────────── plan: what must have been done ───┴─► report: one JSON line
//! ```
//!
//! Enters: a command line; leaves: `ready` on stdout where asked for, one JSON line on stdout at the end, and an
//! exit status: 0; 1 where a CUDA call failed or the counts differ from the plan; 2 for a command line it refuses,
//! no driver, or no such device.

mod blocks;
mod checksum;
mod forward;
mod lane;
mod options;
mod pacer;
mod plan;
mod report;
mod weights;
mod worker;

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use clap::Parser;
use half::{bf16, f16};

use crate::element::Dtype;
use crate::launch::LaunchError;
use crate::launch::runtime::{Context, initialise};

pub use options::{Options, Sizes};
pub use plan::{Plan, Progress};
use report::{DeviceNote, Placed};
use worker::{Outcome, Worker};

/// Why the workload ends early.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Options(String),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error("standard input or output: {0}")]
    Io(#[from] std::io::Error),
    #[error("a worker thread panicked")]
    Panic,
    #[error("the counts differ from the plan: they are no ground truth, and this is a bug of the workload")]
    Plan,
}

impl Failure {
    fn exit_status(&self) -> u8 {
        match self {
            Self::Options(_) | Self::Launch(LaunchError::NoLibrary | LaunchError::NoDevice { .. }) => 2,
            _ => 1,
        }
    }
}

/// Runs the workload with the process's command line; returns the exit status.
#[must_use]
pub fn main() -> u8 {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            let _: std::io::Result<()> = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    match run(options) {
        Ok(()) => 0,
        Err(failure) => {
            eprintln!("gpu-agent-workload: {failure}");
            if let Some(source) = std::error::Error::source(&failure) {
                eprintln!("  caused by: {source}");
            }
            failure.exit_status()
        }
    }
}

fn run(options: Options) -> Result<(), Failure> {
    let sizes = options.sizes().map_err(Failure::Options)?;
    let options = Arc::new(options);
    initialise()?;
    let contexts = (0..options.devices).map(Context::new).collect::<Result<Vec<_>, _>>()?;
    let devices: Vec<DeviceNote> = contexts
        .iter()
        .map(|context| DeviceNote {
            name: context.device_name().to_owned(),
            simulated: context.is_simulated(),
        })
        .collect();
    if devices.iter().any(|device| device.simulated) {
        eprintln!(
            "gpu-agent-workload: the device is simulated: kernels run on the CPU, no time here is a GPU's"
        );
    }
    let workers = (0..options.workers())
        .zip(contexts.iter().cycle())
        .map(|(index, context)| Worker {
            index,
            options: Arc::clone(&options),
            sizes,
            context: Arc::clone(context),
        })
        .collect();
    let outcomes = work(&options, workers)?;
    let placed: Vec<Placed> = outcomes
        .into_iter()
        .zip(0..)
        .map(|(outcome, index)| Placed { device: index % options.devices, outcome })
        .collect();
    drop(contexts);
    let report = report::report(&options, &devices, &placed);
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{report}")?;
    stdout.flush()?;
    if report::matches_plan(&placed) { Ok(()) } else { Err(Failure::Plan) }
}

/// Starts the workers, waits until all are ready and the go-ahead is there, and collects what they did.
fn work(options: &Options, workers: Vec<Worker>) -> Result<Vec<Outcome>, Failure> {
    let (ready, readied) = mpsc::channel();
    let count = workers.len();
    let mut threads = Vec::new();
    for worker in workers {
        let (go, gone) = mpsc::channel();
        let ready = ready.clone();
        let thread = thread::spawn(move || start(&worker, ready, &gone));
        threads.push((thread, go));
    }
    drop(ready);
    // A worker that fails before it is ready drops its end, so that fewer than all report.
    let all_ready = readied.iter().take(count).count() == count;
    if all_ready && options.wait_stdin {
        println!("ready");
        std::io::stdout().flush()?;
        std::io::stdin().lock().read_line(&mut String::new())?;
    }
    if all_ready {
        for (_, go) in &threads {
            // A worker that is gone tells why when it is joined.
            let _: Result<(), mpsc::SendError<()>> = go.send(());
        }
    }
    let mut outcomes = Vec::new();
    let mut failure = None;
    for (thread, go) in threads {
        drop(go);
        match thread.join().map_err(|_panic| Failure::Panic)? {
            Ok(outcome) => outcomes.extend(outcome),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(outcomes), |error| Err(error.into()))
}

fn start(worker: &Worker, ready: Sender<()>, go: &Receiver<()>) -> Result<Option<Outcome>, LaunchError> {
    match worker.options.dtype {
        Dtype::F16 => worker.run::<f16>(ready, go),
        Dtype::Bf16 => worker.run::<bf16>(ready, go),
        Dtype::F32 => worker.run::<f32>(ready, go),
    }
}
