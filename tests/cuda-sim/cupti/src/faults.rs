//! What goes wrong on purpose: the failure keys of `GPU_AGENT_CUDA_SIM`, drawn from its seed.
//!
//! Enters: a [`Config`]. Leaves: yes-or-no answers at the places where CUPTI can fail. Refuses: nothing. The n-th answer
//! of a run is the same for the same seed; which record it meets depends on the threads' order.

use crate::status::Status;
use core::sync::atomic::{AtomicU64, Ordering};
use cuda_sim_abi::config::{Config, Delay, Failure};
use std::time::Duration;

/// One device record in this many keeps no times under `incomplete=on`.
const INCOMPLETE_ONE_IN: u64 = 16;
/// One record in this many is followed by one of unknown kind under `unknown_kind=on`.
const UNKNOWN_ONE_IN: u64 = 16;
/// One buffer in this many comes back empty under `partial=on`.
const EMPTY_ONE_IN: u64 = 8;

/// The faults of one session.
pub(crate) struct Faults {
    rules: Vec<(Failure, AtomicU64)>,
    slow: Vec<Delay>,
    drop_every: u64,
    records: AtomicU64,
    partial: bool,
    incomplete: bool,
    unknown_kind: bool,
    random: AtomicU64,
    /// Whether records of a buffer leave in another order than they came.
    pub(crate) reorder: bool,
    /// How long before the times of device work reach CUPTI.
    pub(crate) late: Duration,
    /// How long CUPTI takes before each `bufferCompleted`.
    pub(crate) slow_complete: Duration,
}

impl Faults {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            rules: config.fail.iter().map(|rule| (rule.clone(), AtomicU64::new(0))).collect(),
            slow: config.slow.clone(),
            drop_every: config.drop_every,
            records: AtomicU64::new(0),
            partial: config.partial,
            incomplete: config.incomplete,
            unknown_kind: config.unknown_kind,
            random: AtomicU64::new(config.seed),
            reorder: config.reorder,
            late: Duration::from_millis(config.late_ms),
            slow_complete: Duration::from_micros(config.slow_complete_us),
        }
    }

    /// Counts this call of `function`; the status that it must return instead of working, if any.
    pub(crate) fn refusal(&self, function: &str) -> Option<Status> {
        let mut refusal = None;
        for (rule, calls) in self.rules.iter().filter(|(rule, _)| rule.function == function) {
            let call = calls.fetch_add(1, Ordering::Relaxed) + 1;
            if refusal.is_none() && rule.nth.is_none_or(|nth| nth == call) {
                refusal = Some(Status(rule.status.cast_unsigned()));
            }
        }
        refusal
    }

    /// Waits as long as `function` takes after its work.
    pub(crate) fn linger(&self, function: &str) {
        if let Some(delay) = self.slow.iter().find(|delay| delay.function == function) {
            std::thread::sleep(Duration::from_millis(delay.ms));
        }
    }

    /// Whether this record is dropped.
    pub(crate) fn drops_record(&self) -> bool {
        self.drop_every != 0
            && (self.records.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(self.drop_every)
    }

    /// Whether this device record never gets its times.
    pub(crate) fn withholds_times(&self) -> bool {
        self.incomplete && self.draw().is_multiple_of(INCOMPLETE_ONE_IN)
    }

    /// Whether a record of unknown kind follows this one.
    pub(crate) fn adds_unknown(&self) -> bool {
        self.unknown_kind && self.draw().is_multiple_of(UNKNOWN_ONE_IN)
    }

    /// How many of a new buffer's bytes are used before it counts as full: at least `need` of them.
    pub(crate) fn room(&self, size: usize, need: usize) -> usize {
        if !self.partial {
            return size;
        }
        let percent = usize::try_from(self.draw() % 96).unwrap_or(0) + 5;
        (size / 100).saturating_mul(percent).clamp(need.min(size), size)
    }

    /// Whether this new buffer comes back empty.
    pub(crate) fn returns_empty(&self) -> bool {
        self.partial && self.draw().is_multiple_of(EMPTY_ONE_IN)
    }

    /// The next number of the run, by SplitMix64 (Steele, Lea, Flood 2014).
    pub(crate) fn draw(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.random.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Faults {
        Faults::new(&text.parse().unwrap())
    }

    #[test]
    fn every_nth_record_is_dropped() {
        let faults = faults("drop_every=3");
        let dropped = [(); 7].map(|()| faults.drops_record());
        assert_eq!(dropped, [false, false, true, false, false, true, false]);
    }

    #[test]
    fn nth_call_of_one_function_fails() {
        let faults = faults("fail=cuptiActivityEnable:15@2;cuptiSubscribe:7");
        let of = |function| faults.refusal(function).map(|status| status.0);
        assert_eq!([(); 3].map(|()| of("cuptiActivityEnable")), [None, Some(15), None]);
        assert_eq!([(); 2].map(|()| of("cuptiSubscribe")), [Some(7), Some(7)]);
        assert_eq!(of("cuptiFinalize"), None);
    }

    #[test]
    fn same_seed_same_faults() {
        let draws = |text| {
            let faults = faults(text);
            [(); 4].map(|()| faults.draw())
        };
        assert_eq!(draws("seed=5"), draws("seed=5"));
        assert_ne!(draws("seed=5"), draws("seed=6"));
    }

    #[test]
    fn a_partial_buffer_has_room_for_the_record_that_asked_for_it() {
        let faults = faults("partial=on");
        assert!((0..1000).all(|_| (300..=4096).contains(&faults.room(4096, 300))));
        assert_eq!(faults.room(100, 300), 100);
    }
}
