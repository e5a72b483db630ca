//! What a shim's report means: the target's state, why, and how healthy that is.
//!
//! Enters: reports. Leaves: states with a sentence for people. Refuses: nothing: a state that is none counts as not
//! answered yet.

use gpu_agent_ring::control::{Report, ShimState};

use super::registry::State;
use crate::health::Status;
use crate::source::cupti::Target;

/// The state that the shim's report means, and why.
pub(super) fn of_report(target: &Target, report: &Report) -> (State, String) {
    let failure = || {
        let function = target.failed_function(report).unwrap_or_else(|| "a CUPTI call".to_owned());
        format!("{function} returned CUPTI status {}", report.status)
    };
    match report.state {
        Some(ShimState::Armed) => (State::Armed, String::new()),
        Some(ShimState::Busy) => (
            State::Busy,
            "another profiler (Nsight, torch.profiler, compute-sanitizer) uses CUPTI in this process; the shim tries again"
                .to_owned(),
        ),
        Some(ShimState::Yielded) => (State::Yielded, "CUPTI was lent to another profiler".to_owned()),
        Some(ShimState::Detached) => (
            State::Detached,
            "`gpu-agent detach` let this process go; `gpu-agent attach --pid` takes that back".to_owned(),
        ),
        Some(ShimState::NoCupti) => (
            State::NoCupti,
            "no libcupti was found that this driver can use; install the CUDA toolkit's or the nvidia-cuda-cupti package, or start the process anew: with one named in GPU_AGENT_CUPTI, or without the shim, and attach with --cupti-dir"
                .to_owned(),
        ),
        Some(ShimState::Failed) => (State::Failed, failure()),
        Some(ShimState::Finished) => (State::Finished, String::new()),
        Some(ShimState::Dormant) | None => (State::Arming, String::new()),
    }
}

/// What a target without a ring shows, and what it does not.
pub(super) fn of_probes(are_attached: bool) -> String {
    const UNSEEN: &str = "no shim in this process: kernels, GPU times and copies are not visible";
    if are_attached {
        format!("{UNSEEN}; calls of entry points, their host times and tensors are")
    } else {
        format!("{UNSEEN}; and no known entry point is in its files yet, new ones are watched for")
    }
}

/// What a target shows of which neither a ring nor the files can be read: nothing.
pub(super) fn of_unreadable(why: &str) -> String {
    format!("nothing is visible: no shim in this process, and its files cannot be looked at: {why}")
}

/// Whether GPU records of a target in this state flow, or will at once: executions are counted by them then.
pub(super) fn has_gpu_records(state: State) -> bool {
    match state {
        State::Arming | State::Armed | State::Finished => true,
        State::Probed
        | State::Busy
        | State::Yielded
        | State::Detached
        | State::NoCupti
        | State::Failed
        | State::LeaseLost
        | State::Replaced
        | State::Ended => false,
    }
}

/// How healthy a target in this state is.
pub(super) fn health(state: State) -> Status {
    match state {
        State::Probed | State::Arming | State::Armed | State::Finished | State::Replaced | State::Ended => {
            Status::Healthy
        }
        State::Busy | State::Yielded | State::Detached | State::LeaseLost => Status::Degraded,
        State::NoCupti => Status::Unsupported,
        State::Failed => Status::Failed,
    }
}
