//! What came of the wish to take CUPTI out of a process, in words.
//!
//! Enters: a shim's report, the version of its CUPTI. Leaves: one line in the agent's log. Refuses: nothing.

use gpu_agent_ring::control::{Finalized, Report};
use tracing::{info, warn};

use crate::event::Pid;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finalization {
    outcome: Finalized,
    /// `cuptiGetVersion`, 0 while unknown.
    cupti_version: u32,
    status: i32,
}

impl Finalization {
    /// As the shim reports it.
    #[must_use]
    pub fn of(report: &Report, cupti_version: u32) -> Self {
        Self { outcome: report.finalized, cupti_version, status: report.status }
    }

    /// Whether CUPTI is out of the process, or was never in it through us.
    #[must_use]
    pub fn is_done(self) -> bool {
        matches!(self.outcome, Finalized::Done | Finalized::No)
    }

    /// Says it in the log.
    pub fn tell(self, pid: Pid) {
        let Self { outcome, cupti_version, status } = self;
        let pid = pid.0;
        match outcome {
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
            Finalized::Failed => {
                warn!(pid, cupti_version, status, "CUPTI was let go but not finalised: cuptiFinalize failed")
            }
        }
    }
}
