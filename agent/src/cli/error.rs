//! Why a command failed, for `main` to print.
//!
//! Enters: errors of the parts. Leaves: one type. Refuses: nothing.

use std::path::PathBuf;

use crate::terminal::plain;
use crate::{bench, config, export, inject, pipeline, source};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// What to collect.
    #[error(transparent)]
    Collect(#[from] pipeline::options::Error),
    /// What to probe.
    #[error(transparent)]
    ProbeOptions(#[from] pipeline::probe_options::Error),
    /// Two writers on one stream.
    #[error("--table and --json-log - both write to stdout; send the log to a file, or leave the table out")]
    BothOnStdout,
    /// An exporter.
    #[error(transparent)]
    Export(#[from] export::Error),
    /// A target.
    #[error(transparent)]
    Attach(#[from] source::cupti::AttachError),
    /// No target at all.
    #[error("none of the {pids} processes could be attached to; the reasons are above")]
    NoneAttached {
        /// How many there were.
        pids: usize,
    },
    /// The shim cannot be loaded into a target.
    #[error(transparent)]
    Inject(#[from] inject::Error),
    /// The pipeline.
    #[error(transparent)]
    Stopped(#[from] pipeline::Stopped),
    /// A target, in the pipeline.
    #[error(transparent)]
    Pipeline(#[from] pipeline::Error),
    /// A resource of the system.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The socket that new shims announce themselves at.
    #[error("cannot listen for new CUDA processes: {0}")]
    Announce(#[from] gpu_agent_ring::AnnounceError),
    /// The program cannot be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// The shim is nowhere.
    #[error(
        "libgpu_agent_cupti.so was not found (looked at {}); build it with `cargo build -p gpu-agent-cupti-shim`, or give its path with --shim",
        looked_at.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NoShim {
        /// Where it was looked for.
        looked_at: Vec<PathBuf>,
    },
    /// Probe specifications.
    #[error(transparent)]
    Probes(#[from] crate::probes::catalog::CatalogError),
    /// No such probe.
    #[error("there is no probe `{name}`; `gpu-agent probes list` names all")]
    NoProbe {
        /// What was asked for.
        name: String,
    },
    /// The files of a process.
    #[error(transparent)]
    Files(#[from] crate::symbols::process::ProcessError),
    /// The benchmark.
    #[error(transparent)]
    Bench(#[from] bench::Error),
}

impl Error {
    /// Exit status of the agent: where the program of `run` did not start, what a shell or `env` would exit with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Start { source, .. } if source.kind() == std::io::ErrorKind::NotFound => 127,
            Self::Start { .. } => 126,
            _ => 2,
        }
    }

    /// The message for a terminal. That about a configuration file has its lines in it; any other is one line, whatever a
    /// process calls itself.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Config(_) | Self::Probes(_) => self.to_string(),
            _ => plain(&self.to_string()).into_owned(),
        }
    }

    /// Whether there is no ring, so that at most probes tell of the process.
    #[must_use]
    pub fn has_no_ring(&self) -> bool {
        match self {
            Self::Attach(error) | Self::Pipeline(pipeline::Error::Attach(error)) => error.has_no_ring(),
            Self::Inject(_) | Self::NoShim { .. } => true,
            _ => false,
        }
    }

    /// Whether trying again a little later makes sense.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Attach(error) | Self::Pipeline(pipeline::Error::Attach(error)) => error.may_pass(),
            Self::Inject(error) => error.may_pass(),
            _ => false,
        }
    }

    /// For `map_err` on system calls.
    pub(super) fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}
