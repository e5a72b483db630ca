//! What the shim is doing, and what it does next: the state machine without any CUPTI in it.
//!
//! Enters: the present phase, the agent's wish, the time. Leaves: an [`Action`], and how long to sleep. Refuses: to be
//! armed without a lease.
//!
//! | phase | lease over | lease, yield wished | lease |
//! |---|---|---|---|
//! | Dormant | stay | → Yielded | arm |
//! | Armed | disarm → Dormant | disarm → Yielded | flush; other kinds wished: disarm, arm |
//! | Yielded | → Dormant | stay | arm |
//! | Busy, NoCupti | → Dormant | → Yielded | arm, once a second |
//! | Failed | → Dormant | stay | stay |
//! | Finished | stay | stay | stay |
//!
//! *arm* leads to Armed, to Busy (another profiler has subscribed), to NoCupti (none can be used), or to Failed (a call
//! failed, and all was undone). A call that fails while armed leads to Failed too. Only Dormant and Finished sleep
//! without a time-out.

use core::time::Duration;

use gpu_agent_ring::control::{ShimState, Wish};

/// Time between two attempts to arm.
pub const RETRY: Duration = Duration::from_secs(1);

/// A [`ShimState`] with what has to be remembered in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No lease: nothing is subscribed, no kind is enabled.
    Dormant,
    /// Records flow.
    Armed {
        /// The kinds that were wished, as the agent wrote them.
        wished: u32,
    },
    /// Handed CUPTI to another profiler.
    Yielded,
    /// Another profiler owns CUPTI.
    Busy {
        /// When to try again, CLOCK_MONOTONIC ns.
        retry_ns: u64,
    },
    /// No usable libcupti.
    NoCupti {
        /// When to try again, CLOCK_MONOTONIC ns.
        retry_ns: u64,
    },
    /// A call failed.
    Failed,
    /// The process ends; Busy, NoCupti and Failed stay what they are.
    Finished,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Stay,
    /// Become this phase; nothing else is needed.
    Become(Phase),
    /// Disarm, then become this phase.
    Disarm(Phase),
    /// Arm.
    Arm,
    /// Disarm, then arm for what is wished now.
    Rearm,
    /// Flush and see what CUPTI dropped.
    Flush,
}

impl Phase {
    /// The number that the agent reads.
    #[must_use]
    pub fn state(self) -> ShimState {
        match self {
            Self::Dormant => ShimState::Dormant,
            Self::Armed { .. } => ShimState::Armed,
            Self::Yielded => ShimState::Yielded,
            Self::Busy { .. } => ShimState::Busy,
            Self::NoCupti { .. } => ShimState::NoCupti,
            Self::Failed => ShimState::Failed,
            Self::Finished => ShimState::Finished,
        }
    }

    /// What to do at `now_ns`.
    #[must_use]
    pub fn next(self, wish: &Wish, now_ns: u64) -> Action {
        let leased = now_ns < wish.deadline_ns;
        match (self, leased, wish.yielding) {
            (Self::Finished, ..) | (Self::Dormant, false, _) => Action::Stay,
            (Self::Armed { .. }, false, _) => Action::Disarm(Self::Dormant),
            (_, false, _) => Action::Become(Self::Dormant),
            (Self::Failed, true, _) | (Self::Yielded, true, true) => Action::Stay,
            (Self::Armed { .. }, true, true) => Action::Disarm(Self::Yielded),
            (_, true, true) => Action::Become(Self::Yielded),
            (Self::Armed { wished }, true, false) if wished != wish.kinds => Action::Rearm,
            (Self::Armed { .. }, true, false) => Action::Flush,
            (Self::Busy { retry_ns } | Self::NoCupti { retry_ns }, true, false) if now_ns < retry_ns => {
                Action::Stay
            }
            (_, true, false) => Action::Arm,
        }
    }

