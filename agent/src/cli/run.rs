//! `gpu-agent run -- CMD`: start a program with the shim in it, and report on it and its descendants.
//!
//! Enters: a command. Leaves: its exit status (128 + n for signal n), a report on stderr. Refuses: to outlive the program;
//! descendants that run on are let go.
//!
//! New shims announce themselves at an abstract socket that the environment names, so the first kernel of the shortest
//! process is seen: the environment also arms each shim from its first `cuInit` on, until the agent takes the lease over.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use tracing::{info, warn};

use super::session::Session;
use super::{Common, Error, display, shim_path};
use crate::event::Pid;
use crate::source::cupti::Mode;

mod announced;
mod child;

use announced::Announced;

/// How long a shim stays armed without an agent, ms: enough for the agent to come round to it.
const FIRST_LEASE_MS: u32 = 10_000;

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shim's library; found beside this program by default.
    #[arg(long, env = "GPU_AGENT_SHIM_PATH", value_name = "FILE")]
    shim: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
    /// Program and arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs the program and reports.
pub(super) fn execute(arguments: Arguments) -> Result<ExitCode, Error> {
    let shim = shim_path::find(arguments.shim.as_deref())?;
    let session = Session::start(&arguments.common, false)?;
    let announced = Announced::listen(session.pipeline.attacher())?;
    let environment = environment(&shim, session.mode, announced.name(), &|name| std::env::var_os(name));
    // Its first calls are to be seen too.
    let probes = session.pipeline.probing().is_possible();
    let child = child::Child::start(&arguments.command, &environment)?;
    info!(pid = child.pid(), shim = %shim.display(), probes, "started");
    session.pipeline.follow(Pid(child.pid().unsigned_abs()))?;
    let status = session.runtime.block_on(child.until_end(
        || {
            if arguments.common.table {
                display::show(&session.table());
            }
        },
        arguments.common.refresh.duration(),
    ))?;
    announced.finish();
    let outcome = session.finish();
    display::report(&outcome);
    Ok(ExitCode::from(child::exit_code(status)))
}

/// What the program's environment gets.
fn environment(
    shim: &Path,
    mode: Mode,
    announce: &str,
    current: &dyn Fn(&str) -> Option<OsString>,
) -> Vec<(&'static str, OsString)> {
    let mut preload = OsString::from(shim);
    if let Some(others) = current("LD_PRELOAD").filter(|others| !others.is_empty()) {
        preload.push(":");
        preload.push(others);
    }
    let mut variables = vec![
        ("LD_PRELOAD", preload),
        ("GPU_AGENT_ARM", mode.kinds().to_string().into()),
        ("GPU_AGENT_ARM_LEASE_MS", FIRST_LEASE_MS.to_string().into()),
        ("GPU_AGENT_ANNOUNCE", announce.into()),
    ];
    match current("CUDA_INJECTION64_PATH") {
        Some(other) if !other.is_empty() => {
            warn!(
                library = %other.display(),
                "CUDA_INJECTION64_PATH is set already and stays; another tool may hold CUPTI"
            );
        }
        _ => variables.push(("CUDA_INJECTION64_PATH", shim.into())),
    }
    variables
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;

    use super::environment;
    use crate::source::cupti::Mode;

    fn variable(set: &[(&'static str, &str)], name: &str) -> Option<String> {
        let current =
            |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
        let all = environment(Path::new("/lib/shim.so"), Mode::Kernels, "socket", &current);
        all.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value.into_string().unwrap())
    }

    #[test]
    fn the_program_gets_the_shim_and_the_socket() {
        assert_eq!(variable(&[], "LD_PRELOAD").as_deref(), Some("/lib/shim.so"));
        assert_eq!(variable(&[], "CUDA_INJECTION64_PATH").as_deref(), Some("/lib/shim.so"));
        assert_eq!(variable(&[], "GPU_AGENT_ARM").as_deref(), Some("15"));
        assert_eq!(variable(&[], "GPU_AGENT_ANNOUNCE").as_deref(), Some("socket"));
    }

    #[test]
    fn what_the_user_preloads_or_injects_stays() {
        assert_eq!(variable(&[("LD_PRELOAD", "a.so")], "LD_PRELOAD").as_deref(), Some("/lib/shim.so:a.so"));
        assert_eq!(variable(&[("CUDA_INJECTION64_PATH", "nsys.so")], "CUDA_INJECTION64_PATH"), None);
    }
}
