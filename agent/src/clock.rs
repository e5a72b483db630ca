//! From CLOCK_MONOTONIC, in which all events are stamped, to Unix time.
//!
//! Enters: pairs of clock readings. Leaves: anchors, each with a bound of its error, and a count of the steps that
//! the realtime clock made. Refuses: to smooth: an event keeps the anchor that stood when it was read, so a step
//! never moves what lies before it.
//!
//! A reading is bracketed, monotonic–realtime–monotonic: the realtime value belongs to some moment between the two
//! monotonic ones, so half their distance bounds the error. The best of a few is kept, because a reading that
//! was interrupted has a wide bracket.

use rustix::time::{ClockId, clock_gettime};

/// Readings per anchor.
const TRIES: usize = 5;
/// A change of the offset beyond the errors and this much is a step and not slewing: `adjtimex` slews by at most
/// 500 ppm, 0.5 ms a second.
const STEP_NS: u64 = 2_000_000;

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// CLOCK_MONOTONIC before.
    pub before_ktime_ns: u64,
    /// CLOCK_REALTIME.
    pub unix_ns: u64,
    /// CLOCK_MONOTONIC after.
    pub after_ktime_ns: u64,
}

/// A point at which both clocks are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// CLOCK_MONOTONIC.
    pub ktime_ns: u64,
    /// CLOCK_REALTIME at the same moment.
    pub unix_ns: u64,
    /// How far apart the two may really be.
    pub error_ns: u64,
}

/// The agent's clock: re-anchored now and then, by whoever owns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    anchor: Anchor,
    steps: u64,
}

impl Anchor {
    /// The anchor of one reading.
    #[must_use]
    pub fn of(reading: Reading) -> Self {
        let width = reading.after_ktime_ns.saturating_sub(reading.before_ktime_ns);
        Self {
            ktime_ns: reading.before_ktime_ns + width / 2,
            unix_ns: reading.unix_ns,
            error_ns: width.div_ceil(2),
        }
    }

    /// Reads the clocks a few times, and keeps the reading with the smallest error.
    #[must_use]
    pub fn now() -> Self {
        (0..TRIES).map(|_| Self::of(read())).min_by_key(|anchor| anchor.error_ns).unwrap_or(Self {
            ktime_ns: 0,
            unix_ns: 0,
            error_ns: u64::MAX,
        })
    }

    /// The Unix time of a CLOCK_MONOTONIC time. Saturates at the ends of `u64`.
    #[must_use]
    pub fn unix_ns(&self, ktime_ns: u64) -> u64 {
        if ktime_ns >= self.ktime_ns {
            self.unix_ns.saturating_add(ktime_ns - self.ktime_ns)
        } else {
            self.unix_ns.saturating_sub(self.ktime_ns - ktime_ns)
        }
    }
}

impl Clock {
    /// A clock at its first anchor.
    #[must_use]
    pub fn new(anchor: Anchor) -> Self {
        Self { anchor, steps: 0 }
    }

    /// Takes a newer anchor. Returns the step the realtime clock made since the last, ns, if it made one.
    pub fn anchor_again(&mut self, anchor: Anchor) -> Option<i64> {
        let expected = self.anchor.unix_ns(anchor.ktime_ns);
        let distance = anchor.unix_ns.abs_diff(expected);
        // Slewing is in proportion to the time since the last anchor: 500 ppm.
        let slewing = anchor.ktime_ns.saturating_sub(self.anchor.ktime_ns) / 2000;
        let bound = STEP_NS.saturating_add(slewing) + self.anchor.error_ns.saturating_add(anchor.error_ns);
        self.anchor = anchor;
        if distance <= bound {
            return None;
        }
        self.steps += 1;
        let size = i64::try_from(distance).unwrap_or(i64::MAX);
        Some(if anchor.unix_ns < expected { -size } else { size })
    }

    /// The newest anchor.
    #[must_use]
    pub fn anchor(&self) -> Anchor {
        self.anchor
    }

    /// Steps seen.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }
}

fn read() -> Reading {
    let before_ktime_ns = now_ns(ClockId::Monotonic);
    let unix_ns = now_ns(ClockId::Realtime);
    Reading { before_ktime_ns, unix_ns, after_ktime_ns: now_ns(ClockId::Monotonic) }
}

fn now_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    // Neither clock is negative on Linux.
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::{Anchor, Clock, Reading};

    const HOUR: u64 = 3_600_000_000_000;

    fn anchor(ktime_ns: u64, unix_ns: u64) -> Anchor {
        Anchor { ktime_ns, unix_ns, error_ns: 50 }
    }

    #[test]
    fn half_the_bracket_bounds_the_error() {
        let reading = Reading { before_ktime_ns: 1000, unix_ns: 5_000_000, after_ktime_ns: 1101 };
        assert_eq!(Anchor::of(reading), Anchor { ktime_ns: 1050, unix_ns: 5_000_000, error_ns: 51 });
    }

    #[test]
    fn times_on_both_sides_of_the_anchor_convert() {
        let anchor = anchor(1000, 1_000_000);
        assert_eq!(anchor.unix_ns(1500), 1_000_500);
        assert_eq!(anchor.unix_ns(400), 999_400);
        assert_eq!(anchor.unix_ns(u64::MAX), u64::MAX, "a hostile time saturates");
    }

    #[test]
    fn a_step_is_counted_and_events_before_it_keep_their_anchor() {
        let before = anchor(1000, 1_000_000);
        let mut clock = Clock::new(before);
        assert_eq!(
            clock.anchor_again(anchor(1_000_001_000, 1_000_000 + 1_000_000_000 + HOUR)),
            Some(HOUR as i64)
        );
        assert_eq!(clock.steps(), 1);
        assert_eq!(before.unix_ns(2000), 1_001_000);
        assert_eq!(clock.anchor().unix_ns(1_000_001_500), 1_000_000 + 1_000_000_500 + HOUR);
    }

    #[test]
    fn a_step_back_is_negative() {
        let mut clock = Clock::new(anchor(0, HOUR));
        assert_eq!(clock.anchor_again(anchor(1_000_000_000, 1_000_000_000)), Some(-(HOUR as i64)));
    }

    #[test]
    fn slewing_is_no_step() {
        let mut clock = Clock::new(anchor(0, HOUR));
        let second = 1_000_000_000;
        assert_eq!(clock.anchor_again(anchor(second, HOUR + second + second / 2000)), None);
        assert_eq!(clock.steps(), 0);
    }

    #[test]
    fn the_real_clocks_are_read_within_a_millisecond() {
        assert!(Anchor::now().error_ns < 1_000_000);
    }
}
