//! What the shim is doing, and what it does next: the state machine without any CUPTI in it.
//!
//! Enters: the present phase, the agents' wishes, the time. Leaves: an [`Action`], and how long to sleep. Refuses: to be
//! armed without a lease, or against a wish to let go.
//!
//! | phase | no lease | lease | lease, yield wished | detach wished, lease or not |
//! |---|---|---|---|---|
//! | Dormant | stay | arm | → Yielded | → Detached |
//! | Armed | disarm → Dormant | flush; other kinds wished: disarm, arm | disarm → Yielded | disarm → Detached |
//! | Yielded | → Dormant | arm | stay | → Detached |
//! | Detached | → Dormant | arm | → Yielded | stay |
//! | Busy, NoCupti | → Dormant | arm, once a second | → Yielded | → Detached |
//! | Failed | → Dormant | stay | stay | → Detached |
//! | Finished | stay | stay | stay | stay |
//!
//! *arm* leads to Armed, to Busy (another profiler has subscribed), to NoCupti (none can be used), or to Failed (a call
//! failed, and all was undone). A call that fails while armed leads to Failed too, but on the way to Detached, which says
//! what failed. Dormant, Detached and Finished sleep without a time-out.
//!
//! Yielded and Detached differ in who ends them: a yield means nothing without a lease, a detachment outlives all leases.
//!
//! Where finalising is wished too, the ways from Armed and Yielded to Dormant, and from any phase to Detached, lead through
//! `cuptiFinalize`: CUPTI that was used and is used by nobody else is taken out. A lease that ends while Detached finalises
//! nothing, for the detachment said how CUPTI is let go. Detached remembers whether that was tried and is settled, so that the wish may still come when CUPTI was let
//! go already, and may come again where the process made no call.

use core::time::Duration;

use gpu_agent_ring::control::{HandOver, ShimState, Wish};
use gpu_agent_ring::layout::ending;

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
    /// Lent CUPTI to another profiler.
    Yielded,
    /// Let go of CUPTI until somebody takes that wish back.
    Detached {
        /// Whether finalising was wished too, and trying again is of no use.
        finalized: bool,
    },
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
    /// Disarm if armed, take CUPTI out of the process if that is safe, then become this phase.
    Finalize(Phase),
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
            Self::Detached { .. } => ShimState::Detached,
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
        match wish.hand_over {
            _ if self == Self::Finished => Action::Stay,
            HandOver::Detach => self.detach(false),
            HandOver::DetachAndFinalize => self.detach(true),
            HandOver::None | HandOver::Yield if !leased => {
                self.end_of_lease(wish.ending & ending::FINALIZE != 0)
            }
            HandOver::Yield => match self {
                Self::Yielded | Self::Failed => Action::Stay,
                Self::Armed { .. } => Action::Disarm(Self::Yielded),
                _ => Action::Become(Self::Yielded),
            },
            HandOver::None => match self {
                Self::Failed => Action::Stay,
                Self::Armed { wished } if wished != wish.kinds => Action::Rearm,
                Self::Armed { .. } => Action::Flush,
                Self::Busy { retry_ns } | Self::NoCupti { retry_ns } if now_ns < retry_ns => Action::Stay,
                _ => Action::Arm,
            },
        }
    }

    fn detach(self, finalize: bool) -> Action {
        match self {
            Self::Detached { finalized } if finalized || !finalize => Action::Stay,
            _ if finalize => Action::Finalize(Self::Detached { finalized: true }),
            Self::Armed { .. } => Action::Disarm(Self::Detached { finalized: false }),
            _ => Action::Become(Self::Detached { finalized: false }),
        }
    }

    fn end_of_lease(self, finalize: bool) -> Action {
        match self {
            Self::Dormant => Action::Stay,
            Self::Armed { .. } | Self::Yielded if finalize => Action::Finalize(Self::Dormant),
            Self::Armed { .. } => Action::Disarm(Self::Dormant),
            _ => Action::Become(Self::Dormant),
        }
    }

    /// How long to sleep at `now_ns` unless the agent changes its wish; `None` for as long as it takes.
    #[must_use]
    pub fn sleep(self, wish: &Wish, now_ns: u64) -> Option<Duration> {
        let until = |moment_ns: u64| Duration::from_nanos(moment_ns.saturating_sub(now_ns));
        let lease = until(wish.deadline_ns);
        match self {
            Self::Dormant | Self::Detached { .. } | Self::Finished => None,
            Self::Armed { .. } => Some(lease.min(wish.flush_period)),
            Self::Busy { retry_ns } | Self::NoCupti { retry_ns } => Some(lease.min(until(retry_ns))),
            Self::Yielded | Self::Failed => Some(lease),
        }
    }
}

