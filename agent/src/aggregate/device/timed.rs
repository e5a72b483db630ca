//! A counter and a histogram of GPU time that belong together.
//!
//! Enters: counts and durations. Leaves: two points. Refuses: nothing.

use super::super::builder::Builder;
use super::super::histogram::{Buckets, Histogram};
use super::super::limits::Budget;
use super::super::scope::Scope;
use super::super::snapshot::{Attributes, Value};
use crate::semconv::{Instrument, attribute};

/// One such pair.
#[derive(Debug)]
pub(crate) struct Timed {
    counter: &'static Instrument,
    histogram: &'static Instrument,
    counted: Attributes,
    timed: Attributes,
    count: u64,
    durations: Histogram,
}

impl Timed {
    /// Points that a series of this kind has.
    pub(super) const POINTS: usize = 2;

    /// A pair at 0. Only for kinds whose number is bounded: no limit applies.
    pub(super) fn new(
        counter: &'static Instrument,
        histogram: &'static Instrument,
        scope: &Scope,
        own: &[(&'static str, &str)],
        budget: &mut Budget,
    ) -> Self {
        budget.take_fixed(Self::POINTS);
        let none = Attributes::from([]);
        let mut series = Self {
            counter,
            histogram,
            counted: Attributes::clone(&none),
            timed: none,
            count: 0,
            durations: Histogram::default(),
        };
        series.label(scope, own);
        series
    }

    pub(super) fn label(&mut self, scope: &Scope, own: &[(&'static str, &str)]) {
        let mut own = own.to_vec();
        self.counted = scope.attributes(self.counter, &own);
        own.push((attribute::TIMING, attribute::timing::GPU));
        self.timed = scope.attributes(self.histogram, &own);
    }

    pub(super) fn count(&mut self) {
        self.count += 1;
    }

    pub(super) fn observe_some(&mut self, buckets: &Buckets, duration_ns: Option<u64>) {
        if let Some(duration_ns) = duration_ns {
            self.durations.observe(buckets, duration_ns);
        }
    }

    pub(super) fn collect(&self, buckets: &Buckets, builder: &mut Builder) {
        builder.push(self.counter, &self.counted, Value::Counter(self.count));
        let durations = self.durations.snapshot(buckets);
        builder.push(self.histogram, &self.timed, Value::Histogram(durations));
    }
}
