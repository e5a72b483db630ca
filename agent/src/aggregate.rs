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
//!                                         └► HostSeries ────► API calls, errors, waits, CUPTI's overhead
//! ```

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
mod scope;
pub mod snapshot;
mod target;
mod units;

use allocations::Allocations;
use builder::Builder;
use snapshot::{Attributes, Snapshot, Value};
use target::TargetSeries;
use units::Units;

pub use limits::Limits;
pub use scope::Process;

/// All series.
#[derive(Debug)]
pub struct Aggregator {
    limits: Limits,
    units: Units,
    shared: Shared,
    /// By target id. A target whose series were dropped leaves its place empty.
    targets: Vec<Option<TargetSeries>>,
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
        Self { limits, units: Units::new(), shared, targets: Vec::new() }
    }

    /// Adds a target, observed from `start_unix_ns` on. If one with the same attributes has ended, its series go on: two
    /// series must not have one identity, and nothing that was counted may vanish.
    pub fn add_target(&mut self, id: TargetId, process: &Process, start_unix_ns: u64) {
        let is_before = |target: &&mut Option<TargetSeries>| {
            target.as_ref().is_some_and(|target| target.is_ended(process))
        };
        let before = self.targets.iter_mut().find(is_before).and_then(Option::take);
        let series = match before {
            Some(mut series) => {
                series.resume(id);
                series
            }
            None => TargetSeries::new(id, process, start_unix_ns),
        };
        let index = id.0 as usize;
        while self.targets.len() <= index {
            self.targets.push(None);
        }
        if let Some(slot) = self.targets.get_mut(index) {
            *slot = Some(series);
        }
    }

    /// Tells the kernel name that events of `target` mean by `id`. Ids are given in ascending order from 0.
    pub fn add_name(&mut self, target: TargetId, id: NameId, name: Arc<KernelName>) {
        if let Some(target) = self.target(target) {
            target.add_name(id, name);
        }
    }

    /// Takes one event.
    #[inline]
    pub fn observe(&mut self, target: TargetId, event: &Event) {
        if let Some(Some(target)) = self.targets.get_mut(target.0 as usize) {
            target.observe(event, &self.units, &mut self.shared);
        }
    }

    /// Nothing comes from the target any more, because its process has exited (or runs another program), or because it
    /// was let go. Its series stay for the grace period.
    pub fn end_target(&mut self, target: TargetId, now_ktime_ns: u64, has_exited: bool) {
        if let Some(Some(series)) = self.targets.get_mut(target.0 as usize) {
            series.end(now_ktime_ns, has_exited, &self.units, &mut self.shared);
        }
    }

    /// Every second or so: bandwidths, calls that wait, series of processes that ended long ago.
    pub fn tick(&mut self, now_ktime_ns: u64) {
        for target in &mut self.targets {
            let Some(series) = target else { continue };
            if series.is_past(now_ktime_ns, self.limits.grace_ns) {
                self.shared.drop_series(target);
            } else {
                series.tick(now_ktime_ns, &self.units, &mut self.shared);
            }
        }
    }

    /// All points, with their values now. More may be pushed before [`Builder::finish`].
    #[must_use]
    pub fn collect(&self, unix_ns: u64) -> Builder {
        let mut builder = Builder::new(unix_ns);
        for target in self.targets.iter().flatten() {
            target.collect(&self.units, &mut builder);
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
        self.targets.iter().flatten().map(TargetSeries::overflow).sum::<u64>() + self.shared.past_overflow
    }

    /// Series held, as counted against [`Limits::series`].
    #[must_use]
    pub fn series(&self) -> usize {
        self.shared.budget.used()
    }

    fn target(&mut self, id: TargetId) -> Option<&mut TargetSeries> {
        self.targets.get_mut(id.0 as usize)?.as_mut()
    }
}

impl Shared {
    fn drop_series(&mut self, target: &mut Option<TargetSeries>) {
        if let Some(series) = target.take() {
            self.past_overflow += series.overflow();
            self.budget.give_back(series.points());
        }
    }
}

#[cfg(test)]
mod tests;
