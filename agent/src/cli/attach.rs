//! `gpu-agent attach`: report on processes that run already.
//!
//! Enters: pids. Leaves: a report until the processes end, the duration is over, or a signal comes. Refuses: processes it
//! cannot attach to, each with the reason; with `--wait` it tries again while that may help.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use gpu_agent_ring::control::HandOver;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::follow::Follower;
use super::session::Session;
use super::{Common, Error, display, inject};
use crate::config::value::Millis;
use crate::event::Pid;
use crate::identity::Process;
use crate::pipeline;
use crate::source::cupti::AttachError;

/// Time between two looks at what has ended.
const LOOK: Duration = Duration::from_millis(100);

/// Arguments of `attach`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Process to report on; may be given several times.
    #[arg(long, required_unless_present = "all", value_name = "PID")]
    pid: Vec<u32>,
    /// Report on every CUDA process of this host, those that run and those that come.
    #[arg(long)]
    all: bool,
    /// Detach after this long.
    #[arg(long, visible_alias = "detach-after", value_name = "TIME")]
    duration: Option<Millis>,
    /// At the end take CUPTI out of the processes too (cuptiFinalize), at the end of a CUDA call of theirs; needs CUPTI 12.6.
    #[arg(long)]
    finalize: bool,
    /// Wait this long for a process that has not initialised CUDA yet (unless it can be probed meanwhile), or that another agent
    /// holds.
    #[arg(long, default_value = "0", value_name = "TIME")]
    wait: Millis,
    #[command(flatten)]
    loading: inject::Loading,
    #[command(flatten)]
    common: Common,
}

/// Attaches and reports.
pub(super) fn execute(arguments: Arguments) -> Result<ExitCode, Error> {
    let session = Session::start(&arguments.common, arguments.finalize)?;
    for &pid in &arguments.pid {
        attach(&session, Pid(pid), &arguments)?;
    }
    let follower = arguments.all.then(|| Follower::start(&session, arguments.loading.clone())).transpose()?;
    let stop = session.runtime.block_on(until_end(&session, &arguments))?;
    drop(follower);
    info!(reason = stop, "stopping");
    let outcome = session.finish();
    display::report(&outcome);
    Ok(ExitCode::SUCCESS)
}

/// A process of which no ring can be had yet is probed meanwhile, where that is possible.
fn attach(session: &Session, pid: Pid, arguments: &Arguments) -> Result<(), Error> {
    let deadline = Instant::now() + arguments.wait.duration();
    let mut probed = false;
    loop {
        let attached = inject::find(pid, &arguments.loading).and_then(|opened| {
            // Who asks for this very process takes back what `detach` wished.
            opened.control.hand_over(HandOver::None, 0);
            session.pipeline.attach(opened, false).map_err(Error::from)
        });
        let error = match attached {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        if !probed && error.has_no_ring() && session.pipeline.can_probe() {
            session.pipeline.probe(Process::look_up(pid).map_err(AttachError::from)?)?;
            probed = true;
        }
        if error.may_pass() && Instant::now() < deadline {
            warn!(pid = pid.0, %error, "not yet");
            std::thread::sleep(LOOK);
        } else if probed {
            warn!(pid = pid.0, %error, "no GPU times, only what probes see");
            return Ok(());
        } else {
            return Err(error);
        }
    }
}

/// Shows the table until something ends the session; says what.
async fn until_end(session: &Session, arguments: &Arguments) -> Result<&'static str, Error> {
    let caught = Error::system("catch signals");
    let mut terminate = signal(SignalKind::terminate()).map_err(caught)?;
    let end = arguments.duration.map(|duration| tokio::time::Instant::now() + duration.duration());
    let mut looks = tokio::time::interval(LOOK);
    let mut tables = tokio::time::interval(arguments.common.refresh.duration().max(LOOK));
    loop {
        let over = async {
            match end {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok("interrupted"),
            _ = terminate.recv() => return Ok("terminated"),
            () = over => return Ok("the duration is over"),
            _ = tables.tick(), if arguments.common.table => display::show(&session.table()),
            _ = looks.tick(), if !arguments.all => {
                let ended = |target: &pipeline::TargetStatus| target.state == pipeline::State::Ended;
                if session.pipeline.shared().registry().targets().iter().all(ended) {
                    return Ok("all targets have ended");
                }
            }
        }
    }
}
