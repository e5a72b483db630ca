//! What came of the wish to take CUPTI out of a process, in words.
//!
//! Enters: a shim's report, the version of its CUPTI. Leaves: one line in the agent's log. Refuses: nothing.

use gpu_agent_ring::control::{Finalized, Report, ShimState};
use tracing::{info, warn};

use crate::event::Pid;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finalization {
    outcome: Finalized,
    /// `cuptiGetVersion`, 0 while unknown.
    cupti_version: u32,
    status: i32,
    /// By an agent that came after the one that wished it.
    is_armed_again: bool,
}

impl Finalization {
    /// As the shim reports it.
    #[must_use]
    pub fn of(report: &Report, cupti_version: u32) -> Self {
        let is_armed_again = report.state == Some(ShimState::Armed);
        Self { outcome: report.finalized, cupti_version, status: report.status, is_armed_again }
    }

    /// Whether CUPTI is out of the process, or was never in it through us.
    #[must_use]
    pub fn is_done(self) -> bool {
        matches!(self.outcome, Finalized::Done | Finalized::No) && !self.is_armed_again
    }

    /// Says it in the log.
    pub fn tell(self, pid: Pid) {
        let Self { outcome, cupti_version, status, is_armed_again } = self;
        let pid = pid.0;
        match outcome {
            _ if is_armed_again => {
                warn!(
                    pid,
                    cupti_version,
                    "CUPTI was not finalised, or is in use again: another agent has attached since"
                )
            }
            Finalized::Done => info!(pid, cupti_version, "CUPTI was taken out of the process"),
            Finalized::No => info!(pid, "the shim has not used CUPTI since; there was nothing to finalise"),
            Finalized::TooOld => warn!(
                pid,
                cupti_version,
                "CUPTI was let go but not finalised: before 12.6 (API version 24) that may crash a process with CUDA graphs"
            ),
            Finalized::NoCall => warn!(
                pid,
                cupti_version,
                "CUPTI was let go but not finalised: the process made no CUDA call in time, and only the end of one is safe; try again while it works"
            ),
            Finalized::Busy => warn!(
                pid,
                cupti_version, "CUPTI was let go but not finalised: another profiler uses it in this process"
            ),
            Finalized::Detached => warn!(
                pid,
                cupti_version,
                "CUPTI was not finalised: it was let go before by `detach`; `detach --finalize` takes it out"
            ),
            Finalized::Failed => {
                warn!(pid, cupti_version, status, "CUPTI was let go but not finalised: cuptiFinalize failed")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finalization(finalized: Finalized, state: ShimState) -> Finalization {
        let report = Report {
            state: Some(state),
            status: 0,
            function: 0,
            generation: 1,
            kinds: 0,
            armed: 1,
            finalized,
            counters: Default::default(),
        };
        Finalization::of(&report, 24)
    }

    #[test]
    fn cupti_that_stays_in_the_process_is_not_called_done() {
        for outcome in [Finalized::Done, Finalized::No] {
            assert!(finalization(outcome, ShimState::Dormant).is_done(), "{outcome:?}");
            assert!(finalization(outcome, ShimState::Detached).is_done(), "{outcome:?}");
            assert!(!finalization(outcome, ShimState::Armed).is_done(), "{outcome:?}");
        }
        for outcome in
            [Finalized::TooOld, Finalized::NoCall, Finalized::Busy, Finalized::Failed, Finalized::Detached]
        {
            assert!(!finalization(outcome, ShimState::Detached).is_done(), "{outcome:?}");
        }
    }
}
