//! The series of one target's probed calls: by probe, by tensor, and those of paged attention and cache updates under the names
//! that dashboards know.
//!
//! Enters: calls. Leaves: points. Refuses: to count what the GPU's own records count: where CUPTI shows executions, a call of
//! `paged_attention` gives its host time only; and probes and tensors past the series limit: those share one series a class.

use std::sync::Arc;

use super::builder::Builder;
use super::limits::Budget;
use super::scope::Scope;
use super::timed::{self, CACHE_UPDATE, PAGED_ATTENTION, Timed, USE_V1, attention_labels};
use super::units::Units;
use crate::event::{Op, OpClass, ProbeInfo, Tensor};
use crate::semconv::attribute::timing;

mod probe;
mod tensors;

use probe::ProbeSeries;
use tensors::Tensors;

/// A probe's calls, and what its tensors looked like.
#[derive(Debug, Clone)]
pub struct Latest {
    /// Which probe.
    pub probe: Arc<ProbeInfo>,
    /// The tensors of the latest call that had any.
    pub tensors: Vec<Tensor>,
}

/// All series.
#[derive(Debug, Default)]
pub(super) struct OpSeries {
    probes: Vec<ProbeSeries>,
    tensors: Tensors,
    attention: [Option<Timed>; USE_V1.len()],
    cache_update: Option<Timed>,
}

impl OpSeries {
    /// Takes one call; `is_counted` says whether the GPU's records count executions of this target.
    pub(super) fn op(
        &mut self,
        op: &Op,
        is_counted: bool,
        scope: &Scope,
        units: &Units,
        budget: &mut Budget,
    ) {
        self.probe(&op.probe, scope, budget).observe(op, scope, units, budget);
        for tensor in &op.tensors {
            self.tensors.observe(tensor, op.probe.class, scope, units, budget);
        }
        let use_v1 = op.probe.use_v1;
        let slot = match op.probe.class {
            OpClass::PagedAttention => timed::slot(&mut self.attention, use_v1),
            OpClass::CacheUpdate => &mut self.cache_update,
            _ => return,
        };
        let series = slot.get_or_insert_with(|| match op.probe.class {
            OpClass::PagedAttention => {
                Timed::new(PAGED_ATTENTION, timing::HOST, scope, &attention_labels(use_v1), budget)
            }
            _ => Timed::new(CACHE_UPDATE, timing::HOST, scope, &[], budget),
        });
        if !is_counted {
            series.count();
        }
        series.observe_some(&units.call_ms, op.duration_ns());
    }

    /// The series of a probe, made when it is new. Another plan's probe of the same name goes on with it.
    fn probe(&mut self, probe: &Arc<ProbeInfo>, scope: &Scope, budget: &mut Budget) -> &mut ProbeSeries {
        let same = self.probes.iter().position(|series| Arc::ptr_eq(&series.probe, probe));
        let index = same.unwrap_or_else(|| self.admit(probe, scope, budget));
        // The index was found or made right above.
        #[expect(clippy::indexing_slicing, reason = "in bounds by construction")]
        &mut self.probes[index]
    }

    #[cold]
    fn admit(&mut self, probe: &Arc<ProbeInfo>, scope: &Scope, budget: &mut Budget) -> usize {
        let find = |series: &[ProbeSeries], wanted: &ProbeInfo| {
            series.iter().position(|known| *known.probe == *wanted)
        };
        if let Some(index) = find(&self.probes, probe) {
            if let Some(known) = self.probes.get_mut(index) {
                known.probe = Arc::clone(probe);
            }
            return index;
        }
        let mut probe = Arc::clone(probe);
        if !budget.take(ProbeSeries::POINTS) {
            let other = probe::other(probe.class);
            if let Some(index) = find(&self.probes, &other) {
                return index;
            }
            budget.take_fixed(ProbeSeries::POINTS);
            probe = Arc::new(other);
        }
        self.probes.push(ProbeSeries::new(probe, scope));
        self.probes.len() - 1
    }

    /// What the tensors of each probe's latest call looked like.
    pub(super) fn latest(&self) -> impl Iterator<Item = Latest> {
        self.probes.iter().map(ProbeSeries::latest)
    }

    /// Calls and tensors counted under `_other`.
    pub(super) fn overflow(&self) -> u64 {
        self.probes.iter().map(ProbeSeries::overflow).sum::<u64>() + self.tensors.overflow()
    }

    pub(super) fn collect(&self, units: &Units, builder: &mut Builder) {
        for series in self.attention.iter().flatten().chain(&self.cache_update) {
            series.collect(&units.call_ms, builder);
        }
        self.tensors.collect(units, builder);
        for series in &self.probes {
            series.collect(units, builder);
        }
    }
}
