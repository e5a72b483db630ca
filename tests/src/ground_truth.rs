//! What the workload says it did.
//!
//! Enters: the JSON line that it ends with. Leaves: exact counts, of its whole life and of what was before `ready`.
//! Refuses: a report that differs from the workload's own plan.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::observed::Volume;

/// Exact counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroundTruth {
    /// Executions by kernel name.
    pub launches: BTreeMap<String, u64>,
    /// Copies by direction: `h2d`, `d2h`, `d2d`.
    pub copies: BTreeMap<String, Volume>,
    /// Memsets.
    pub memsets: Volume,
    /// Allocations and frees, of device and of pinned memory: `alloc`, `free`.
    pub memory: BTreeMap<String, u64>,
    /// Calls of `cuGraphLaunch`.
    pub graph_launches: u64,
}

impl GroundTruth {
    /// What was done after `ready`, which is what an agent sees that attached while the workload waited.
    #[must_use]
    pub fn after_ready(report: &Value) -> Self {
        assert_eq!(report["matches_plan"], true, "the workload's own counts differ from its plan");
        Self::counts(report).without(&Self::counts(&report["before_ready"]))
    }

    /// What was done from the first call on.
    #[must_use]
    pub fn whole(report: &Value) -> Self {
        assert_eq!(report["matches_plan"], true, "the workload's own counts differ from its plan");
        Self::counts(report)
    }

    /// Records that an agent gets for it: one per kernel, copy, memset, allocation and free.
    #[must_use]
    pub fn records(&self) -> u64 {
        let copies: u64 = self.copies.values().map(|volume| volume.count).sum();
        let counts = self.launches.values().chain(self.memory.values()).sum::<u64>();
        counts + copies + self.memsets.count
    }

    /// Copies in one direction.
    pub(crate) fn copies(&self, direction: &str) -> Volume {
        self.copies.get(direction).copied().unwrap_or_default()
    }

    fn counts(value: &Value) -> Self {
        let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("no count: {value}"));
        let volume =
            |value: &Value| Volume { count: number(&value["count"]), bytes: number(&value["bytes"]) };
        let launches = value["launches"].as_object().expect("launches");
        Self {
            launches: launches.iter().map(|(name, count)| (name.clone(), number(count))).collect(),
            copies: [("h2d", "htod"), ("d2h", "dtoh"), ("d2d", "dtod")]
                .map(|(direction, key)| (direction.to_owned(), volume(&value["copies"][key])))
                .into(),
            memsets: volume(&value["memsets"]),
            memory: [
                (
                    "alloc",
                    number(&value["allocations"]["count"]) + number(&value["pinned_allocations"]["count"]),
                ),
                ("free", number(&value["frees"]) + number(&value["pinned_frees"])),
            ]
            .map(|(operation, count)| (operation.to_owned(), count))
            .into(),
            graph_launches: number(&value["graph_launches"]),
        }
    }

    fn without(mut self, earlier: &Self) -> Self {
        for (name, count) in &earlier.launches {
            *self.launches.get_mut(name).expect("counted before ready, so counted in all") -= count;
        }
        for (direction, volume) in &earlier.copies {
            let whole = self.copies.get_mut(direction).expect("the same directions");
            *whole = Volume { count: whole.count - volume.count, bytes: whole.bytes - volume.bytes };
        }
        self.memsets.count -= earlier.memsets.count;
        self.memsets.bytes -= earlier.memsets.bytes;
        self.graph_launches -= earlier.graph_launches;
        for (operation, count) in &earlier.memory {
            *self.memory.get_mut(operation).expect("the same operations") -= count;
        }
        self.launches.retain(|_, count| *count > 0);
        self.memory.retain(|_, count| *count > 0);
        self.copies.retain(|_, volume| volume.count > 0);
        self
    }
}