/// Whether an agent wants CUPTI now, or another profiler under its lease: a process that is let go waits no longer for that.
#[must_use]
pub fn wants_back(wish: &Wish, now_ns: u64) -> bool {
    matches!(wish.hand_over, HandOver::None | HandOver::Yield) && now_ns < wish.deadline_ns
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000_000_000;
    const DETACHED: Phase = Phase::Detached { finalized: false };
    const FINALIZED: Phase = Phase::Detached { finalized: true };
    const ALL: [Phase; 9] = [
        Phase::Dormant,
        Phase::Armed { wished: 1 },
        Phase::Yielded,
        DETACHED,
        FINALIZED,
        Phase::Busy { retry_ns: NOW },
        Phase::NoCupti { retry_ns: NOW },
        Phase::Failed,
        Phase::Finished,
    ];

    fn wish(lease_ns: u64, hand_over: HandOver) -> Wish {
        Wish {
            generation: 3,
            deadline_ns: lease_ns,
            kinds: 1,
            flush_period: Duration::from_millis(50),
            budget_ppm: 0,
            hand_over,
            ending: 0,
        }
    }

    #[test]
    fn the_table_holds() {
        use Action::{Arm, Become, Disarm, Finalize, Flush, Stay};
        use Phase::{Dormant, Yielded};
        let to_dormant = Become(Dormant);
        let no_lease = [
            Stay,
            Disarm(Dormant),
            to_dormant,
            to_dormant,
            to_dormant,
            to_dormant,
            to_dormant,
            to_dormant,
            Stay,
        ];
        let lease = [Arm, Flush, Arm, Arm, Arm, Arm, Arm, Stay, Stay];
        let lent = Become(Yielded);
        let yielding = [lent, Disarm(Yielded), Stay, lent, lent, lent, lent, Stay, Stay];
        let gone = Become(DETACHED);
        let detaching = [gone, Disarm(DETACHED), gone, Stay, Stay, gone, gone, gone, Stay];
        let out = Finalize(FINALIZED);
        let finalizing = [out, out, out, out, Stay, out, out, out, Stay];
        for (index, phase) in ALL.into_iter().enumerate() {
            for (deadline_ns, hand_over, expected) in [
                (NOW, HandOver::None, &no_lease),
                (NOW, HandOver::Yield, &no_lease),
                (NOW + 1, HandOver::None, &lease),
                (NOW + 1, HandOver::Yield, &yielding),
                (NOW, HandOver::Detach, &detaching),
                (NOW + 1, HandOver::Detach, &detaching),
                (NOW, HandOver::DetachAndFinalize, &finalizing),
                (NOW + 1, HandOver::DetachAndFinalize, &finalizing),
            ] {
                let action = phase.next(&wish(deadline_ns, hand_over), NOW);
                assert_eq!(action, expected[index], "{phase:?}, lease until {deadline_ns}, {hand_over:?}");
            }
        }
    }

    #[test]
    fn a_lease_that_is_to_end_in_finalising_does_so_where_it_was_armed_or_had_yielded() {
        for hand_over in [HandOver::None, HandOver::Yield] {
            let over = Wish { ending: ending::FINALIZE, ..wish(NOW, hand_over) };
            for phase in ALL {
                let action = phase.next(&over, NOW);
                let expected = match phase {
                    Phase::Armed { .. } | Phase::Yielded => Action::Finalize(Phase::Dormant),
                    Phase::Dormant | Phase::Finished => Action::Stay,
                    _ => Action::Become(Phase::Dormant),
                };
                assert_eq!(action, expected, "{phase:?}, {hand_over:?}");
            }
        }
        let detached = Wish { ending: ending::FINALIZE, ..wish(NOW, HandOver::Detach) };
        assert_eq!(DETACHED.next(&detached, NOW), Action::Stay);
    }

    #[test]
    fn cupti_is_wanted_back_by_a_lease_that_no_detachment_outlives() {
        for (hand_over, expected) in [
            (HandOver::None, true),
            (HandOver::Yield, true),
            (HandOver::Detach, false),
            (HandOver::DetachAndFinalize, false),
        ] {
            assert_eq!(wants_back(&wish(NOW + 1, hand_over), NOW), expected, "{hand_over:?}");
            assert!(!wants_back(&wish(NOW, hand_over), NOW), "{hand_over:?}");
        }
    }

    #[test]
    fn other_kinds_mean_to_arm_anew() {
        let action = Phase::Armed { wished: 2 }.next(&wish(NOW + 1, HandOver::None), NOW);
        assert_eq!(action, Action::Rearm);
    }

    #[test]
    fn an_attempt_waits_for_its_time() {
        let leased = wish(NOW + 100, HandOver::None);
        for phase in [Phase::Busy { retry_ns: NOW + 10 }, Phase::NoCupti { retry_ns: NOW + 10 }] {
            assert_eq!(phase.next(&leased, NOW + 9), Action::Stay);
            assert_eq!(phase.next(&leased, NOW + 10), Action::Arm);
            assert_eq!(phase.sleep(&leased, NOW), Some(Duration::from_nanos(10)));
        }
    }

    #[test]
    fn only_a_shim_with_nothing_to_do_sleeps_for_ever() {
        for phase in ALL {
            let sleep = phase.sleep(&wish(NOW + 1_000_000_000, HandOver::None), NOW);
            let idle = matches!(phase, Phase::Dormant | Phase::Detached { .. } | Phase::Finished);
            assert_eq!(sleep.is_none(), idle, "{phase:?}");
        }
    }

    #[test]
    fn an_armed_shim_wakes_for_the_end_of_its_lease() {
        let armed = Phase::Armed { wished: 1 };
        let sleep = |deadline_ns| armed.sleep(&wish(deadline_ns, HandOver::None), NOW);
        assert_eq!(sleep(NOW + 1_000_000_000), Some(Duration::from_millis(50)));
        assert_eq!(sleep(NOW + 7), Some(Duration::from_nanos(7)));
        assert_eq!(sleep(NOW - 7), Some(Duration::ZERO));
    }
}
