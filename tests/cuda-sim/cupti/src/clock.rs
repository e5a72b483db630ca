//! The clock of timestamps: CLOCK_REALTIME, or whatever the client's callback counts.
//!
//! Enters: CLOCK_MONOTONIC times of the driver, and the client's `CUpti_TimestampCallbackFunc`. Leaves: times in the
//! client's clock. Refuses: nothing. As in CUPTI, a callback registered late leaves the records before it in the old
//! clock.
//!
//! The offset between the clocks is measured at most every [`REFRESH_NS`], with the tightest of several readings. A
//! callback that cannot be told from CLOCK_MONOTONIC is taken for it, so that times pass through it unchanged.

use crate::records::Span;
use core::sync::atomic::{AtomicI64, AtomicPtr, AtomicU64, Ordering};

/// How long a measured offset is trusted: a step of the clock shows within this time.
const REFRESH_NS: u64 = 100_000_000;
/// Readings for one measurement.
const READINGS: usize = 5;

/// `CUpti_TimestampCallbackFunc`.
pub type TimestampCallback = unsafe extern "C" fn() -> u64;

/// Which clock, and how far it is from CLOCK_MONOTONIC.
pub(crate) struct Clock {
    callback: AtomicPtr<()>,
    offset_ns: AtomicI64,
    measured_at_ns: AtomicU64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            callback: AtomicPtr::new(core::ptr::null_mut()),
            offset_ns: AtomicI64::new(0),
            measured_at_ns: AtomicU64::new(0),
        }
    }

    /// From now on, times are what `callback` counts.
    pub(crate) fn set_callback(&self, callback: Option<TimestampCallback>) {
        let pointer = callback.map_or(core::ptr::null_mut(), |callback| callback as *mut ());
        self.callback.store(pointer, Ordering::Release);
        self.measure();
    }

    /// The client's clock, now.
    pub(crate) fn now(&self) -> u64 {
        let pointer = self.callback.load(Ordering::Acquire);
        if pointer.is_null() {
            return read(libc::CLOCK_REALTIME);
        }
        // SAFETY: the pointer was made from a TimestampCallback in set_callback.
        let callback = unsafe { core::mem::transmute::<*mut (), TimestampCallback>(pointer) };
        // SAFETY: CUPTI's contract: the callback may be called at any time from any thread.
        unsafe { callback() }
    }

    /// Converts both ends with one offset, so that the duration is exact.
    pub(crate) fn span(&self, start_monotonic_ns: u64, end_monotonic_ns: u64) -> Span {
        if self.looks_stale(end_monotonic_ns) && self.looks_stale(monotonic_ns()) {
            self.measure();
        }
        let offset = self.offset_ns.load(Ordering::Relaxed);
        Span {
            start: start_monotonic_ns.wrapping_add_signed(offset),
            end: end_monotonic_ns.wrapping_add_signed(offset),
        }
    }

    fn looks_stale(&self, now_ns: u64) -> bool {
        now_ns.abs_diff(self.measured_at_ns.load(Ordering::Relaxed)) > REFRESH_NS
    }

    fn measure(&self) {
        let mut best: Option<(u64, i64)> = None;
        for _ in 0..READINGS {
            let before = monotonic_ns();
            let theirs = self.now();
            let window = monotonic_ns().saturating_sub(before);
            let offset = theirs.wrapping_sub(before + window / 2).cast_signed();
            if best.is_none_or(|(narrowest, _)| window < narrowest) {
                best = Some((window, offset));
            }
        }
        let Some((window, offset)) = best else { return };
        let same_clock = offset.unsigned_abs() <= window.div_ceil(2);
        self.offset_ns.store(if same_clock { 0 } else { offset }, Ordering::Relaxed);
        self.measured_at_ns.store(monotonic_ns(), Ordering::Relaxed);
    }
}

/// CLOCK_MONOTONIC, nanoseconds.
pub(crate) fn monotonic_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return 0;
    }
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" fn monotonic() -> u64 {
        monotonic_ns()
    }

    unsafe extern "C" fn hour_ahead() -> u64 {
        monotonic_ns() + 3_600_000_000_000
    }

    #[test]
    fn default_is_the_realtime_clock() {
        let clock = Clock::new();
        let now = monotonic_ns();
        let span = clock.span(now - 500, now);
        assert_eq!(span.end - span.start, 500);
        assert!(span.end.abs_diff(read(libc::CLOCK_REALTIME)) < 1_000_000_000);
    }

    #[test]
    fn monotonic_callback_passes_times_through_unchanged() {
        let clock = Clock::new();
        clock.set_callback(Some(monotonic));
        let now = monotonic_ns();
        assert_eq!(clock.span(now - 5, now), Span { start: now - 5, end: now });
    }

    #[test]
    fn another_callback_shifts_both_ends() {
        let clock = Clock::new();
        clock.set_callback(Some(hour_ahead));
        let now = monotonic_ns();
        let span = clock.span(now - 500, now);
        assert_eq!(span.end - span.start, 500);
        assert!(span.end.abs_diff(now + 3_600_000_000_000) < 1_000_000);
    }
}
