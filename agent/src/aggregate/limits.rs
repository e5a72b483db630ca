//! What the aggregate may hold, and how much of it is in use.
//!
//! Enters: requests for series. Leaves: leave to create them, or not. Refuses: growth past the limits.

/// Bounds of the aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Series (points of a snapshot) over all targets.
    pub series: usize,
    /// Addresses remembered for `gpu.memory.usage`, over all targets. 40 bytes each.
    pub allocations: usize,
    /// How long the series of a process that has ended are still shown, ns.
    pub grace_ns: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { series: 10_000, allocations: 1 << 18, grace_ns: 300_000_000_000 }
    }
}

/// Counts series against [`Limits::series`].
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    used: usize,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, used: 0 }
    }

    /// Whether `points` more fit; they are counted then.
    pub(super) fn take(&mut self, points: usize) -> bool {
        let fits = self.used + points <= self.limit;
        if fits {
            self.used += points;
        }
        fits
    }

    /// Counts `points` that no limit applies to, because their number is bounded by what they are.
    pub(super) fn take_fixed(&mut self, points: usize) {
        self.used += points;
    }

    pub(super) fn give_back(&mut self, points: usize) {
        self.used = self.used.saturating_sub(points);
    }

    pub(super) fn used(&self) -> usize {
        self.used
    }
}
