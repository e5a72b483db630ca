//! Delta temporality from cumulative snapshots.
//!
//! Enters: snapshots, and which batches of them the receiver took. Leaves: for each series what it has more than the
//! receiver acknowledged. Refuses: to forget: a series' baseline moves only when the batch that carried it arrived,
//! so nothing is lost while the endpoint is away, and nothing is sent twice after a push that arrived in part.
//! (A batch that arrived while its acknowledgement was lost is sent again: the protocol cannot tell.)

use std::collections::HashMap;

use super::encode::Batch;
use crate::aggregate::snapshot::{Attributes, Family, Histogram, Point, Snapshot, Value};
use crate::export::exponential;

/// What the receiver has, by instrument and series.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    series: HashMap<&'static str, HashMap<Attributes, Baseline>>,
    generation: u64,
}

#[derive(Debug)]
struct Baseline {
    /// When the series began: another start is another series with the same attributes.
    start_unix_ns: u64,
    /// When this value was current.
    unix_ns: u64,
    value: Value,
    generation: u64,
}

impl Acknowledged {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.series.values().map(HashMap::len).sum()
    }

    /// Forgets series that are no longer in the snapshot. Called once for each new snapshot.
    pub(super) fn retain(&mut self, snapshot: &Snapshot) {
        if self.series.is_empty() {
            return;
        }
        self.generation += 1;
        let generation = self.generation;
        for family in &snapshot.families {
            let Some(series) = self.series.get_mut(family.instrument.name) else { continue };
            for point in &family.points {
                if let Some(baseline) = series.get_mut(&point.attributes) {
                    baseline.generation = generation;
                }
            }
        }
        self.series.retain(|_, series| {
            series.retain(|_, baseline| baseline.generation == generation);
            !series.is_empty()
        });
    }

    /// What `point` has more than the receiver, and since when; `None` where that is nothing.
    pub(super) fn difference(&self, family: &Family, point: &Point) -> Option<(u64, Value)> {
        let baseline =
            self.series.get(family.instrument.name).and_then(|series| series.get(&point.attributes));
        let baseline = baseline.filter(|baseline| baseline.start_unix_ns == point.start_unix_ns);
        let Some((baseline, value)) = baseline.and_then(|b| Some((b, subtract(&point.value, &b.value)?)))
        else {
            return (!is_zero(&point.value)).then(|| (point.start_unix_ns, point.value.clone()));
        };
        (!is_zero(&value)).then_some((baseline.unix_ns, value))
    }

    /// The receiver took this batch.
    pub(super) fn commit(&mut self, snapshot: &Snapshot, batch: &Batch) {
        if !batch.is_delta() {
            return;
        }
        for (family, point) in batch.iter(snapshot) {
            if matches!(point.value, Value::Gauge(_)) {
                continue;
            }
            let baseline = Baseline {
                start_unix_ns: point.start_unix_ns,
                unix_ns: snapshot.unix_ns,
                value: point.value.clone(),
                generation: self.generation,
            };
            self.series.entry(family.instrument.name).or_default().insert(point.attributes.clone(), baseline);
        }
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Counter(total) => *total == 0,
        Value::CounterF64(total) => *total == 0.0,
        Value::Gauge(_) => false,
        Value::Histogram(histogram) => histogram.count == 0,
    }
}

/// `newer` − `older`; `None` where `older` is not an earlier state of the same series.
fn subtract(newer: &Value, older: &Value) -> Option<Value> {
    match (newer, older) {
        (Value::Counter(newer), Value::Counter(older)) => newer.checked_sub(*older).map(Value::Counter),
        (Value::CounterF64(newer), Value::CounterF64(older)) => {
            (newer >= older).then_some(Value::CounterF64(newer - older))
        }
        (Value::Gauge(value), _) => Some(Value::Gauge(*value)),
        (Value::Histogram(newer), Value::Histogram(older)) => {
            subtract_histogram(newer, older).map(Value::Histogram)
        }
        _ => None,
    }
}

/// Minimum and maximum of the difference are not known: NaN, which the encoder leaves out.
fn subtract_histogram(newer: &Histogram, older: &Histogram) -> Option<Histogram> {
    let explicit: Option<Vec<u64>> = newer
        .explicit
        .iter()
        .zip(older.explicit.iter().chain(std::iter::repeat(&0)))
        .map(|(newer, older)| newer.checked_sub(*older))
        .collect();
    Some(Histogram {
        count: newer.count.checked_sub(older.count)?,
        sum: newer.sum - older.sum,
        min: f64::NAN,
        max: f64::NAN,
        explicit: explicit?,
        exponential: exponential::difference(&newer.exponential, &older.exponential),
    })
}
