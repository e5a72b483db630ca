//! What an exporter counts about itself.
//!
//! Enters: increments by one exporter. Leaves: numbers the core turns into self-metrics. Refuses: locks on the way
//! of data.
//!
//! For a push exporter: points handed to it = exported + rejected + failed. A failed point is not lost where the
//! next push carries it again (cumulative totals, and deltas since the last acknowledged push). For the JSON log:
//! items handed to it = exported + dropped.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Counters of one exporter. All but the gauges and `failing` only grow.
#[derive(Debug, Default)]
pub struct ExportStats {
    /// `prometheus`, `otlp` or `json_log`.
    pub name: &'static str,
    /// Points (lines, for the JSON log) that the other side took.
    pub exported: AtomicU64,
    /// Points in pushes that did not arrive, retries used up.
    pub failed: AtomicU64,
    /// Points that the receiver took and then refused (OTLP partial success).
    pub rejected: AtomicU64,
    /// Events or lines thrown away: queue full, or the sink would not take them.
    pub dropped: AtomicU64,
    /// Finished exports: pushes, scrapes, or writes that worked.
    pub exports: AtomicU64,
    /// Exports that did not work, retries used up.
    pub failures: AtomicU64,
    /// Whether the latest export did not work.
    pub failing: AtomicBool,
    /// Attempts after the first one.
    pub retries: AtomicU64,
    /// Bytes sent over HTTP or written to the file; over gRPC before compression.
    pub bytes: AtomicU64,
    /// Time spent, nanoseconds.
    pub duration_ns: AtomicU64,
    /// Gauge: items waiting.
    pub queue_length: AtomicU64,
    /// Gauge: items that may wait.
    pub queue_capacity: AtomicU64,
    /// Gauge: Unix time of the last export that worked, nanoseconds; 0 before.
    pub last_success_unix_ns: AtomicU64,
}

impl ExportStats {
    /// All zero.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    /// An export of `items` that worked.
    pub(crate) fn succeeded(&self, items: u64, bytes: u64, took: Duration) {
        self.exports.fetch_add(1, Ordering::Relaxed);
        self.failing.store(false, Ordering::Relaxed);
        self.exported.fetch_add(items, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.took(took);
        self.last_success_unix_ns.store(unix_now_ns(), Ordering::Relaxed);
    }

    /// An export of `items` that did not work.
    pub(crate) fn gave_up(&self, items: u64, took: Duration) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.failing.store(true, Ordering::Relaxed);
        self.failed.fetch_add(items, Ordering::Relaxed);
        self.took(took);
    }

    fn took(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.duration_ns.fetch_add(ns, Ordering::Relaxed);
    }
}

/// Unix time, nanoseconds; 0 for a clock before 1970.
pub(crate) fn unix_now_ns() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
