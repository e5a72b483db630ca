//! The shim for a process that lacks it: whether, and from where, `attach` loads it.
//!
//! Enters: a pid, the user's wish. Leaves: an opened ring. Refuses: to touch a process that has the shim, or without being
//! asked to.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tracing::info;

use super::{Error, shim_path};
use crate::config::value::Millis;
use crate::event::Pid;
use crate::identity::Process;
use crate::inject::{self, Lock, Options};
use crate::source::cupti::{self, AttachError, Opened};

/// Whether the shim is loaded into a process that runs without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wish {
    /// Where that is safe.
    Auto,
    /// Not at all.
    Never,
    /// Also where it cannot be told whether a seccomp filter or CUDA graphs under an old CUPTI stand in the way.
    Force,
}

/// Options of commands that load the shim.
#[derive(Debug, Clone, Args)]
pub(super) struct Loading {
    /// Whether to load the shim into a process that runs without it (ptrace; see docs/operating.md).
    #[arg(long, value_enum, default_value = "auto", value_name = "WISH")]
    inject: Wish,
    /// How long to wait for a thread of the process that may be borrowed, and as long again for its dynamic linker.
    #[arg(long, default_value = "5s", value_name = "TIME")]
    inject_timeout: Millis,
    /// The shim's library; found beside this program by default.
    #[arg(long, env = "GPU_AGENT_SHIM_PATH", value_name = "FILE")]
    shim: Option<PathBuf>,
    /// A folder with libcuptis, as NVIDIA's packages lay it out, for processes that have none: the newest of their CUDA that is no
    /// newer than their driver is loaded with the shim.
    #[arg(long, env = "GPU_AGENT_CUPTI_DIR", value_name = "FOLDER")]
    cupti_dir: Option<PathBuf>,
}

impl Loading {
    /// Longest that one loading takes: it waits twice, and a little in between.
    pub(super) fn patience(&self) -> Duration {
        self.inject_timeout.duration() * 2 + Duration::from_secs(2)
    }
}

/// Opens the ring of the process, after having loaded the shim into it if need be.
pub(super) fn find(pid: Pid, loading: &Loading) -> Result<Opened, Error> {
    match cupti::find(pid) {
        Err(AttachError::NoShim { .. }) if loading.inject != Wish::Never => {}
        outcome => return Ok(outcome?),
    }
    let shim = shim_path::find(loading.shim.as_deref())?;
    let process = Process::look_up(pid).map_err(AttachError::from)?;
    let options = Options {
        timeout: loading.inject_timeout.duration(),
        force: loading.inject == Wish::Force,
        cupti_folder: loading.cupti_dir.clone(),
    };
    let lock = Lock::take(pid)?;
    // Another agent may have loaded it since the first look.
    match cupti::find(pid) {
        Err(AttachError::NoShim { .. }) => {}
        outcome => return Ok(outcome?),
    }
    let injected = inject::inject_locked(&lock, &process, &shim, options)?;
    info!(
        pid = pid.0,
        executable = &*process.executable,
        stopped_us = injected.stopped.as_micros() as u64,
        stops = injected.stops,
        total_ms = injected.total.as_millis() as u64,
        "loaded the shim into the running process"
    );
    Ok(cupti::open(process)?)
}