    /// How long to sleep at `now_ns` unless the agent changes its wish; `None` for as long as it takes.
    #[must_use]
    pub fn sleep(self, wish: &Wish, now_ns: u64) -> Option<Duration> {
        let until = |moment_ns: u64| Duration::from_nanos(moment_ns.saturating_sub(now_ns));
        let lease = until(wish.deadline_ns);
        match self {
            Self::Dormant | Self::Finished => None,
            Self::Armed { .. } => Some(lease.min(wish.flush_period)),
            Self::Busy { retry_ns } | Self::NoCupti { retry_ns } => Some(lease.min(until(retry_ns))),
            Self::Yielded | Self::Failed => Some(lease),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000_000_000;
    const ALL: [Phase; 7] = [
        Phase::Dormant,
        Phase::Armed { wished: 1 },
        Phase::Yielded,
        Phase::Busy { retry_ns: NOW },
        Phase::NoCupti { retry_ns: NOW },
        Phase::Failed,
        Phase::Finished,
    ];

    fn wish(lease_ns: u64, yielding: bool) -> Wish {
        Wish {
            generation: 3,
            deadline_ns: lease_ns,
            kinds: 1,
            flush_period: Duration::from_millis(50),
            budget_ppm: 0,
            yielding,
        }
    }

    #[test]
    fn the_table_holds() {
        use Action::{Arm, Become, Disarm, Flush, Stay};
        use Phase::{Dormant, Yielded};
        let over =
            [Stay, Disarm(Dormant), Become(Dormant), Become(Dormant), Become(Dormant), Become(Dormant), Stay];
        let yielding = [Become(Yielded), Disarm(Yielded), Stay, Become(Yielded), Become(Yielded), Stay, Stay];
        let leased = [Arm, Flush, Arm, Arm, Arm, Stay, Stay];
        for (index, phase) in ALL.into_iter().enumerate() {
            assert_eq!(phase.next(&wish(NOW, false), NOW), over[index], "{phase:?}, lease over");
            assert_eq!(phase.next(&wish(NOW, true), NOW), over[index], "{phase:?}, lease over, yield wished");
            assert_eq!(phase.next(&wish(NOW + 1, true), NOW), yielding[index], "{phase:?}, yield wished");
            assert_eq!(phase.next(&wish(NOW + 1, false), NOW), leased[index], "{phase:?}, lease");
        }
    }

    #[test]
    fn other_kinds_mean_to_arm_anew() {
        let action = Phase::Armed { wished: 2 }.next(&wish(NOW + 1, false), NOW);
        assert_eq!(action, Action::Rearm);
    }

    #[test]
    fn an_attempt_waits_for_its_time() {
        for phase in [Phase::Busy { retry_ns: NOW + 10 }, Phase::NoCupti { retry_ns: NOW + 10 }] {
            assert_eq!(phase.next(&wish(NOW + 100, false), NOW + 9), Action::Stay);
            assert_eq!(phase.next(&wish(NOW + 100, false), NOW + 10), Action::Arm);
            assert_eq!(phase.sleep(&wish(NOW + 100, false), NOW), Some(Duration::from_nanos(10)));
        }
    }

    #[test]
    fn only_a_shim_with_nothing_to_do_sleeps_for_ever() {
        for phase in ALL {
            let sleep = phase.sleep(&wish(NOW + 1_000_000_000, false), NOW);
            let idle = matches!(phase, Phase::Dormant | Phase::Finished);
            assert_eq!(sleep.is_none(), idle, "{phase:?}");
        }
    }

    #[test]
    fn an_armed_shim_wakes_for_the_end_of_its_lease() {
        let armed = Phase::Armed { wished: 1 };
        assert_eq!(armed.sleep(&wish(NOW + 1_000_000_000, false), NOW), Some(Duration::from_millis(50)));
        assert_eq!(armed.sleep(&wish(NOW + 7, false), NOW), Some(Duration::from_nanos(7)));
        assert_eq!(armed.sleep(&wish(NOW - 7, false), NOW), Some(Duration::ZERO));
    }
}
