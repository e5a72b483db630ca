//! How long to sleep between two looks into the rings.
//!
//! Enters: how full the fullest ring was. Leaves: the next sleep. Refuses: to sleep so long that a ring overflows, or so
//! short that an idle agent costs anything.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(50);

/// The sleep, adapted look by look.
#[derive(Debug)]
pub(super) struct Pace {
    sleep: Duration,
}

/// What the pace was, for the self-metrics and health.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// Between the starts of the two latest looks, ns.
    pub(super) interval_ns: AtomicU64,
    /// When the latest began, CLOCK_MONOTONIC ns.
    pub(super) latest_ktime_ns: AtomicU64,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { sleep: SHORTEST }
    }

    /// The next sleep, after a look that found `records` in a ring of `capacity`.
    ///
    /// Above an eighth the sleep halves, below a 32nd it grows by a half: bursts are followed at once, lulls slowly.
    pub(super) fn next(&mut self, records: u64, capacity: u64) -> Duration {
        if records > capacity / 8 {
            self.sleep /= 2;
        } else if records < capacity / 32 {
            self.sleep = self.sleep * 3 / 2;
        }
        self.sleep = self.sleep.clamp(SHORTEST, LONGEST);
        self.sleep
    }
}

impl Measured {
    /// A look began.
    pub(super) fn look(&self, now_ktime_ns: u64) {
        let before = self.latest_ktime_ns.swap(now_ktime_ns, Ordering::Relaxed);
        if before != 0 {
            self.interval_ns.store(now_ktime_ns.saturating_sub(before), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Pace, SHORTEST};

    #[test]
    fn an_idle_ring_is_looked_at_twenty_times_a_second_and_a_full_one_often() {
        let mut pace = Pace::new();
        for _ in 0..10 {
            pace.next(0, 65_536);
        }
        assert_eq!(pace.next(0, 65_536), LONGEST);
        for _ in 0..4 {
            pace.next(60_000, 65_536);
        }
        assert_eq!(pace.next(60_000, 65_536), SHORTEST);
    }

    #[test]
    fn two_hundred_thousand_records_a_second_settle_far_from_full() {
        let mut pace = Pace::new();
        let mut sleep = SHORTEST;
        for _ in 0..1000 {
            let records = (sleep.as_secs_f64() * 200_000.0) as u64;
            assert!(records < 65_536 / 4, "{records} records after {sleep:?}");
            sleep = pace.next(records, 65_536);
        }
    }
}
