//! When a shim that failed is tried again.
//!
//! Enters: the shim's state at each renewal, and the time. Leaves: what to do with its lease. Refuses: to try for ever: a
//! shim stays dormant for the lease under which CUPTI failed, so a new attempt takes a new lease; each rest is twice as long
//! as the one before it, and after [`TRIES`] attempts the target is left alone.

use std::fmt;
use std::time::Duration;

use gpu_agent_ring::control::ShimState;

/// Attempts after a failure, unless one of them holds for [`HOLDS_NS`].
const TRIES: u32 = 6;
/// A shim that was armed for this long has recovered: its next failure is a first one again.
const HOLDS_NS: u64 = 60_000_000_000;

/// What to do with the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Renew it, or take it again.
    Hold,
    /// End it, and do this next.
    Release(Plan),
    /// Leave it.
    Rest,
}

/// What comes after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Another attempt, after this long.
    Again(Duration),
    /// None.
    GiveUp,
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Again(rest) => write!(formatter, "CUPTI is let go, and tried again in {rest:?}"),
            Self::GiveUp => write!(
                formatter,
                "given up after {TRIES} more attempts; start the agent again to try once more"
            ),
        }
    }
}

/// The attempts with one target.
#[derive(Debug)]
pub(super) struct Recovery {
    first: Duration,
    tries: u32,
    resting_until_ns: Option<u64>,
    armed_since_ns: Option<u64>,
}

impl Recovery {
    /// A target that has not failed. `first` is the first rest.
    pub(super) fn new(first: Duration) -> Self {
        Self { first, tries: 0, resting_until_ns: None, armed_since_ns: None }
    }

    /// What to do at `now_ktime_ns` with a shim in this state.
    pub(super) fn next(&mut self, state: Option<ShimState>, now_ktime_ns: u64) -> Step {
        if let Some(until_ns) = self.resting_until_ns {
            if now_ktime_ns < until_ns {
                return Step::Rest;
            }
            self.resting_until_ns = None;
            self.tries += 1;
            return Step::Hold;
        }
        match state {
            Some(ShimState::Failed) => Step::Release(self.rest(now_ktime_ns)),
            Some(ShimState::Armed) => {
                let since_ns = *self.armed_since_ns.get_or_insert(now_ktime_ns);
                if now_ktime_ns.saturating_sub(since_ns) >= HOLDS_NS {
                    self.tries = 0;
                }
                Step::Hold
            }
            _ => {
                self.armed_since_ns = None;
                Step::Hold
            }
        }
    }

    fn rest(&mut self, now_ktime_ns: u64) -> Plan {
        self.armed_since_ns = None;
        if self.tries >= TRIES {
            self.resting_until_ns = Some(u64::MAX);
            return Plan::GiveUp;
        }
        let rest = self.first.saturating_mul(1 << self.tries);
        let rest_ns = u64::try_from(rest.as_nanos()).unwrap_or(u64::MAX);
        self.resting_until_ns = Some(now_ktime_ns.saturating_add(rest_ns));
        Plan::Again(rest)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{HOLDS_NS, Plan, Recovery, ShimState, Step, TRIES};

    const FIRST: Duration = Duration::from_secs(5);
    const SECOND_NS: u64 = 1_000_000_000;
    const FAILED: Option<ShimState> = Some(ShimState::Failed);
    const ARMED: Option<ShimState> = Some(ShimState::Armed);

    /// Lets attempts fail until `recovery` rests; returns the rests, seconds.
    fn rests(recovery: &mut Recovery, now_ns: &mut u64) -> Vec<u64> {
        let mut rests = Vec::new();
        loop {
            match recovery.next(FAILED, *now_ns) {
                Step::Release(Plan::GiveUp) => return rests,
                Step::Release(Plan::Again(rest)) => {
                    assert_eq!(recovery.next(None, *now_ns + 1), Step::Rest);
                    rests.push(rest.as_secs());
                    *now_ns += rest.as_nanos() as u64;
                    assert_eq!(recovery.next(None, *now_ns), Step::Hold);
                }
                step => panic!("{step:?}"),
            }
            *now_ns += SECOND_NS;
        }
    }

    #[test]
    fn each_rest_is_twice_as_long_and_their_number_is_bounded() {
        let (mut recovery, mut now_ns) = (Recovery::new(FIRST), 0);
        assert_eq!(rests(&mut recovery, &mut now_ns), [5, 10, 20, 40, 80, 160]);
        assert_eq!(TRIES, 6);
        assert_eq!(recovery.next(FAILED, u64::MAX - 1), Step::Rest, "given up for good");
    }

    #[test]
    fn a_shim_that_works_again_starts_anew_and_one_that_flickers_does_not() {
        let (mut recovery, mut now_ns) = (Recovery::new(FIRST), 0);
        let mut fail_after = |armed_ns: u64| {
            assert_eq!(recovery.next(ARMED, now_ns), Step::Hold);
            now_ns += armed_ns;
            assert_eq!(recovery.next(ARMED, now_ns), Step::Hold);
            let Step::Release(Plan::Again(rest)) = recovery.next(FAILED, now_ns) else { panic!("no rest") };
            now_ns += rest.as_nanos() as u64;
            assert_eq!(recovery.next(None, now_ns), Step::Hold);
            rest.as_secs()
        };
        assert_eq!([fail_after(SECOND_NS), fail_after(SECOND_NS)], [5, 10]);
        assert_eq!(fail_after(HOLDS_NS), 5);
    }

    #[test]
    fn a_shim_without_a_fault_is_held() {
        let mut recovery = Recovery::new(FIRST);
        for state in [None, Some(ShimState::Dormant), Some(ShimState::Busy), ARMED] {
            assert_eq!(recovery.next(state, 7), Step::Hold);
        }
    }
}
