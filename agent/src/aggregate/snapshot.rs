//! What the aggregate hands to the exporters: every instrument's points at one moment.
//!
//! Enters: nothing. Leaves: plain values, cumulative since each series began. Refuses: knowledge of any exporter's
//! format. Delta temporality is made by the exporter that wants it, from two snapshots.

use std::sync::Arc;

use crate::semconv::Instrument;

/// Attributes of a series: keys of [`crate::semconv::attribute`], in the order of the instrument's declaration.
pub type Attributes = Arc<[(&'static str, Arc<str>)]>;

/// All instruments' points at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// When it was taken, Unix nanoseconds.
    pub unix_ns: u64,
    /// One entry for each instrument that has points, in the order of [`crate::semconv::INSTRUMENTS`].
    pub families: Vec<Family>,
}

/// One instrument and its points.
#[derive(Debug, Clone)]
pub struct Family {
    /// Name, unit, description, kind.
    pub instrument: &'static Instrument,
    /// One point a series.
    pub points: Vec<Point>,
}

/// One series at one moment.
#[derive(Debug, Clone)]
pub struct Point {
    /// What distinguishes it.
    pub attributes: Attributes,
    /// When the series began, Unix nanoseconds.
    pub start_unix_ns: u64,
    /// Its value.
    pub value: Value,
}

/// A point's value.
#[derive(Debug, Clone)]
pub enum Value {
    /// Monotonic sum of whole things.
    Counter(u64),
    /// Monotonic sum of a measure (seconds).
    CounterF64(f64),
    /// A value that goes up and down.
    Gauge(f64),
    /// A distribution.
    Histogram(Histogram),
}

/// A distribution: explicit buckets and exponential buckets of the same observations.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Histogram {
    /// Observations.
    pub count: u64,
    /// Their sum, in the instrument's unit.
    pub sum: f64,
    /// The smallest, in the instrument's unit; 0 when there is none.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Observations at or below each of the instrument's bounds and above the one before; one more for the rest.
    /// Not cumulative.
    pub explicit: Vec<u64>,
    /// The same, in base-2 exponential buckets.
    pub exponential: Exponential,
}

/// Base-2 exponential buckets, as in OpenTelemetry's data model: bucket `i` holds (base^(offset+i),
/// base^(offset+i+1)] with base = 2^(2^-scale), in the instrument's unit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Exponential {
    /// Resolution.
    pub scale: i32,
    /// Observations of exactly 0.
    pub zero_count: u64,
    /// Index of the first bucket.
    pub offset: i32,
    /// Counts.
    pub counts: Vec<u64>,
}
