//! The series of one probe: calls, host time, and what the calls say of themselves.
//!
//! Enters: calls. Leaves: three points, and one for each kind of value that the probe's calls state. Refuses: a duration of a
//! call whose return was not seen.

use std::sync::Arc;

use super::super::builder::Builder;
use super::super::histogram::Histogram;
use super::super::limits::Budget;
use super::super::scope::Scope;
use super::super::snapshot::{Attributes, Value};
use super::super::units::Units;
use super::Latest;
use crate::event::{FieldValue, Op, OpClass, OpEnd, ProbeInfo, Tensor};
use crate::semconv::{Instrument, attribute, field, instruments};

/// One probe's series.
#[derive(Debug)]
pub(super) struct ProbeSeries {
    pub(super) probe: Arc<ProbeInfo>,
    calls: Sum,
    unwound: Sum,
    timed: Attributes,
    durations: Histogram,
    /// Sums of values, those that were ever stated: one a kind.
    stated: Vec<(Kind, Sum)>,
    tensors: Vec<Tensor>,
}

#[derive(Debug)]
struct Sum {
    instrument: &'static Instrument,
    attributes: Attributes,
    sum: u64,
}

/// Which value of a call is summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tokens,
    Bytes,
    Failures,
    Hits,
    Misses,
}

/// The probe that stands for all of a class past the series limit.
pub(super) fn other(class: OpClass) -> ProbeInfo {
    let other: Arc<str> = attribute::OTHER.into();
    ProbeInfo { name: Arc::clone(&other), engine: other, class, use_v1: None, api: None }
}

impl ProbeSeries {
    /// Points that each probe has.
    pub(super) const POINTS: usize = 3;

    pub(super) fn new(probe: Arc<ProbeInfo>, scope: &Scope) -> Self {
        let sum = |instrument| Sum::new(instrument, &probe, None, scope);
        let timed = labels(&instruments::OP_DURATION, &probe, None, scope);
        Self {
            calls: sum(&instruments::OP_CALLS),
            unwound: sum(&instruments::OP_UNWOUND),
            timed,
            durations: Histogram::default(),
            stated: Vec::new(),
            tensors: Vec::new(),
            probe,
        }
    }

    pub(super) fn observe(&mut self, op: &Op, scope: &Scope, units: &Units, budget: &mut Budget) {
        self.calls.sum += 1;
        self.unwound.sum += u64::from(op.end == OpEnd::Unwound);
        if let Some(duration_ns) = op.duration_ns() {
            self.durations.observe(&units.host, duration_ns);
        }
        let count = |name| op.field(name).and_then(FieldValue::count);
        if let Some(tokens) = count(field::TOKENS) {
            self.state(Kind::Tokens, tokens, scope, budget);
        }
        if let Some(size_bytes) = count(field::SIZE_BYTES) {
            self.state(Kind::Bytes, size_bytes, scope, budget);
        }
        if let Some(failed) = op.field(field::FAILED).and_then(is_failure) {
            self.state(Kind::Failures, u64::from(failed), scope, budget);
        }
        if let Some(hits) = count(field::BLOCKS_HIT) {
            self.state(Kind::Hits, hits, scope, budget);
            if let Some(blocks) = count(field::BLOCKS) {
                self.state(Kind::Misses, blocks.saturating_sub(hits), scope, budget);
            }
        }
        if !op.tensors.is_empty() {
            self.tensors.clone_from(&op.tensors);
        }
    }

    fn state(&mut self, kind: Kind, amount: u64, scope: &Scope, budget: &mut Budget) {
        let known = self.stated.iter().position(|(known, _)| *known == kind);
        let index = known.unwrap_or_else(|| {
            // A handful a probe, and probes are limited.
            budget.take_fixed(1);
            let (instrument, result) = kind.instrument();
            self.stated.push((kind, Sum::new(instrument, &self.probe, result, scope)));
            self.stated.len() - 1
        });
        if let Some((_, sum)) = self.stated.get_mut(index) {
            sum.sum = sum.sum.saturating_add(amount);
        }
    }

    pub(super) fn latest(&self) -> Latest {
        Latest { probe: Arc::clone(&self.probe), tensors: self.tensors.clone() }
    }

    pub(super) fn overflow(&self) -> u64 {
        if *self.probe.name == *attribute::OTHER { self.calls.sum } else { 0 }
    }

    pub(super) fn collect(&self, units: &Units, builder: &mut Builder) {
        for sum in [&self.calls, &self.unwound].into_iter().chain(self.stated.iter().map(|(_, sum)| sum)) {
            builder.push(sum.instrument, &sum.attributes, Value::Counter(sum.sum));
        }
        let durations = Value::Histogram(self.durations.snapshot(&units.host));
        builder.push(&instruments::OP_DURATION, &self.timed, durations);
    }
}

impl Sum {
    fn new(
        instrument: &'static Instrument,
        probe: &ProbeInfo,
        result: Option<&'static str>,
        scope: &Scope,
    ) -> Self {
        Self { instrument, attributes: labels(instrument, probe, result, scope), sum: 0 }
    }
}

impl Kind {
    fn instrument(self) -> (&'static Instrument, Option<&'static str>) {
        match self {
            Self::Tokens => (&instruments::OP_TOKENS, None),
            Self::Bytes => (&instruments::OP_BYTES, None),
            Self::Failures => (&instruments::OP_FAILURES, None),
            Self::Hits => (&instruments::CACHE_BLOCKS, Some(attribute::result::HIT)),
            Self::Misses => (&instruments::CACHE_BLOCKS, Some(attribute::result::MISS)),
        }
    }
}

fn labels(
    instrument: &Instrument,
    probe: &ProbeInfo,
    result: Option<&'static str>,
    scope: &Scope,
) -> Attributes {
    let mut own = vec![
        (attribute::ENGINE, &*probe.engine),
        (attribute::OP, probe.class.name()),
        (attribute::PROBE, &*probe.name),
        (attribute::TIMING, attribute::timing::HOST),
    ];
    own.extend(result.map(|result| (attribute::RESULT, result)));
    scope.attributes(instrument, &own)
}

fn is_failure(value: &FieldValue) -> Option<bool> {
    match value {
        FieldValue::Boolean(failed) => Some(*failed),
        value => value.bits().map(|number| number != 0),
    }
}
