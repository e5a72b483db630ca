//! What the table shows, summed over targets and devices.
//!
//! Enters: a snapshot and the targets' states. Leaves: rows. Refuses: nothing.

use std::collections::BTreeMap;

use super::calls::{self, Calls};
use crate::aggregate::Latest;
use crate::aggregate::snapshot::{Exponential, Histogram, Point, Snapshot, Value};
use crate::pipeline::TargetStatus;
use crate::semconv::{Instrument, attribute, instruments};
use crate::source::cupti::Hops;

/// All rows.
#[derive(Debug, Clone, Default)]
pub struct Table {
    pub(super) targets: Vec<TargetStatus>,
    pub(super) kernels: Vec<Kernel>,
    pub(super) calls: Vec<Calls>,
    pub(super) operations: Vec<Operation>,
    pub(super) copies: Vec<Copy>,
    pub(super) memory: Vec<(String, f64)>,
    pub(super) errors: Vec<(String, u64)>,
    pub(super) hops: Hops,
    pub(super) orphans: u64,
    pub(super) incomplete: u64,
    pub(super) overflow: u64,
    pub(super) events_dropped: u64,
    pub(super) cpu_seconds: f64,
    pub(super) rss_bytes: f64,
}

/// One kernel name; times in seconds.
#[derive(Debug, Clone)]
pub(super) struct Kernel {
    pub(super) class: String,
    pub(super) name: String,
    pub(super) calls: u64,
    pub(super) durations: Histogram,
}

/// One operation with its own instruments.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) name: String,
    pub(super) calls: u64,
    /// What the numbers of `durations` count: milliseconds or seconds.
    pub(super) seconds_per_unit: f64,
    pub(super) durations: Histogram,
}

/// Copies of one direction, or memsets.
#[derive(Debug, Clone, Default)]
pub(super) struct Copy {
    pub(super) what: String,
    pub(super) operations: u64,
    pub(super) size_bytes: u64,
    pub(super) durations: Histogram,
}

impl Table {
    /// Sums a snapshot up; `latest` are the tensors of each probe's latest call.
    #[must_use]
    pub fn new(snapshot: &Snapshot, targets: Vec<TargetStatus>, latest: &[Latest]) -> Self {
        let points = Points(snapshot);
        let hops =
            targets.iter().fold(Hops::default(), |sum, target| sum.plus(&target.hops).plus(&target.past));
        let memory = sum_by(points.of(&instruments::MEMORY_USAGE), &[attribute::MEMORY_KIND]);
        let errors = sum_by(points.of(&instruments::ERRORS), &[attribute::FUNCTION, attribute::ERROR]);
        let dropped = points
            .of(&instruments::OWN_EXPORT_ITEMS)
            .iter()
            .filter(|point| value(point, attribute::OUTCOME) == attribute::outcome::DROPPED);
        Self {
            kernels: kernels(
                points.of(&instruments::KERNEL_EXECUTIONS),
                points.of(&instruments::KERNEL_DURATION),
            ),
            calls: calls::rows(points, latest),
            operations: operations(points),
            copies: copies(points),
            memory: memory.into_iter().filter(|(_, bytes)| *bytes > 0.0).collect(),
            errors: errors.into_iter().map(|(name, count)| (name, count as u64)).collect(),
            hops,
            orphans: points.total(&instruments::OWN_ORPHANS) as u64,
            incomplete: points.total(&instruments::OWN_INCOMPLETE) as u64,
            overflow: points.total(&instruments::OWN_SERIES_OVERFLOW) as u64,
            events_dropped: dropped.map(number).sum::<f64>() as u64,
            cpu_seconds: points.total(&instruments::OWN_CPU),
            rss_bytes: points.total(&instruments::OWN_RSS),
            targets,
        }
    }

    /// Whether any target's device is simulated.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.targets.iter().any(|target| target.info.simulated)
    }
}

impl Kernel {
    pub(super) fn seconds(&self) -> f64 {
        self.durations.sum
    }
}

