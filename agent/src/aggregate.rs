//! Events to series: pure, synchronous, bounded.
//!
//! Enters: targets, their kernel names, their events, and the time. Leaves: [`snapshot::Snapshot`]s. Refuses: I/O, clocks
//! of its own, and growth: series, addresses and devices are limited, and what does not fit is counted.
//!
//! ```text
//! observe(target, event) ─► TargetSeries ─┬► DeviceSeries ─┬► Kernels     by name
//!                                         │   one a device ├► Timed       paged attention, cache update, graphs
//!                                         │                ├► Transfer    copies by direction, memsets
//!                                         │                └► MemoryUse   by kind
//!                                         ├► HostSeries ────► API calls, errors, waits, CUPTI's overhead
//!                                         └► OpSeries ──────► probed calls by probe, tensors by name
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::classes::KernelName;
use crate::event::{Event, NameId, TargetId};
use crate::semconv::instruments;

mod allocations;
pub mod builder;
mod calls;
mod device;
pub mod histogram;
mod host;
mod limits;
pub mod occupancy;
mod ops;
mod scope;
pub mod snapshot;
mod target;
mod timed;
mod units;

use allocations::Allocations;
use builder::Builder;
use snapshot::{Attributes, Snapshot, Value};
use target::TargetSeries;
use units::Units;

pub use limits::Limits;
pub use ops::Latest;
pub use scope::Process;

/// All series.
#[derive(Debug)]
pub struct Aggregator {
    limits: Limits,
    units: Units,
    shared: Shared,
    targets: BTreeMap<TargetId, TargetSeries>,
}

/// What the targets share.
#[derive(Debug)]
struct Shared {
    budget: limits::Budget,
    allocations: Allocations,
    /// Records that overflowed in targets that are gone.
    past_overflow: u64,
}

impl Aggregator {
    /// An aggregate without targets.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let shared = Shared {
            budget: limits::Budget::new(limits.series),
            allocations: Allocations::new(limits.allocations),
            past_overflow: 0,
        };
        Self { limits, units: Units::new(), shared, targets: BTreeMap::new() }
    }

    /// Adds a target, observed from `start_unix_ns` on. If one with the same attributes has ended, its series go on: two
    /// series must not have one identity, and nothing that was counted may vanish.
    pub fn add_target(&mut self, id: TargetId, process: &Process, start_unix_ns: u64) {
        let before =
            self.targets.iter().find(|(_, series)| series.is_ended(process)).map(|(&before, _)| before);
        let series = match before.and_then(|before| self.targets.remove(&before)) {
            Some(mut series) => {
                series.resume(id);
                series
            }
            None => TargetSeries::new(id, process, start_unix_ns),
        };
        self.targets.insert(id, series);
    }

    /// Tells the kernel name that events of `target` mean by `id`. Ids are given in ascending order from 0.
    pub fn add_name(&mut self, target: TargetId, id: NameId, name: Arc<KernelName>) {
        if let Some(series) = self.targets.get_mut(&target) {
            series.add_name(id, name);
        }
    }

    /// Whether the target's GPU records flow: executions are counted by them then, else by calls of entry points.
    pub fn set_gpu_records(&mut self, target: TargetId, flow: bool) {
        if let Some(series) = self.targets.get_mut(&target) {
            series.set_gpu_records(flow);
        }
    }

    /// Whether the target's device is simulated, if that was not known when it was added.
    pub fn set_simulated(&mut self, target: TargetId, simulated: bool) {
        if let Some(series) = self.targets.get_mut(&target) {
            series.set_simulated(simulated);
        }
    }

    /// What the tensors of each probe's latest call looked like.
    pub fn latest_tensors(&self) -> impl Iterator<Item = Latest> {
        self.targets.values().flat_map(TargetSeries::latest_tensors)
    }

    /// Takes one event.
    #[inline]
    pub fn observe(&mut self, target: TargetId, event: &Event) {
        if let Some(series) = self.targets.get_mut(&target) {
            series.observe(event, &self.units, &mut self.shared);
        }
    }

    /// Nothing comes from the target any more, because its process has exited (or runs another program), or because it
    /// was let go. Its series stay for the grace period.
    pub fn end_target(&mut self, target: TargetId, now_ktime_ns: u64, has_exited: bool) {
        if let Some(series) = self.targets.get_mut(&target) {
            series.end(now_ktime_ns, has_exited, &self.units, &mut self.shared);
        }
    }

    /// Every second or so: bandwidths, calls that wait, series of processes that ended long ago.
    pub fn tick(&mut self, now_ktime_ns: u64) {
        let Self { limits, units, shared, targets } = self;
        targets.retain(|_, series| {
            let is_past = series.is_past(now_ktime_ns, limits.grace_ns);
            if is_past {
                shared.give_back(series);
            } else {
                series.tick(now_ktime_ns, units, shared);
            }
            !is_past
        });
    }

    /// All points, with their values now. More may be pushed before [`Builder::finish`].
    #[must_use]
    pub fn collect(&self, unix_ns: u64) -> Builder {
        let mut builder = Builder::new(unix_ns);
        for series in self.targets.values() {
            series.collect(&self.units, &mut builder);
        }
        builder
    }

    /// The aggregate's own points: series, overflow, addresses not tracked.
    pub fn collect_own(&self, builder: &mut Builder) {
        let none = Attributes::from([]);
        let series = self.shared.budget.used() as f64;
        builder.push(&instruments::OWN_SERIES, &none, Value::Gauge(series));
        let overflow = Value::Counter(self.overflow());
        builder.push(&instruments::OWN_SERIES_OVERFLOW, &none, overflow);
        let untracked = Value::Counter(self.shared.allocations.untracked());
        builder.push(&instruments::OWN_ALLOCATIONS_UNTRACKED, &none, untracked);
    }

    /// A snapshot of the targets' series alone.
    #[must_use]
    pub fn snapshot(&self, unix_ns: u64) -> Snapshot {
        self.collect(unix_ns).finish()
    }

    /// Records counted under `_other`.
    #[must_use]
    pub fn overflow(&self) -> u64 {
        self.targets.values().map(TargetSeries::overflow).sum::<u64>() + self.shared.past_overflow
    }

    /// Series held, as counted against [`Limits::series`].
    #[must_use]
    pub fn series(&self) -> usize {
        self.shared.budget.used()
    }
}

impl Shared {
    /// The series of a target go; what they overflowed stays counted.
    fn give_back(&mut self, series: &TargetSeries) {
        self.past_overflow += series.overflow();
        self.budget.give_back(series.points());
    }
}

#[cfg(test)]
mod tests;
