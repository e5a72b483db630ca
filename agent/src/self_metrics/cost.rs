//! What this process costs: CPU time and resident memory.
//!
//! Enters: `/proc/self` and the process clock. Leaves: two numbers. Refuses: nothing; what cannot be read is 0.

use rustix::time::{ClockId, clock_gettime};

/// CPU time and memory of this process.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cost {
    /// CPU time of all its threads, seconds.
    pub cpu_seconds: f64,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
}

/// The cost so far.
#[must_use]
pub fn now() -> Cost {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = kibibytes.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    Cost {
        cpu_seconds: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
        rss_bytes: kibibytes.unwrap_or(0).saturating_mul(1024),
    }
}

#[cfg(test)]
mod tests {
    use super::now;

    #[test]
    fn this_test_uses_memory_and_time() {
        let before = now();
        assert!(before.rss_bytes > 100_000, "{before:?}");
        for number in 0..30_000_000_u64 {
            std::hint::black_box(number);
        }
        assert!(now().cpu_seconds > before.cpu_seconds);
    }
}
