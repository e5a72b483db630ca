//! `gpu-agent attach`: report on processes that run already.
//!
//! Enters: pids. Leaves: a report until the processes end, the duration is over, or a signal comes. Refuses: processes it
//! cannot attach to, each with the reason; with `--wait` it tries again while that may help. A signal lets the loading that
//! is under way come to its end, a second one does not.
//!
//! ```text
//!  --pid  ─► named  ─┐
//!                    ├─► crew: a few threads ─► join: ring, shim, probes ─► pipeline
//!  --all  ─► follow ─┘
//! ```

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, interval, sleep_until};
use tracing::{error, info, warn};

use super::session::Session;
use super::signals::Signals;
use super::{Common, Error, display, inject};
use crate::config::value::Millis;
use crate::pipeline;

mod crew;
mod follow;
mod join;
mod known;
mod named;

use follow::Follower;
use join::Joining;
use named::Named;

/// Time between two looks at what has ended.
const LOOK: Duration = Duration::from_millis(100);
/// Time between two looks at all processes of the host.
const GLANCE: Duration = Duration::from_secs(1);

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
    /// Wait this long for a process that has not initialised CUDA yet, that cannot be entered for now, or that another agent
    /// holds.
    #[arg(long, default_value = "0", value_name = "TIME")]
    wait: Millis,
    #[command(flatten)]
    loading: inject::Loading,
    #[command(flatten)]
    common: Common,
}

/// Attaches and reports. Status 1 where some of the processes could not be attached to.
pub(super) fn execute(arguments: Arguments) -> Result<ExitCode, Error> {
    let session = Session::start(&arguments.common, arguments.finalize)?;
    let code = session.runtime.block_on(until_end(&session, &arguments))?;
    let outcome = session.finish();
    display::report(&outcome);
    Ok(code)
}

/// Attaches, and shows the table until something ends the session.
async fn until_end(session: &Session, arguments: &Arguments) -> Result<ExitCode, Error> {
    // Before anything is touched, so that no signal can end the agent while it holds a thread.
    let mut signals = Signals::catch()?;
    info!(processes = arguments.pid.len(), all = arguments.all, "attaching");
    let joining = Joining {
        attacher: session.pipeline.attacher(),
        loading: arguments.loading.clone(),
        probing: session.pipeline.probing(),
        takes_back: false,
    };
    // Who asks for this very process takes back what `detach` wished.
    let asked = Joining { takes_back: true, ..joining.clone() };
    let mut named = Named::start(&arguments.pid, asked, arguments.wait.duration())?;
    let mut follower = arguments.all.then(|| Follower::start(joining)).transpose()?;
    let mut end = None;
    let (mut looks, mut glances) = (interval(LOOK), interval(GLANCE));
    let mut tables = interval(arguments.common.refresh.duration().max(LOOK));
    let reason = loop {
        // It counts from when everybody is attached.
        if end.is_none() && !named.is_waiting() {
            end = arguments.duration.map(|duration| Instant::now() + duration.duration());
        }
        tokio::select! {
            reason = signals.next() => break reason,
            () = over(end) => break "the duration is over",
            answered = named.next(), if named.is_waiting() => match answered {
                // Those that come are followed all the same.
                Err(error) if follower.is_some() => error!(%error, "not attached"),
                answered => answered?,
            },
            () = answer_of(&mut follower) => {}
            _ = tables.tick(), if arguments.common.table => display::show(&session.table()),
            _ = glances.tick() => if let Some(follower) = &mut follower { follower.glance() },
            _ = looks.tick(), if follower.is_none() && !named.is_waiting() => {
                let ended = |target: &pipeline::TargetStatus| target.state == pipeline::State::Ended;
                if session.pipeline.shared().registry().targets().iter().all(ended) {
                    break "all targets have ended";
                }
            }
        }
    };
    info!(reason, "stopping");
    let code = named.exit_code();
    let under_way = async {
        named.end().await;
        if let Some(follower) = follower {
            follower.end().await;
        }
    };
    tokio::select! {
        () = under_way => {}
        // Each of the two waits of an injection, and what comes between them.
        () = tokio::time::sleep(arguments.loading.patience()) => {
            warn!("a process that is stuck is left behind");
        }
        _ = signals.next() => warn!("the shim may have been loaded by halves: see docs/operating.md"),
    }
    Ok(code)
}

async fn over(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}

async fn answer_of(follower: &mut Option<Follower>) {
    match follower {
        Some(follower) => follower.next().await,
        None => std::future::pending().await,
    }
}
