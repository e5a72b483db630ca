//! The command line: what a user may ask for, and who does it.
//!
//! Enters: arguments, variables, the configuration file. Leaves: the exit status. Refuses: anything that is not said in
//! `--help`; every refusal says what to do.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::{bench, config};

pub mod document;

mod attach;
mod display;
mod doctor;
mod error;
mod hand_over;
mod inject;
mod probes;
mod run;
mod session;
mod shim_path;
mod signals;

pub use error::Error;
pub(crate) use shim_path::find as find_shim;

/// Shows what CUDA processes do on the GPU, without a change to them.
#[derive(Debug, Parser)]
#[command(name = "gpu-agent", version, about, max_term_width = 110)]
pub struct Cli {
    /// What the agent says about itself on stderr: a level, or directives in the syntax of RUST_LOG.
    #[arg(long, global = true, env = "GPU_AGENT_STDERR_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts a program with the shim in it, and reports on it and all its children until it ends.
    Run(run::Arguments),
    /// Reports on processes that run already: on GPU work, and on engines' entry points; loads the shim where it is missing (--inject).
    Attach(attach::Arguments),
    /// Has the shim of a process let go of CUPTI, whichever agent armed it, until somebody attaches again.
    Detach(hand_over::Detach),
    /// Lends CUPTI of a process to another profiler, and takes it back.
    Yield(hand_over::Yield),
    /// Says what can be seen on this host, or in a process, what not, and what to do about it.
    Doctor(doctor::Arguments),
    /// Says which functions of inference engines would be probed in a process, and what would be read there.
    Probes(probes::Arguments),
    /// Runs the bundled kernels bare, with the shim dormant and with it armed, and prints what it costs.
    Bench(bench::Arguments),
}

/// Options of every command that collects.
#[derive(Debug, Clone, Args)]
struct Common {
    /// Configuration file (TOML); flags and variables come before it.
    #[arg(long, env = "GPU_AGENT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Show a table that refreshes, on stdout.
    #[arg(long)]
    table: bool,
    /// Time between two tables, or two blocks where stdout is no terminal.
    #[arg(long, default_value = "1s", value_name = "TIME")]
    refresh: config::value::Millis,
    #[command(flatten)]
    options: config::Options,
}

impl Cli {
    /// Does what was asked for.
    pub fn execute(self) -> Result<ExitCode, Error> {
        match self.command {
            Command::Run(arguments) => run::execute(arguments),
            Command::Attach(arguments) => attach::execute(arguments),
            Command::Detach(arguments) => hand_over::detach(&arguments),
            Command::Yield(arguments) => hand_over::yield_for_a_while(&arguments),
            Command::Doctor(arguments) => doctor::execute(&arguments),
            Command::Probes(arguments) => probes::execute(arguments),
            Command::Bench(arguments) => bench::execute(arguments),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn each_variable_means_one_flag() {
        let mut command = Cli::command();
        command.build();
        for subcommand in command.get_subcommands() {
            let mut flags = BTreeMap::new();
            for argument in subcommand.get_arguments() {
                let Some(variable) = argument.get_env() else { continue };
                let before = flags.insert(variable.to_owned(), argument.get_long());
                assert_eq!(before, None, "{}: {variable:?}", subcommand.get_name());
            }
        }
    }
}
