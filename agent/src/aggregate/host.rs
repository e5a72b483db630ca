//! The series of one target's host side: API calls, errors, waits, CUPTI's own overhead.
//!
//! Enters: host events. Leaves: points. Refuses: functions past the series limit: those share one series an API,
//! `_other`; and to call the answer "not ready" an error.

use std::collections::HashMap;

use super::builder::Builder;
use super::histogram::Histogram;
use super::limits::Budget;
use super::scope::Scope;
use super::snapshot::{Attributes, Value};
use super::units::Units;
use crate::cuda;
use crate::event::{Api, Overhead, Synchronization};
use crate::semconv::{attribute, instruments};

type Table<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// A callback id that no CUDA function has: it stands for all functions past the limit.
const OTHER: u32 = u32::MAX;

/// Host-side series of one target.
#[derive(Debug, Default)]
pub(super) struct HostSeries {
    calls: Table<(bool, u32), Calls>,
    errors: Table<(bool, u32, u32), Errors>,
    waits: Vec<Spent>,
    overheads: Vec<Spent>,
    overflow: u64,
}

#[derive(Debug)]
struct Calls {
    counted: Attributes,
    timed: Attributes,
    durations: Histogram,
}

#[derive(Debug)]
struct Errors {
    attributes: Attributes,
    count: u64,
}

#[derive(Debug)]
struct Spent {
    activity: &'static str,
    attributes: Attributes,
    durations: Histogram,
}

impl HostSeries {
    pub(super) fn api(&mut self, api: &Api, scope: &Scope, units: &Units, budget: &mut Budget) {
        let mut key = (api.is_runtime, api.cbid);
        if !self.calls.contains_key(&key) && !budget.take(2) {
            self.overflow += 1;
            key.1 = OTHER;
            if !self.calls.contains_key(&key) {
                budget.take_fixed(2);
            }
        }
        let calls = self.calls.entry(key).or_insert_with(|| Calls::new(key, scope));
        calls.durations.observe(&units.host, api.interval.duration_ns());
        if api.status != 0 && !cuda::is_answer(api.status) {
            self.error(key, api.status, scope, budget);
        }
    }

    fn error(&mut self, (is_runtime, cbid): (bool, u32), status: u32, scope: &Scope, budget: &mut Budget) {
        let mut key = (is_runtime, cbid, status);
        if !self.errors.contains_key(&key) && !budget.take(1) {
            self.overflow += 1;
            key = (is_runtime, OTHER, OTHER);
            if !self.errors.contains_key(&key) {
                budget.take_fixed(1);
            }
        }
        self.errors.entry(key).or_insert_with(|| Errors::new(key, scope)).count += 1;
    }

    pub(super) fn synchronization(
        &mut self,
        event: &Synchronization,
        scope: &Scope,
        units: &Units,
        budget: &mut Budget,
    ) {
        let instrument = &instruments::SYNC_DURATION;
        let spent = Spent::find(&mut self.waits, event.what, || {
            budget.take_fixed(1);
            scope.attributes(instrument, &spent_labels(event.what))
        });
        spent.observe(&units.host, event.interval.duration_ns());
    }

    pub(super) fn overhead(&mut self, event: &Overhead, scope: &Scope, units: &Units, budget: &mut Budget) {
        let instrument = &instruments::PROFILING_OVERHEAD;
        let spent = Spent::find(&mut self.overheads, event.what, || {
            budget.take_fixed(1);
            scope.attributes(instrument, &spent_labels(event.what))
        });
        spent.observe(&units.host, event.interval.duration_ns());
    }

    /// Calls and errors counted under `_other`.
    pub(super) fn overflow(&self) -> u64 {
        self.overflow
    }

    pub(super) fn collect(&self, units: &Units, builder: &mut Builder) {
        for calls in self.calls.values() {
            let count = Value::Counter(calls.durations.count());
            builder.push(&instruments::API_CALLS, &calls.counted, count);
            let durations = calls.durations.snapshot(&units.host);
            builder.push(&instruments::API_DURATION, &calls.timed, Value::Histogram(durations));
        }
        for errors in self.errors.values() {
            builder.push(&instruments::ERRORS, &errors.attributes, Value::Counter(errors.count));
        }
        for (instrument, list) in
            [(&instruments::SYNC_DURATION, &self.waits), (&instruments::PROFILING_OVERHEAD, &self.overheads)]
        {
            for spent in list {
                let durations = spent.durations.snapshot(&units.host);
                builder.push(instrument, &spent.attributes, Value::Histogram(durations));
            }
        }
    }
}

impl Calls {
    fn new((is_runtime, cbid): (bool, u32), scope: &Scope) -> Self {
        let function = function_label(is_runtime, cbid);
        let own = [
            (attribute::API, cuda::api_name(is_runtime)),
            (attribute::FUNCTION, function.as_str()),
            (attribute::TIMING, attribute::timing::HOST),
        ];
        Self {
            counted: scope.attributes(&instruments::API_CALLS, &own),
            timed: scope.attributes(&instruments::API_DURATION, &own),
            durations: Histogram::default(),
        }
    }
}

impl Errors {
    fn new((is_runtime, cbid, status): (bool, u32, u32), scope: &Scope) -> Self {
        let function = function_label(is_runtime, cbid);
        let error = match status {
            OTHER => attribute::OTHER.to_owned(),
            status => cuda::error_name(is_runtime, status),
        };
        let own = [
            (attribute::API, cuda::api_name(is_runtime)),
            (attribute::FUNCTION, function.as_str()),
            (attribute::ERROR, error.as_str()),
        ];
        Self { attributes: scope.attributes(&instruments::ERRORS, &own), count: 0 }
    }
}

impl Spent {
    /// Few activities exist, so a search beats a table.
    fn find<'a>(
        list: &'a mut Vec<Self>,
        activity: &'static str,
        attributes: impl FnOnce() -> Attributes,
    ) -> &'a mut Self {
        let index = list.iter().position(|spent| spent.activity == activity).unwrap_or_else(|| {
            list.push(Self { activity, attributes: attributes(), durations: Histogram::default() });
            list.len() - 1
        });
        // The index was found or made right above.
        #[expect(clippy::indexing_slicing, reason = "in bounds by construction")]
        &mut list[index]
    }

    fn observe(&mut self, buckets: &super::histogram::Buckets, duration_ns: u64) {
        self.durations.observe(buckets, duration_ns);
    }
}

fn spent_labels(activity: &'static str) -> [(&'static str, &'static str); 2] {
    [(attribute::ACTIVITY, activity), (attribute::TIMING, attribute::timing::HOST)]
}

fn function_label(is_runtime: bool, cbid: u32) -> String {
    match cbid {
        OTHER => attribute::OTHER.to_owned(),
        cbid => cuda::function_name(is_runtime, cbid).map_or_else(|| format!("cbid_{cbid}"), str::to_owned),
    }
}
