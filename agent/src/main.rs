//! The `gpu-agent` program: parse, do what was asked for, exit.
//!
//! Enters: arguments. Leaves: an exit status; 2 where a command could not be carried out, 126 or 127
//! where the program of `run` did not start. Refuses: logic.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use gpu_agent::cli::Cli;
use gpu_agent::terminal;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = match EnvFilter::try_new(&cli.log) {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!("gpu-agent: --log {}: {error}", cli.log);
            return ExitCode::from(2);
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .fmt_fields(terminal::fields())
        .init();
    match cli.execute() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("gpu-agent: {}", error.shown());
            ExitCode::from(error.exit_code())
        }
    }
}
