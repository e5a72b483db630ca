//! A counter and a histogram of time that belong together.
//!
//! Enters: counts and durations, all of one clock. Leaves: two points. Refuses: to show a counter that somebody else keeps: one
//! that never counted is left out.

use super::builder::Builder;
use super::histogram::{Buckets, Histogram};
use super::limits::Budget;
use super::scope::Scope;
use super::snapshot::{Attributes, Value};
use crate::semconv::{Instrument, attribute, instruments};

/// Calls of paged attention and their time.
pub(super) const PAGED_ATTENTION: (&Instrument, &Instrument) =
    (&instruments::PAGED_ATTENTION_CALLS, &instruments::PAGED_ATTENTION_DURATION);
/// Updates of the KV cache and their time.
pub(super) const CACHE_UPDATE: (&Instrument, &Instrument) =
    (&instruments::CACHE_UPDATE_CALLS, &instruments::CACHE_UPDATE_DURATION);

/// The values of `use_v1`, in the order of [`slot`].
pub(super) const USE_V1: [Option<bool>; 3] = [None, Some(false), Some(true)];

/// The one of three that is for `use_v1`.
pub(super) fn slot<T>([unknown, second, first]: &mut [T; 3], use_v1: Option<bool>) -> &mut T {
    match use_v1 {
        None => unknown,
        Some(false) => second,
        Some(true) => first,
    }
}

/// The attribute `use_v1`, where it is known.
pub(super) fn attention_labels(use_v1: Option<bool>) -> Vec<(&'static str, &'static str)> {
    use_v1.map(|use_v1| (attribute::USE_V1, if use_v1 { "true" } else { "false" })).into_iter().collect()
}

/// One such pair.
#[derive(Debug)]
pub(crate) struct Timed {
    counter: &'static Instrument,
    histogram: &'static Instrument,
    timing: &'static str,
    counted: Attributes,
    timed: Attributes,
    count: u64,
    durations: Histogram,
}

impl Timed {
    /// Points that a series of this kind has.
    pub(super) const POINTS: usize = 2;

    /// A pair at 0, measured by the clock `timing`. Only for kinds whose number is bounded: no limit applies.
    pub(super) fn new(
        (counter, histogram): (&'static Instrument, &'static Instrument),
        timing: &'static str,
        scope: &Scope,
        own: &[(&'static str, &str)],
        budget: &mut Budget,
    ) -> Self {
        budget.take_fixed(Self::POINTS);
        let none = Attributes::from([]);
        let mut series = Self {
            counter,
            histogram,
            timing,
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
        own.push((attribute::TIMING, self.timing));
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
        if self.count > 0 {
            builder.push(self.counter, &self.counted, Value::Counter(self.count));
        }
        let durations = self.durations.snapshot(buckets);
        builder.push(self.histogram, &self.timed, Value::Histogram(durations));
    }
}
