//! Snapshots to OTLP messages.
//!
//! Enters: a snapshot, the resource, temporality and histogram kind. Leaves: requests of at most so many points.
//! Refuses: to hold more than one request at a time: batches are ranges, the messages are made when they are sent.

use std::collections::VecDeque;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    self as proto, AggregationTemporality, ExponentialHistogramDataPoint, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, exponential_histogram_data_point::Buckets, metric::Data,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource as ResourceMessage;

use super::delta::Acknowledged;
use super::options::{Histograms, Temporality};
use crate::aggregate::snapshot::{Attributes, Family, Histogram, Point, Snapshot, Value};
use crate::export::resource::Resource;
use crate::semconv::{Instrument, InstrumentKind, attribute};

/// What is sent.
pub(super) type Request = ExportMetricsServiceRequest;

/// Points of one request: for each family (by its index) those at these indices, with their values where these are
/// differences.
#[derive(Debug, Default)]
pub(super) struct Batch {
    delta: bool,
    points: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    family: usize,
    point: usize,
    /// Start and value of a difference; else the point's own.
    difference: Option<(u64, Value)>,
}

impl Batch {
    pub(super) fn points(&self) -> usize {
        self.points.len()
    }

    pub(super) fn is_delta(&self) -> bool {
        self.delta
    }

    /// The points, as they are in the snapshot.
    pub(super) fn iter<'a>(
        &'a self,
        snapshot: &'a Snapshot,
    ) -> impl Iterator<Item = (&'a Family, &'a Point)> {
        self.points.iter().filter_map(|entry| entry.of(snapshot))
    }
}

impl Entry {
    fn of<'a>(&self, snapshot: &'a Snapshot) -> Option<(&'a Family, &'a Point)> {
        let family = snapshot.families.get(self.family)?;
        Some((family, family.points.get(self.point)?))
    }
}

/// Knows what does not change from push to push.
#[derive(Debug)]
pub(super) struct Encoder {
    resource: ResourceMessage,
    scope: InstrumentationScope,
    temporality: Temporality,
    histograms: Histograms,
}

impl Encoder {
    pub(super) fn new(resource: &Resource, temporality: Temporality, histograms: Histograms) -> Self {
        let attributes = resource.attributes().map(|(key, value)| text(key, value)).collect();
        Self {
            resource: ResourceMessage { attributes, ..ResourceMessage::default() },
            scope: InstrumentationScope {
                name: env!("CARGO_PKG_NAME").to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ..InstrumentationScope::default()
            },
            temporality,
            histograms,
        }
    }

    #[cfg(test)]
    pub(super) fn is_cumulative(&self) -> bool {
        self.temporality == Temporality::Cumulative
    }

    /// Splits the snapshot. With delta temporality, series that did not move are left out.
    pub(super) fn batches(
        &self,
        snapshot: &Snapshot,
        acknowledged: &mut Acknowledged,
        limit: usize,
    ) -> VecDeque<Batch> {
        let delta = self.temporality != Temporality::Cumulative;
        acknowledged.retain(snapshot);
        let mut batches = VecDeque::new();
        let mut batch = Batch { delta, points: Vec::new() };
        for (family_index, family) in snapshot.families.iter().enumerate() {
            for (index, point) in family.points.iter().enumerate() {
                let difference = delta.then(|| acknowledged.difference(family, point));
                let Some(difference) = difference.map_or(Some(None), |moved| moved.map(Some)) else {
                    continue;
                };
                batch.points.push(Entry { family: family_index, point: index, difference });
                if batch.points.len() >= limit {
                    batches.push_back(std::mem::replace(&mut batch, Batch { delta, points: Vec::new() }));
                }
            }
        }
        if !batch.points.is_empty() {
            batches.push_back(batch);
        }
        batches
    }

    /// The message for one batch.
    pub(super) fn request(&self, snapshot: &Snapshot, batch: &Batch) -> Request {
        let metrics = batch
            .points
            .chunk_by(|a, b| a.family == b.family)
            .filter_map(|entries| self.metric(snapshot, entries))
            .collect();
        let scope_metrics =
            ScopeMetrics { scope: Some(self.scope.clone()), metrics, schema_url: String::new() };
        let resource_metrics = ResourceMetrics {
            resource: Some(self.resource.clone()),
            scope_metrics: vec![scope_metrics],
            schema_url: String::new(),
        };
        Request { resource_metrics: vec![resource_metrics] }
    }

