//! `gpu-agent doctor`: what can be seen on this host or in a process, what not, and what to do.
//!
//! Enters: nothing, or pids. Leaves: text or JSON on stdout; status 0 where nothing is impossible, 1 where something is.
//! Refuses: to change anything.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use super::Error;
use crate::doctor::host::Host;
use crate::doctor::{Report, Verdict, process};
use crate::event::Pid;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Process to look at, instead of the host; may be given several times.
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
    /// Print JSON: an array of reports.
    #[arg(long)]
    json: bool,
}

/// Looks, and says what it found.
pub(super) fn execute(arguments: &Arguments) -> Result<ExitCode, Error> {
    let reports: Vec<Report> = if arguments.pid.is_empty() {
        vec![Host::this().report()]
    } else {
        arguments.pid.iter().map(|&pid| process::report(Pid(pid))).collect()
    };
    let written = if arguments.json { write_json(&reports) } else { write_text(&reports) };
    written.map_err(Error::system("write the report"))?;
    let impossible = reports.iter().any(|report| report.verdict() == Verdict::No);
    Ok(if impossible { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn write_json(reports: &[Report]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, reports)?;
    writeln!(out)
}

fn write_text(reports: &[Report]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    reports.iter().try_for_each(|report| write!(out, "{report}"))
}
