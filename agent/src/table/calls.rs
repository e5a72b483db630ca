//! Calls of engines' entry points, as the table shows them.
//!
//! Enters: points, and what the latest tensors looked like. Leaves: rows. Refuses: nothing.

use std::collections::BTreeMap;

use super::model::{Points, merge, number, value};
use crate::aggregate::Latest;
use crate::aggregate::snapshot::{Histogram, Value};
use crate::event::Tensor;
use crate::semconv::{attribute, instruments};

/// One probe, over all targets; times in seconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls {
    pub(super) op: String,
    pub(super) probe: String,
    pub(super) calls: u64,
    pub(super) unwound: u64,
    pub(super) durations: Histogram,
    /// The tensors of the latest call: `query f16[2, 8, 128]`.
    pub(super) tensors: String,
}

/// One row a probe, the most host time first.
pub(super) fn rows(points: Points<'_>, latest: &[Latest]) -> Vec<Calls> {
    let mut rows = BTreeMap::<(String, String, String), Calls>::new();
    let lists = [&instruments::OP_CALLS, &instruments::OP_UNWOUND, &instruments::OP_DURATION];
    for (list, instrument) in lists.into_iter().enumerate() {
        for point in points.of(instrument) {
            let of = |key| value(point, key).to_owned();
            let key = (of(attribute::ENGINE), of(attribute::OP), of(attribute::PROBE));
            let row = rows.entry(key).or_default();
            match (&point.value, list) {
                (Value::Histogram(durations), _) => merge(&mut row.durations, durations),
                (_, 0) => row.calls += number(point) as u64,
                _ => row.unwound += number(point) as u64,
            }
        }
    }
    let mut list: Vec<Calls> = rows
        .into_iter()
        .map(|((engine, op, probe), row)| {
            let same = |known: &&Latest| {
                *known.probe.engine == *engine
                    && known.probe.class.name() == op
                    && *known.probe.name == *probe
            };
            let tensors = latest.iter().rfind(same).map(|known| text(&known.tensors)).unwrap_or_default();
            Calls { op, probe: format!("{engine} {probe}"), tensors, ..row }
        })
        .collect();
    list.sort_by(|a, b| b.durations.sum.total_cmp(&a.durations.sum));
    list
}

fn text(tensors: &[Tensor]) -> String {
    let words = tensors
        .iter()
        .map(|tensor| format!("{} {}{:?}", tensor.name, tensor.dtype.unwrap_or_default(), tensor.shape));
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Latest, Points, rows};
    use crate::aggregate::snapshot::{Attributes, Family, Point, Snapshot, Value};
    use crate::event::{OpClass, ProbeInfo, Tensor};
    use crate::semconv::{attribute, instruments};

    #[test]
    fn a_row_sums_a_probe_over_processes_and_shows_its_latest_tensors() {
        let point = |pid: &str, calls| {
            let attributes = Attributes::from([
                (attribute::PID, Arc::from(pid)),
                (attribute::ENGINE, Arc::from("vllm")),
                (attribute::OP, Arc::from("decode")),
                (attribute::PROBE, Arc::from("p")),
            ]);
            Point { attributes, start_unix_ns: 0, value: Value::Counter(calls) }
        };
        let points = vec![point("1", 3), point("2", 4)];
        let snapshot =
            Snapshot { unix_ns: 0, families: vec![Family { instrument: &instruments::OP_CALLS, points }] };
        let (name, engine) = ("p".into(), "vllm".into());
        let probe = ProbeInfo { name, engine, class: OpClass::Decode, use_v1: None, api: None };
        let tensor = Tensor { name: "q".into(), shape: vec![2, 8], dtype: Some("f16"), size_bytes: Some(32) };
        let latest = Latest { probe: Arc::new(probe), tensors: vec![tensor] };
        let rows = rows(Points(&snapshot), &[latest]);
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].calls, &*rows[0].probe, &*rows[0].tensors), (7, "vllm p", "q f16[2, 8]"));
    }
}
