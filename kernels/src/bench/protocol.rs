//! The program `gpu-agent-kernel-bench`. Enter: a command line, and with `--interactive` lines on stdin; leave: a
//! line per case on stdout, JSON or a table row. Refuses unknown cases by listing the known ones; with
//! `--interactive`, a line that it cannot read gets a JSON line with `error`, and the program goes on.
//!
//! Interactive protocol, line by line: the program prints `ready`; then for each `run CASE ITERATIONS` it prints one
//! JSON object; at the end of its input it exits with status 0.

use std::io::{BufRead, Write};
use std::rc::Rc;

use clap::Parser;
use serde_json::{Value, json};

use super::case::{Case, Size, cases};
use super::measure::{Measurement, Prepared, Summary};
use crate::launch::LaunchError;
use crate::launch::runtime::{Context, Stream, initialise};

/// Times the bundled kernels on a CUDA device, real or simulated, and compares their results with the CPU reference.
#[derive(Clone, Debug, Parser)]
#[command(name = "gpu-agent-kernel-bench", version)]
struct Options {
    /// Case to run, or `all`; may be given several times.
    #[arg(long = "case", default_value = "all")]
    cases: Vec<String>,
    /// Samples of each case.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    iterations: u32,
    /// Iterations before the first sample.
    #[arg(long, default_value_t = 5)]
    warmup: u32,
    /// Iterations within a sample, between two events.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: u32,
    /// Size of the tensors; without it, small on a simulated device and large on a real one.
    #[arg(long)]
    size: Option<Size>,
    /// Device to run on.
    #[arg(long, default_value_t = 0)]
    device: u32,
    /// Print JSON lines instead of a table.
    #[arg(long)]
    json: bool,
    /// Take orders on stdin; see the documentation of the crate's `bench` module.
    #[arg(long)]
    interactive: bool,
    /// Print the names of the cases and exit.
    #[arg(long)]
    list: bool,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no such case: {0}; --list names them")]
    Case(String),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error("standard input or output: {0}")]
    Io(#[from] std::io::Error),
}

/// The device the bench runs on, as its output names it.
struct Device {
    name: String,
    simulated: bool,
}

/// Runs the bench with the process's command line; returns the exit status: 0; 1 where a CUDA call failed; 2 for a
/// command line it refuses, no driver, or no such device.
#[must_use]
pub fn main() -> u8 {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            let _: std::io::Result<()> = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    match run(&options) {
        Ok(()) => 0,
        Err(failure) => {
            eprintln!("gpu-agent-kernel-bench: {failure}");
            if let Some(source) = std::error::Error::source(&failure) {
                eprintln!("  caused by: {source}");
            }
            match failure {
                Failure::Case(_) | Failure::Launch(LaunchError::NoLibrary | LaunchError::NoDevice { .. }) => {
                    2
                }
                _ => 1,
            }
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    if options.list {
        for case in cases(Size::Small) {
            writeln!(stdout, "{}", case.name())?;
        }
        return Ok(());
    }
    select(options, Size::Small)?;
    initialise()?;
    let context = Context::new(options.device)?;
    let device = Device { name: context.device_name().to_owned(), simulated: context.is_simulated() };
    if device.simulated {
        eprintln!(
            "gpu-agent-kernel-bench: the device is simulated: kernels run on the CPU, no time here is a GPU's"
        );
    }
    let size = options.size.unwrap_or(if device.simulated { Size::Small } else { Size::Large });
    let stream = Stream::new(&context)?;
    let selected = select(options, size)?;
    if options.interactive {
        let mut prepared = prepare(&selected, &stream)?;
        writeln!(stdout, "ready")?;
        stdout.flush()?;
        for line in std::io::stdin().lock().lines() {
            let answer = obey(&line?, &mut prepared, options, &device);
            writeln!(stdout, "{answer}")?;
            stdout.flush()?;
        }
        return Ok(());
    }
    if !options.json {
        writeln!(stdout, "{}", header(&device))?;
    }
    for case in &selected {
        let mut prepared = Prepared::new(case, &stream)?;
        let measurement = prepared.measure(options.iterations, options.batch, options.warmup)?;
        if options.json {
            writeln!(stdout, "{}", json_line(&measurement, &device))?;
        } else {
            writeln!(stdout, "{}", table_row(&measurement))?;
        }
        stdout.flush()?;
    }
    Ok(())
}

/// The cases that are asked for, in the order of the list.
fn select(options: &Options, size: Size) -> Result<Vec<Case>, Failure> {
    let known = cases(size);
    for name in &options.cases {
        if name != "all" && !known.iter().any(|case| case.name() == *name) {
            return Err(Failure::Case(name.clone()));
        }
    }
    let wanted = |case: &Case| options.cases.iter().any(|name| name == "all" || *name == case.name());
    Ok(known.into_iter().filter(wanted).collect())
}

fn prepare(cases: &[Case], stream: &Rc<Stream>) -> Result<Vec<Prepared>, LaunchError> {
    cases.iter().map(|case| Prepared::new(case, stream)).collect()
}

/// Does what a line of the interactive protocol says.
fn obey(line: &str, prepared: &mut [Prepared], options: &Options, device: &Device) -> Value {
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["run", name, iterations] = words.as_slice() else {
        return json!({"error": format!("expected `run CASE ITERATIONS`, found {line:?}")});
    };
    let iterations = match iterations.parse() {
        Ok(iterations) if iterations > 0 => iterations,
        _ => return json!({"error": format!("ITERATIONS is a positive number, not {iterations:?}")}),
    };
    let Some(case) = prepared.iter_mut().find(|case| case.name() == *name) else {
        return json!({"error": format!("{name} is not a prepared case")});
    };
    match case.measure(iterations, options.batch, options.warmup) {
        Ok(measurement) => json_line(&measurement, device),
        Err(error) => json!({"error": error.to_string(), "case": name}),
    }
}

fn json_line(measurement: &Measurement, device: &Device) -> Value {
    let summary = |summary: &Summary| json!({"p50": summary.p50, "mean": summary.mean, "min": summary.min});
    json!({
        "case": measurement.case,
        "device": device.name,
        "simulated": device.simulated,
        "iterations": measurement.samples,
        "batch": measurement.batch,
        "gpu_ns": summary(&measurement.gpu_ns),
        "launch_ns": summary(&measurement.launch_ns),
        "bytes": measurement.cost.bytes,
        "flops": measurement.cost.flops,
        "gb_per_second": measurement.gb_per_second(),
        "gflop_per_second": measurement.gflop_per_second(),
        "max_abs_error": measurement.error.max_absolute,
        "max_rel_error": measurement.error.max_relative,
    })
}

fn header(device: &Device) -> String {
    let note = if device.simulated { " (simulated)" } else { "" };
    format!(
        "{}{note}\n{:<36} {:>12} {:>12} {:>9} {:>10} {:>10} {:>10}",
        device.name, "case", "device ns", "launch ns", "GB/s", "GFLOP/s", "max abs", "max rel"
    )
}

fn table_row(measurement: &Measurement) -> String {
    format!(
        "{:<36} {:>12.0} {:>12.0} {:>9.2} {:>10.2} {:>10.1e} {:>10.1e}",
        measurement.case,
        measurement.gpu_ns.p50,
        measurement.launch_ns.p50,
        measurement.gb_per_second(),
        measurement.gflop_per_second(),
        measurement.error.max_absolute,
        measurement.error.max_relative,
    )
}
