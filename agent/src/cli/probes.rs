//! `gpu-agent probes`: which functions the agent would attach to, where, and what it would read there.
//!
//! Enters: specifications, a process or a file. Leaves: text or JSON on stdout. Refuses: to attach anything.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Error;
use crate::event::{ApiFunction, ProbeInfo};
use crate::probes::catalog::Catalog;

mod check;
mod explain;
mod list;
mod table;

/// Arguments of `probes`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists the specifications: engines, probes, operations, symbols.
    List(list::Arguments),
    /// Says what would be attached in a process or a file, where, and what not and why.
    Check(check::Arguments),
    /// Says where a probe's arguments lie on each architecture, and what is read, step by step.
    Explain(explain::Arguments),
}

/// Options of every subcommand.
#[derive(Debug, Args)]
struct Common {
    /// Folder of probe specifications: added to the bundled ones, in place of those with the same file name.
    #[arg(long, env = "GPU_AGENT_PROBES", value_name = "DIR")]
    probes: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Does what was asked for.
pub(super) fn execute(arguments: Arguments) -> Result<ExitCode, Error> {
    match arguments.command {
        Command::List(arguments) => list::execute(&arguments),
        Command::Check(arguments) => check::execute(&arguments),
        Command::Explain(arguments) => explain::execute(&arguments),
    }
}

/// The specification of a file, or all there are.
fn catalog(file: Option<&Path>, common: &Common) -> Result<Catalog, Error> {
    Ok(match file {
        Some(file) => Catalog::file(file)?,
        None => Catalog::open(common.probes.as_deref())?,
    })
}

/// What a probe's calls are: an operation, or calls of one of CUDA's APIs.
fn op(info: &ProbeInfo) -> &'static str {
    match info.api {
        None => info.class.name(),
        Some(ApiFunction { is_runtime: true, .. }) => "runtime call",
        Some(ApiFunction { is_runtime: false, .. }) => "driver call",
    }
}

/// Prints text; a reader that went away is no error.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints JSON.
fn print_json(value: &impl serde::Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(std::io::Error::other);
    print(&format!("{}\n", text.map_err(Error::system("write JSON"))?));
    Ok(())
}
