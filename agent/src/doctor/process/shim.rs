//! Whether the shim is in the process, and what it says of itself.
//!
//! Enters: the process. Leaves: a line, versions. Refuses: to take its lease.

use gpu_agent_ring::control::ShimState;

use crate::doctor::Line;
use crate::identity::Process;
use crate::inject::cupti::Cuda;
use crate::source::cupti::{self, AttachError, Opened};

/// See the module.
pub(super) enum Shim {
    /// Not there.
    Absent,
    /// There, without a ring yet.
    Waiting,
    /// There, with a ring.
    Ready(Box<Opened>),
    /// There, with a ring that cannot be used.
    Unusable(AttachError),
}

impl Shim {
    pub(super) fn of(process: &Process, cuda: &Cuda) -> Self {
        match cupti::find(process.pid) {
            Ok(opened) => Self::Ready(Box::new(opened)),
            Err(AttachError::NotYet { .. } | AttachError::NoControl { .. }) => Self::Waiting,
            Err(error) if !error.has_no_ring() && cuda.has_shim => Self::Unusable(error),
            Err(_) if cuda.has_shim => Self::Waiting,
            Err(_) => Self::Absent,
        }
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// `(cuptiGetVersion, cuDriverGetVersion)`, 0 where the shim has not asked yet.
    pub(super) fn versions(&self) -> (u32, u32) {
        match self {
            Self::Ready(opened) => opened.reader.versions(),
            _ => (0, 0),
        }
    }

    pub(super) fn line(&self) -> Line {
        match self {
            Self::Absent => Line::ok("shim", "not loaded"),
            Self::Waiting => Line::degraded(
                "shim",
                "loaded, but without a ring: CUDA is not initialised yet, or shared memory could not be had",
                "attach with --wait",
            ),
            Self::Unusable(error) => {
                Line::no("shim", error.to_string(), "start the process anew with the shim of this agent")
            }
            Self::Ready(opened) => of_state(opened.control.report().state),
        }
    }
}

fn of_state(state: Option<ShimState>) -> Line {
    match state {
        Some(ShimState::Armed) => Line::ok("shim", "loaded, armed by an agent: GPU records flow"),
        Some(ShimState::Dormant) => Line::ok("shim", "loaded, dormant: no agent is attached"),
        Some(ShimState::Finished) => Line::ok("shim", "loaded; the process has ended its CUDA work"),
        Some(ShimState::Yielded) => Line::degraded(
            "shim",
            "loaded, and has lent CUPTI to another profiler, as `gpu-agent yield` asked",
            "end that command, or attach with --pid, which takes it back",
        ),
        Some(ShimState::Detached) => Line::degraded(
            "shim",
            "loaded, and has let go of CUPTI, as `gpu-agent detach` asked",
            "attach with --pid, which takes it back",
        ),
        Some(ShimState::Busy) => Line::no(
            "shim",
            "loaded, but another profiler has CUPTI in this process",
            "end that one; the shim tries again by itself",
        ),
        Some(ShimState::NoCupti) => Line::no(
            "shim",
            "loaded, but found no libcupti that this driver can use",
            "install the CUPTI that belongs to its CUDA, or start it anew: with one named in GPU_AGENT_CUPTI, or without the shim, and attach with --cupti-dir",
        ),
        Some(ShimState::Failed) => Line::no(
            "shim",
            "loaded, but a CUPTI call failed, and it has undone what it enabled",
            "the agent tries again by itself; its log names the call",
        ),
        None => Line::degraded(
            "shim",
            "loaded, in a state that this agent does not know",
            "use the agent that belongs to the shim",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn states_in_which_no_records_can_flow_are_no_good() {
        for (state, verdict) in [
            (Some(ShimState::Armed), Verdict::Ok),
            (Some(ShimState::Dormant), Verdict::Ok),
            (Some(ShimState::Yielded), Verdict::Degraded),
            (Some(ShimState::Busy), Verdict::No),
            (Some(ShimState::NoCupti), Verdict::No),
            (Some(ShimState::Failed), Verdict::No),
            (None, Verdict::Degraded),
        ] {
            let line = of_state(state);
            assert_eq!(line.verdict, verdict, "{state:?}");
            assert!(verdict == Verdict::Ok || !line.fix.is_empty(), "{state:?}");
        }
    }
}
