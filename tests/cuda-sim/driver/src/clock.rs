//! The one clock of the simulator: CLOCK_MONOTONIC in nanoseconds. Enters: nothing. Leaves: times.
//! Refuses: any other clock.
#![allow(unsafe_code, reason = "clock_gettime")]

use std::time::Duration;

use cuda_sim_abi::config::Clock;

/// CLOCK_MONOTONIC, ns.
#[inline]
pub(crate) fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec; CLOCK_MONOTONIC always exists on Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Lets the time until `end_ns` pass as `clock` says; not at all for [`Clock::Virtual`].
pub(crate) fn pass_until(end_ns: u64, clock: Clock) {
    match clock {
        Clock::Virtual => {}
        Clock::Sleep => {
            let left = end_ns.saturating_sub(now_ns());
            if left > 0 {
                std::thread::sleep(Duration::from_nanos(left));
            }
        }
        Clock::Spin => {
            while now_ns() < end_ns {
                std::hint::spin_loop();
            }
        }
    }
}
