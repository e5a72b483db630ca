//! Copies of one direction, or memsets: number, bytes, GPU time, bandwidth.
//!
//! Enters: copies and memsets. Leaves: four points a kind. Refuses: a bandwidth while nothing was copied.

use super::super::builder::Builder;
use super::super::histogram::Histogram;
use super::super::limits::Budget;
use super::super::scope::Scope;
use super::super::snapshot::{Attributes, Value};
use super::super::units::Units;
use crate::event::Direction;
use crate::semconv::{Instrument, attribute, instruments};

/// What was transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A copy.
    Copy(Direction),
    /// A memset.
    Set,
}

/// The series of one kind.
#[derive(Debug)]
pub(crate) struct Transfer {
    pub(super) kind: Kind,
    operations: u64,
    size_bytes: u64,
    /// Bytes of the copies whose time is known.
    timed_bytes: u64,
    durations: Histogram,
    /// `timed_bytes` and nanoseconds at the latest tick that saw a copy.
    before: (u64, u64),
    bytes_per_ns: Option<f64>,
    labels: [Attributes; INSTRUMENTS.len()],
}

/// The instruments that a kind feeds.
const INSTRUMENTS: [&Instrument; 4] = [
    &instruments::MEMORY_OPERATIONS,
    &instruments::MEMORY_TRANSFER_DURATION,
    &instruments::MEMORY_TRANSFER_BYTES,
    &instruments::MEMORY_BANDWIDTH,
];

impl Transfer {
    /// A kind at 0. There are seven of them, so no limit applies.
    pub(super) fn new(kind: Kind, scope: &Scope, budget: &mut Budget) -> Self {
        budget.take_fixed(INSTRUMENTS.len());
        let mut series = Self {
            kind,
            operations: 0,
            size_bytes: 0,
            timed_bytes: 0,
            durations: Histogram::default(),
            before: (0, 0),
            bytes_per_ns: None,
            labels: std::array::from_fn(|_| Attributes::from([])),
        };
        series.label(scope);
        series
    }

    pub(super) fn label(&mut self, scope: &Scope) {
        let mut own = vec![(attribute::TIMING, attribute::timing::GPU)];
        match self.kind {
            Kind::Copy(direction) => {
                own.extend([(attribute::OPERATION, "memcpy"), (attribute::DIRECTION, direction.name())]);
            }
            Kind::Set => own.push((attribute::OPERATION, "memset")),
        }
        self.labels = INSTRUMENTS.map(|instrument| scope.attributes(instrument, &own));
    }

    /// Takes `operations` operations in one record.
    pub(in super::super) fn observe(
        &mut self,
        units: &Units,
        operations: u32,
        size_bytes: u64,
        duration_ns: Option<u64>,
    ) {
        self.operations += u64::from(operations);
        self.size_bytes = self.size_bytes.saturating_add(size_bytes);
        if let Some(duration_ns) = duration_ns {
            self.timed_bytes = self.timed_bytes.saturating_add(size_bytes);
            self.durations.observe(&units.gpu, duration_ns);
        }
    }

    pub(super) fn tick(&mut self) {
        let now = (self.timed_bytes, self.durations.sum_ns());
        let busy_ns = now.1.saturating_sub(self.before.1);
        if busy_ns > 0 {
            self.bytes_per_ns = Some(now.0.saturating_sub(self.before.0) as f64 / busy_ns as f64);
            self.before = now;
        }
    }

    pub(super) fn collect(&self, units: &Units, builder: &mut Builder) {
        let values = [
            Some(Value::Counter(self.operations)),
            Some(Value::Histogram(self.durations.snapshot(&units.gpu))),
            Some(Value::Counter(self.size_bytes)),
            // Bytes per nanosecond are 10⁹ bytes per second.
            self.bytes_per_ns.map(Value::Gauge),
        ];
        for ((instrument, attributes), value) in INSTRUMENTS.into_iter().zip(&self.labels).zip(values) {
            if let Some(value) = value {
                builder.push(instrument, attributes, value);
            }
        }
    }
}
