//! `gpu-agent detach` and `gpu-agent yield`: CUPTI of a process for somebody else, for good or for a while.
//!
//! Enters: pids. Leaves: processes whose shim has nothing enabled and holds no subscription, whichever agent had it armed.
//! Refuses: processes without a shim, which have nothing to hand over.
//!
//! The wish is a word on the shim's control page, and outlives the command. An agent that is attached keeps its lease, sees
//! that the shim has let go, and reports so; it does not arm it again before the wish is taken back: by the end of
//! `yield`, or by `attach --pid`. `yield` neither takes the place of a `detach` nor takes one back.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use gpu_agent_ring::control::{HandOver, Report, ShimState};
use tracing::{info, warn};

use super::Error;
use super::signals::Signals;
use crate::config::value::Millis;
use crate::event::Pid;
use crate::source::cupti::{self, Finalization, Opened};

/// Longest wait for a shim to flush and let go; it waits for a call of the process meanwhile, if it is to finalise CUPTI.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two looks at it.
const LOOK: Duration = Duration::from_millis(5);

/// Arguments of `detach`.
#[derive(Debug, Args)]
pub(super) struct Detach {
    /// Process to let go; may be given several times.
    #[arg(long, required = true, value_name = "PID")]
    pid: Vec<u32>,
    /// Take CUPTI out of the process too (cuptiFinalize), at the end of its next CUDA call; needs CUPTI 12.6.
    #[arg(long)]
    finalize: bool,
}

/// Arguments of `yield`.
#[derive(Debug, Args)]
pub(super) struct Yield {
    /// Process whose CUPTI another profiler needs; may be given several times.
    #[arg(long, required = true, value_name = "PID")]
    pid: Vec<u32>,
    /// Take CUPTI back after this long; without it, when this command is interrupted.
    #[arg(long, value_name = "TIME")]
    duration: Option<Millis>,
}

/// Has the shims let go, until somebody attaches again.
pub(super) fn detach(arguments: &Detach) -> Result<ExitCode, Error> {
    let opened = open(&arguments.pid)?;
    let wish = if arguments.finalize { HandOver::DetachAndFinalize } else { HandOver::Detach };
    Ok(hand_over(&opened, wish))
}

/// Has the shims let go, and take CUPTI back at the end.
pub(super) fn yield_for_a_while(arguments: &Yield) -> Result<ExitCode, Error> {
    let opened = open(&arguments.pid)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::system("wait for signals"))?;
    // Before anything is wished, so that none can end this command between that and the way back.
    let mut signals = {
        let _entered = runtime.enter();
        Signals::catch()?
    };
    let outcome = hand_over(&opened, HandOver::Yield);
    runtime.block_on(async {
        let over = async {
            match &arguments.duration {
                Some(duration) => tokio::time::sleep(duration.duration()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = signals.next() => {}
            () = over => {}
        }
    });
    for opened in &opened {
        if opened.control.change_hand_over(HandOver::Yield, HandOver::None) {
            info!(pid = opened.process.pid.0, "the shim may have CUPTI again");
        }
    }
    Ok(outcome)
}

fn open(pids: &[u32]) -> Result<Vec<Opened>, Error> {
    pids.iter().map(|&pid| Ok(cupti::find(Pid(pid))?)).collect()
}

/// Status 1 if one of the shims does not answer, or CUPTI of one was not finalised though that was wished.
fn hand_over(opened: &[Opened], wish: HandOver) -> ExitCode {
    for opened in opened {
        if wish == HandOver::Yield {
            // Any other wish has it let go as well, and may be meant to last longer.
            let _ = opened.control.change_hand_over(HandOver::None, wish);
        } else {
            opened.control.hand_over(wish, opened.ending());
        }
    }
    let deadline = Instant::now() + PATIENCE;
    let mut outcome = ExitCode::SUCCESS;
    for opened in opened {
        if !is_let_go(opened, wish, deadline) {
            outcome = ExitCode::FAILURE;
        }
    }
    outcome
}

/// Waits until the shim has let go, and says what came of it; whether all that was wished was done.
fn is_let_go(opened: &Opened, wish: HandOver, deadline: Instant) -> bool {
    let Opened { process, control, .. } = opened;
    let answer = || {
        let report = control.report();
        let let_go = report.generation == control.generation() && report.state != Some(ShimState::Armed);
        let_go.then_some(report)
    };
    let mut answered = answer();
    while answered.is_none() && Instant::now() < deadline && !process.has_ended() {
        std::thread::sleep(LOOK);
        answered = answer();
    }
    let Some(report) = answered else {
        warn!(
            pid = process.pid.0,
            "the shim does not answer: the process has ended, or CUPTI hangs in a flush"
        );
        return false;
    };
    info!(pid = process.pid.0, executable = %process.executable, "the shim has let go of CUPTI");
    wish != HandOver::DetachAndFinalize || tell_of_finalization(opened, &report)
}

fn tell_of_finalization(opened: &Opened, report: &Report) -> bool {
    let finalization = Finalization::of(report, opened.reader.versions().0);
    finalization.tell(opened.process.pid);
    finalization.is_done()
}
