//! How much time copying may take.
//!
//! Enters: what each buffer took, and the agent's limit. Leaves: whether the next buffer may be copied. Refuses:
//! nothing; a limit of 0 is none.

/// Length of a window: the limit holds over each.
const WINDOW_NS: u64 = 1_000_000_000;

/// Time spent in the current window.
#[derive(Debug, Default)]
pub struct Budget {
    window_start_ns: u64,
    spent_ns: u64,
}

impl Budget {
    /// Whether a buffer may still be copied at `now_ns`, where `ppm` millionths of one core may be spent on that. The
    /// buffer that exceeds the limit is the last one of its window.
    pub fn allows(&mut self, now_ns: u64, ppm: u32) -> bool {
        if now_ns.saturating_sub(self.window_start_ns) >= WINDOW_NS {
            *self = Self { window_start_ns: now_ns, spent_ns: 0 };
        }
        ppm == 0 || self.spent_ns < WINDOW_NS / 1_000_000 * u64::from(ppm)
    }

    /// Notes what copying took.
    pub fn spend(&mut self, duration_ns: u64) {
        self.spent_ns = self.spent_ns.saturating_add(duration_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERCENT: u32 = 10_000;

    #[test]
    fn without_a_limit_all_is_allowed() {
        let mut budget = Budget::default();
        budget.spend(u64::MAX);
        assert!(budget.allows(5, 0));
    }

    #[test]
    fn a_spent_budget_comes_back_with_the_next_window() {
        let mut budget = Budget::default();
        assert!(budget.allows(WINDOW_NS, PERCENT));
        budget.spend(9_999_999);
        assert!(budget.allows(WINDOW_NS + 500_000_000, PERCENT));
        budget.spend(1);
        assert!(!budget.allows(WINDOW_NS + 999_999_999, PERCENT));
        assert!(budget.allows(2 * WINDOW_NS, PERCENT));
    }

    #[test]
    fn a_clock_that_stands_still_does_not_refill_it() {
        let mut budget = Budget::default();
        assert!(budget.allows(WINDOW_NS, PERCENT));
        budget.spend(WINDOW_NS);
        assert!(!budget.allows(WINDOW_NS, PERCENT));
    }
}