/// The value below which a share `q` of the observations lie: the middle of its bucket, never outside what was seen.
pub(super) fn quantile(histogram: &Histogram, q: f64) -> Option<f64> {
    let rank = (q * histogram.count as f64).ceil().max(1.0) as u64;
    let Exponential { scale, zero_count, offset, counts } = &histogram.exponential;
    if histogram.count == 0 {
        return None;
    }
    let mut seen = *zero_count;
    if seen >= rank {
        return Some(0.0);
    }
    for (index, count) in counts.iter().enumerate() {
        seen += count;
        if seen >= rank {
            let middle = f64::from(*offset) + index as f64 + 0.5;
            let value = (middle / f64::from(*scale).exp2()).exp2();
            return Some(value.clamp(histogram.min, histogram.max));
        }
    }
    Some(histogram.max)
}

/// Adds `other` to `sum`; both have the same explicit bounds and scale.
pub(super) fn merge(sum: &mut Histogram, other: &Histogram) {
    if other.count == 0 {
        return;
    }
    if sum.count == 0 {
        *sum = other.clone();
        return;
    }
    sum.count += other.count;
    sum.sum += other.sum;
    sum.min = sum.min.min(other.min);
    sum.max = sum.max.max(other.max);
    for (total, count) in sum.explicit.iter_mut().zip(&other.explicit) {
        *total += count;
    }
    let (into, from) = (&mut sum.exponential, &other.exponential);
    into.zero_count += from.zero_count;
    if from.counts.is_empty() {
        return;
    }
    if into.counts.is_empty() {
        into.offset = from.offset;
    }
    if from.offset < into.offset {
        let missing = into.offset.abs_diff(from.offset) as usize;
        into.counts.splice(0..0, std::iter::repeat_n(0, missing));
        into.offset = from.offset;
    }
    let start = from.offset.abs_diff(into.offset) as usize;
    if into.counts.len() < start + from.counts.len() {
        into.counts.resize(start + from.counts.len(), 0);
    }
    for (total, count) in into.counts.iter_mut().skip(start).zip(&from.counts) {
        *total += count;
    }
}

fn kernels(executions: &[Point], durations: &[Point]) -> Vec<Kernel> {
    let mut rows = BTreeMap::<(String, String), Kernel>::new();
    let mut row = |point: &Point, change: &dyn Fn(&mut Kernel)| {
        let class = value(point, attribute::KERNEL_CLASS).to_owned();
        let name = value(point, attribute::KERNEL_NAME).to_owned();
        change(rows.entry((class.clone(), name.clone())).or_insert(Kernel {
            class,
            name,
            calls: 0,
            durations: Histogram::default(),
        }));
    };
    for point in executions {
        row(point, &|kernel| kernel.calls += number(point) as u64);
    }
    for point in durations {
        if let Value::Histogram(histogram) = &point.value {
            row(point, &|kernel| merge(&mut kernel.durations, histogram));
        }
    }
    let mut list: Vec<_> = rows.into_values().collect();
    list.sort_by(|a, b| b.seconds().total_cmp(&a.seconds()));
    list
}

fn operations(points: Points<'_>) -> Vec<Operation> {
    let list = [
        ("paged_attention", &instruments::PAGED_ATTENTION_CALLS, &instruments::PAGED_ATTENTION_DURATION),
        ("cache_update", &instruments::CACHE_UPDATE_CALLS, &instruments::CACHE_UPDATE_DURATION),
        ("graph launch", &instruments::GRAPH_LAUNCHES, &instruments::GRAPH_DURATION),
    ];
    let mut rows = BTreeMap::<String, Operation>::new();
    for (name, counter, histogram) in list {
        for point in points.of(counter).iter().chain(points.of(histogram)) {
            let mut name = match value(point, attribute::USE_V1) {
                "" => name.to_owned(),
                use_v1 => format!("{name} use_v1={use_v1}"),
            };
            // What probes count and time has no device.
            if value(point, attribute::GPU).is_empty() {
                name += " (host time)";
            }
            let row = rows.entry(name.clone()).or_insert(Operation {
                name,
                calls: 0,
                seconds_per_unit: if histogram.unit == "ms" { 1e-3 } else { 1.0 },
                durations: Histogram::default(),
            });
            match &point.value {
                Value::Histogram(durations) => merge(&mut row.durations, durations),
                _ => row.calls += number(point) as u64,
            }
        }
    }
    rows.into_values().collect()
}

