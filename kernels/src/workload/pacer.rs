//! Keeps a thread at a number of launches per second. Enters: how many launches follow; leaves: when they may.
//! After a delay it catches up, but for no more than [`CATCH_UP`].

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The most a late thread catches up.
const CATCH_UP: Duration = Duration::from_millis(10);

/// Paces one thread.
#[derive(Debug)]
pub(super) struct Pacer {
    period: Duration,
    next: Cell<Instant>,
}

impl Pacer {
    /// `rate` launches per second from `now` on; 0: no pacing.
    pub(super) fn new(rate: f64, now: Instant) -> Self {
        let period = if rate > 0.0 { Duration::from_secs_f64(1.0 / rate) } else { Duration::ZERO };
        Self { period, next: Cell::new(now) }
    }

    /// Sleeps until `launches` more are due.
    pub(super) fn wait(&self, launches: u64) {
        if self.period.is_zero() {
            return;
        }
        let delay = self.claim(launches, Instant::now());
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
    }

    /// How long to wait at `now` before `launches` launches.
    fn claim(&self, launches: u64, now: Instant) -> Duration {
        let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
        let start = self.next.get().max(earliest);
        let span = self.period.saturating_mul(u32::try_from(launches).unwrap_or(u32::MAX));
        self.next.set(start + span);
        start.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{CATCH_UP, Pacer};

    #[test]
    fn launches_are_spread_evenly() {
        let start = Instant::now();
        let pacer = Pacer::new(1000.0, start);
        assert_eq!(pacer.claim(1, start), Duration::ZERO);
        assert_eq!(pacer.claim(4, start), Duration::from_millis(1));
        assert_eq!(pacer.claim(1, start), Duration::from_millis(5));
    }

    #[test]
    fn a_long_delay_is_not_caught_up_whole() {
        let start = Instant::now();
        let pacer = Pacer::new(1000.0, start);
        let late = start + Duration::from_secs(1);
        assert_eq!(pacer.claim(10, late), Duration::ZERO);
        assert_eq!(pacer.claim(1, late), Duration::ZERO);
        assert_eq!(pacer.next.get(), late - CATCH_UP + Duration::from_millis(11));
    }
}