    fn metric(&self, snapshot: &Snapshot, entries: &[Entry]) -> Option<Metric> {
        let instrument = snapshot.families.get(entries.first()?.family)?.instrument;
        let points = entries.iter().filter_map(|entry| {
            let (_, point) = entry.of(snapshot)?;
            let (start, value) = match &entry.difference {
                Some((start, value)) => (*start, value),
                None => (point.start_unix_ns, &point.value),
            };
            Some(Timed { attributes: &point.attributes, start, time: snapshot.unix_ns, value })
        });
        let aggregation_temporality = match self.temporality {
            Temporality::Cumulative => AggregationTemporality::Cumulative,
            Temporality::Delta | Temporality::LowMemory => AggregationTemporality::Delta,
        } as i32;
        let data = match instrument.kind {
            InstrumentKind::Counter => Data::Sum(proto::Sum {
                data_points: points.map(|point| point.number()).collect(),
                aggregation_temporality,
                is_monotonic: true,
            }),
            InstrumentKind::Gauge => {
                Data::Gauge(proto::Gauge { data_points: points.map(|point| point.number()).collect() })
            }
            InstrumentKind::Histogram if self.histograms == Histograms::Explicit => {
                Data::Histogram(proto::Histogram {
                    data_points: points.filter_map(|point| point.explicit(instrument)).collect(),
                    aggregation_temporality,
                })
            }
            InstrumentKind::Histogram => Data::ExponentialHistogram(proto::ExponentialHistogram {
                data_points: points.filter_map(|point| point.exponential()).collect(),
                aggregation_temporality,
            }),
        };
        Some(Metric {
            name: instrument.name.to_owned(),
            description: instrument.description.to_owned(),
            unit: instrument.unit.to_owned(),
            metadata: Vec::new(),
            data: Some(data),
        })
    }
}

/// A point as it is sent.
struct Timed<'a> {
    attributes: &'a Attributes,
    start: u64,
    time: u64,
    value: &'a Value,
}

impl Timed<'_> {
    fn number(&self) -> NumberDataPoint {
        let value = match self.value {
            Value::Counter(total) => {
                number_data_point::Value::AsInt(i64::try_from(*total).unwrap_or(i64::MAX))
            }
            Value::CounterF64(value) | Value::Gauge(value) => number_data_point::Value::AsDouble(*value),
            Value::Histogram(histogram) => number_data_point::Value::AsDouble(histogram.sum),
        };
        NumberDataPoint {
            attributes: key_values(self.attributes),
            start_time_unix_nano: self.start,
            time_unix_nano: self.time,
            value: Some(value),
            ..NumberDataPoint::default()
        }
    }

    fn explicit(&self, instrument: &Instrument) -> Option<HistogramDataPoint> {
        let Value::Histogram(histogram) = self.value else { return None };
        let (min, max) = range(histogram);
        Some(HistogramDataPoint {
            attributes: key_values(self.attributes),
            start_time_unix_nano: self.start,
            time_unix_nano: self.time,
            count: histogram.count,
            sum: Some(histogram.sum),
            bucket_counts: histogram.explicit.clone(),
            explicit_bounds: instrument.bounds.to_vec(),
            min,
            max,
            ..HistogramDataPoint::default()
        })
    }

    fn exponential(&self) -> Option<ExponentialHistogramDataPoint> {
        let Value::Histogram(histogram) = self.value else { return None };
        let (min, max) = range(histogram);
        let buckets = &histogram.exponential;
        Some(ExponentialHistogramDataPoint {
            attributes: key_values(self.attributes),
            start_time_unix_nano: self.start,
            time_unix_nano: self.time,
            count: histogram.count,
            sum: Some(histogram.sum),
            scale: buckets.scale,
            zero_count: buckets.zero_count,
            positive: Some(Buckets { offset: buckets.offset, bucket_counts: buckets.counts.clone() }),
            min,
            max,
            ..ExponentialHistogramDataPoint::default()
        })
    }
}

/// Smallest and largest, where they are known.
fn range(histogram: &Histogram) -> (Option<f64>, Option<f64>) {
    let known = histogram.count > 0;
    let keep = |value: f64| (known && !value.is_nan()).then_some(value);
    (keep(histogram.min), keep(histogram.max))
}

fn key_values(attributes: &Attributes) -> Vec<KeyValue> {
    attributes.iter().map(|(key, value)| key_value(key, value)).collect()
}

/// Attributes are text, but for the one that OpenTelemetry's conventions declare an integer.
fn key_value(key: &str, value: &str) -> KeyValue {
    match value.parse() {
        Ok(number) if key == attribute::PID => with(key, any_value::Value::IntValue(number)),
        _ => text(key, value),
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    with(key, any_value::Value::StringValue(value.to_owned()))
}

fn with(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