fn copies(points: Points<'_>) -> Vec<Copy> {
    let mut rows = BTreeMap::<String, Copy>::new();
    let lists = [
        &instruments::MEMORY_OPERATIONS,
        &instruments::MEMORY_TRANSFER_BYTES,
        &instruments::MEMORY_TRANSFER_DURATION,
    ];
    for (list, instrument) in lists.into_iter().enumerate() {
        for point in points.of(instrument) {
            let what = match (value(point, attribute::OPERATION), value(point, attribute::DIRECTION)) {
                ("memcpy", direction) => direction.to_owned(),
                ("memset", _) => "memset".to_owned(),
                _ => continue,
            };
            let row = rows.entry(what.clone()).or_insert_with(|| Copy { what, ..Copy::default() });
            match (&point.value, list) {
                (Value::Histogram(durations), _) => merge(&mut row.durations, durations),
                (_, 0) => row.operations += number(point) as u64,
                _ => row.size_bytes += number(point) as u64,
            }
        }
    }
    rows.into_values().collect()
}

/// The points of a snapshot, by instrument.
#[derive(Clone, Copy)]
pub(super) struct Points<'a>(pub(super) &'a Snapshot);

impl<'a> Points<'a> {
    pub(super) fn of(self, instrument: &'static Instrument) -> &'a [Point] {
        let family = self.0.families.iter().find(|family| std::ptr::eq(family.instrument, instrument));
        family.map(|family| family.points.as_slice()).unwrap_or_default()
    }

    fn total(self, instrument: &'static Instrument) -> f64 {
        self.of(instrument).iter().map(number).sum()
    }
}

fn sum_by(points: &[Point], keys: &[&str]) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for point in points {
        let name = keys.iter().map(|key| value(point, key)).collect::<Vec<_>>().join(" ");
        *sums.entry(name).or_default() += number(point);
    }
    sums
}

pub(super) fn value<'a>(point: &'a Point, key: &str) -> &'a str {
    point.attributes.iter().find(|(known, _)| *known == key).map_or("", |(_, value)| value)
}

pub(super) fn number(point: &Point) -> f64 {
    match &point.value {
        Value::Counter(count) => *count as f64,
        Value::CounterF64(number) | Value::Gauge(number) => *number,
        Value::Histogram(histogram) => histogram.count as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::{merge, quantile};
    use crate::aggregate::histogram::{Buckets, Histogram as Recorder};
    use crate::aggregate::snapshot::Histogram;

    fn of(values: &[u64]) -> Histogram {
        let buckets = Buckets::new(1e9, &[0.001]);
        let mut recorder = Recorder::default();
        for &value in values {
            recorder.observe(&buckets, value);
        }
        recorder.snapshot(&buckets)
    }

    #[test]
    fn quantiles_are_within_a_bucket_of_the_truth() {
        let values: Vec<u64> = (1..=1000).map(|value| value * 1000).collect();
        for (q, truth) in [(0.5, 500e-6), (0.99, 990e-6)] {
            let found = quantile(&of(&values), q).unwrap();
            assert!((found / truth - 1.0).abs() < 0.05, "{q}: {found} for {truth}");
        }
        assert_eq!(quantile(&of(&[7000]), 0.5), Some(7e-6), "one observation is known exactly");
        assert_eq!(quantile(&Histogram::default(), 0.5), None);
        assert_eq!(quantile(&of(&[0, 0, 9]), 0.5), Some(0.0));
    }

    proptest::proptest! {
        #[test]
        fn merging_is_observing_both(left in proptest::collection::vec(0_u64..1 << 40, 0..40),
            right in proptest::collection::vec(0_u64..1 << 40, 0..40))
        {
            let mut merged = of(&left);
            merge(&mut merged, &of(&right));
            let both = of(&[left, right].concat());
            proptest::prop_assert!((merged.sum - both.sum).abs() <= both.sum * 1e-12);
            merged.sum = both.sum;
            proptest::prop_assert_eq!(merged, both);
        }
    }
}
