//! What is collected from a target, and how it is held.
//!
//! Enters: a user's wishes. Leaves: the lease that the control page takes. Refuses: nothing: ranges are checked where the
//! options are read.

use std::time::Duration;

use gpu_agent_ring::layout::{ending, kinds};

/// What to collect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
pub enum Mode {
    /// Kernels, copies, memsets, allocations.
    #[value(name = "kernels")]
    #[serde(rename = "kernels")]
    Kernels,
    /// The same and API calls, waits, CUPTI's overhead.
    #[default]
    #[value(name = "kernels+api")]
    #[serde(rename = "kernels+api")]
    KernelsAndApi,
    /// Whole graph launches instead of their kernels.
    #[value(name = "graph")]
    #[serde(rename = "graph")]
    Graph,
}

impl Mode {
    /// Bits of [`kinds`].
    #[must_use]
    pub fn kinds(self) -> u32 {
        let gpu = kinds::KERNEL | kinds::MEMCPY | kinds::MEMSET | kinds::MEMORY;
        match self {
            Self::Kernels => gpu,
            Self::KernelsAndApi => gpu | kinds::API | kinds::SYNC | kinds::OVERHEAD,
            Self::Graph => gpu | kinds::GRAPH,
        }
    }
}

/// How a target is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// What to collect.
    pub mode: Mode,
    /// Time between flushes in the target.
    pub flush_period: Duration,
    /// How long the shim stays armed if this agent dies.
    pub duration: Duration,
    /// Share of one core that the shim may spend, parts per million; 0 = no limit.
    pub budget_ppm: u32,
    /// Whether CUPTI is taken out of the process at the end (`cuptiFinalize`).
    pub finalize: bool,
}

impl Default for Lease {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            flush_period: Duration::from_millis(100),
            duration: Duration::from_secs(3),
            budget_ppm: 0,
            finalize: false,
        }
    }
}

impl Lease {
    /// What the control page is told, with further bits of [`ending`].
    pub(super) fn request(&self, ending: u32) -> gpu_agent_ring::Lease {
        gpu_agent_ring::Lease {
            kinds: self.mode.kinds(),
            flush_period: self.flush_period,
            budget_ppm: self.budget_ppm,
            duration: self.duration,
            ending: ending | if self.finalize { ending::FINALIZE } else { 0 },
        }
    }
}
