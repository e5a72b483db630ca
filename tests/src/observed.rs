//! What one exporter said, and how it differs from the truth.
//!
//! Enters: counts as an exporter gave them. Leaves: a list of differences that no loss counter explains. Refuses: to
//! accept more than was done, or fewer bytes than the operations it shows have.

use std::collections::{BTreeMap, BTreeSet};

use crate::GroundTruth;

/// A number of operations and the bytes they moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Volume {
    /// Operations.
    pub count: u64,
    /// Bytes, together.
    pub bytes: u64,
}

/// Records at one stage by what became of them.
pub type Fates = BTreeMap<(String, String), u64>;

/// Counts from one output of the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Executions by kernel name.
    pub calls: BTreeMap<String, u64>,
    /// Copies by direction.
    pub copies: BTreeMap<String, Volume>,
    /// Memsets.
    pub memsets: Volume,
    /// Allocations and frees, of device and of pinned memory: `alloc`, `free`.
    pub memory: BTreeMap<String, u64>,
    /// Whole graph launches.
    pub graph_launches: u64,
    /// `gpu_agent.records` by hop and outcome; empty where the output does not carry it.
    pub fates: Fates,
}

impl Observed {
    /// Records that were counted as gone for good, on any hop up to the decoder.
    #[must_use]
    pub fn losses(&self) -> u64 {
        let counted_away = |(hop, outcome): &(String, String)| {
            outcome != "passed" && ["cupti", "shim", "ring", "decode"].contains(&hop.as_str())
        };
        self.fates.iter().filter(|(key, _)| counted_away(key)).map(|(_, count)| count).sum()
    }

    /// Copies in one direction.
    fn copies(&self, direction: &str) -> Volume {
        self.copies.get(direction).copied().unwrap_or_default()
    }

    /// One fate.
    #[must_use]
    pub fn fate(&self, hop: &str, outcome: &str) -> u64 {
        self.fates.get(&(hop.to_owned(), outcome.to_owned())).copied().unwrap_or(0)
    }

    /// Every way in which this differs from the truth, given that `lost` records are known to be missing.
    #[must_use]
    pub fn differences(&self, truth: &GroundTruth, lost: u64) -> Vec<String> {
        let mut differences = Vec::new();
        let mut missing = 0;
        let mut compare = |what: &str, seen: u64, done: u64| {
            if seen > done {
                differences.push(format!("{what}: {seen} seen, {done} done"));
            } else {
                missing += done - seen;
            }
        };
        for (seen, done) in [(&self.calls, &truth.launches), (&self.memory, &truth.memory)] {
            for name in seen.keys().chain(done.keys()).collect::<BTreeSet<_>>() {
                let count = |counts: &BTreeMap<String, u64>| counts.get(name).copied().unwrap_or(0);
                compare(name, count(seen), count(done));
            }
        }
        for direction in self.copies.keys().chain(truth.copies.keys()).collect::<BTreeSet<_>>() {
            compare(direction, self.copies(direction).count, truth.copies(direction).count);
        }
        compare("memset", self.memsets.count, truth.memsets.count);
        if missing != lost {
            differences.push(format!("{missing} records are missing, {lost} are counted as lost"));
        }
        // Copies differ in size, so bytes are exact where nothing is missing, and bounded elsewhere.
        let mut compare_bytes = |what: &str, seen: Volume, done: Volume| {
            if seen.bytes > done.bytes || (seen.count == done.count && seen.bytes != done.bytes) {
                differences.push(format!("{what}: {} bytes seen, {} done", seen.bytes, done.bytes));
            }
        };
        for direction in truth.copies.keys() {
            compare_bytes(direction, self.copies(direction), truth.copies(direction));
        }
        compare_bytes("memset", self.memsets, truth.memsets);
        differences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth() -> GroundTruth {
        GroundTruth {
            launches: [("gemm".to_owned(), 10)].into(),
            copies: [("h2d".to_owned(), Volume { count: 2, bytes: 30 })].into(),
            memsets: Volume { count: 1, bytes: 5 },
            ..GroundTruth::default()
        }
    }

    fn seen() -> Observed {
        Observed {
            calls: truth().launches,
            copies: truth().copies,
            memsets: truth().memsets,
            ..Observed::default()
        }
    }

    #[test]
    fn the_same_counts_do_not_differ() {
        assert_eq!(seen().differences(&truth(), 0), Vec::<String>::new());
    }

    #[test]
    fn a_missing_record_must_be_counted_as_lost_and_a_lost_one_must_be_missing() {
        let mut seen = seen();
        *seen.calls.get_mut("gemm").unwrap() -= 1;
        assert_eq!(seen.differences(&truth(), 1), Vec::<String>::new());
        assert_eq!(seen.differences(&truth(), 0).len(), 1);
        assert_eq!(seen.differences(&truth(), 2).len(), 1);
    }

    #[test]
    fn more_than_was_done_is_never_explained() {
        let mut seen = seen();
        seen.calls.insert("unheard of".to_owned(), 1);
        assert_eq!(seen.differences(&truth(), 0), ["unheard of: 1 seen, 0 done"]);
    }

    #[test]
    fn wrong_bytes_show_even_if_the_counts_are_right() {
        let mut seen = seen();
        seen.copies.get_mut("h2d").unwrap().bytes = 29;
        assert_eq!(seen.differences(&truth(), 0), ["h2d: 29 bytes seen, 30 done"]);
        seen.copies.get_mut("h2d").unwrap().bytes = 30;
        seen.memsets.bytes = 6;
        assert_eq!(seen.differences(&truth(), 0), ["memset: 6 bytes seen, 5 done"]);
    }

    #[test]
    fn losses_are_what_did_not_pass_before_the_exporters() {
        let fates = [
            ("cupti", "dropped", 3),
            ("ring", "lost", 4),
            ("ring", "passed", 50),
            ("event_queue", "dropped", 7),
        ];
        let fates = fates.map(|(hop, outcome, count)| ((hop.to_owned(), outcome.to_owned()), count)).into();
        assert_eq!(Observed { fates, ..Observed::default() }.losses(), 7);
    }
}
