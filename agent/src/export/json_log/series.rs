//! Lines for series, once an interval.
//!
//! Enters: snapshots. Leaves: a line for each series that moved since its last line: totals, to be compared exactly
//! with Prometheus, and what was added since. Refuses: to repeat: a series that stands still has said all.

use std::collections::HashMap;

use tracing::Level;

use super::filter::Filter;
use super::line::Line;
use crate::aggregate::snapshot::{Attributes, Point, Snapshot, Value};
use crate::semconv::{Instrument, attribute};

/// Log target of an instrument's series.
fn target(instrument: &Instrument, attributes: &Attributes) -> &'static str {
    let name = instrument.name;
    if name.starts_with("paged_attention_") {
        "paged_attention_metrics"
    } else if name.starts_with("cache_update_") {
        "cache_update_metrics"
    } else if name.starts_with("tensor_") {
        "tensor_metrics"
    } else if is_loss(name, attributes) {
        "losses"
    } else {
        "summary"
    }
}

/// Records and calls that did not go all the way, at any hop.
fn is_loss(name: &str, attributes: &Attributes) -> bool {
    let outcome = attributes.iter().find(|(key, _)| *key == attribute::OUTCOME);
    match (name.starts_with("gpu_agent."), outcome) {
        (true, Some((_, outcome))) => **outcome != *attribute::outcome::PASSED,
        (true, None) => LOSSES.contains(&name),
        (false, _) => false,
    }
}

/// Counters of losses that have no outcome among their attributes.
const LOSSES: &[&str] = &[
    "gpu_agent.records.incomplete",
    "gpu_agent.orphans",
    "gpu_agent.probes.calls.untimed",
    "gpu_agent.probes.reads.faulted",
    "gpu_agent.probes.values.unreadable",
    "gpu_agent.names.full",
    "gpu_agent.series.overflow",
    "gpu_agent.allocations.untracked",
];

/// What a series' last line said.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Said {
    Total(u64),
    Value(f64),
    Distribution(u64, f64),
}

impl Said {
    fn of(value: &Value) -> Self {
        match value {
            Value::Counter(total) => Self::Total(*total),
            Value::CounterF64(value) | Value::Gauge(value) => Self::Value(*value),
            Value::Histogram(histogram) => Self::Distribution(histogram.count, histogram.sum),
        }
    }
}

/// A total that has not moved since its series began.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Counter(total) => *total == 0,
        Value::CounterF64(total) => *total == 0.0,
        Value::Histogram(histogram) => histogram.count == 0,
        Value::Gauge(_) => false,
    }
}

#[derive(Debug)]
struct Last {
    said: Said,
    start_unix_ns: u64,
    generation: u64,
}

/// Renders snapshots; knows what was said before.
#[derive(Debug)]
pub(super) struct Renderer {
    filter: Filter,
    last: HashMap<&'static str, HashMap<Attributes, Last>>,
    generation: u64,
}

impl Renderer {
    pub(super) fn new(filter: Filter) -> Self {
        Self { filter, last: HashMap::new(), generation: 0 }
    }

    /// Appends the interval's lines to `buffer`; `full` is called whenever a series is done.
    pub(super) fn render(
        &mut self,
        buffer: &mut Vec<u8>,
        snapshot: &Snapshot,
        mut full: impl FnMut(&mut Vec<u8>),
    ) {
        self.generation += 1;
        for family in &snapshot.families {
            let last = self.last.entry(family.instrument.name).or_default();
            for point in &family.points {
                let said = Said::of(&point.value);
                let before = last.get_mut(&point.attributes);
                let before = match before {
                    Some(before) if before.start_unix_ns == point.start_unix_ns => {
                        before.generation = self.generation;
                        let was = std::mem::replace(&mut before.said, said);
                        if was == said {
                            continue;
                        }
                        Some(was)
                    }
                    _ => {
                        let start_unix_ns = point.start_unix_ns;
                        let entry = Last { said, start_unix_ns, generation: self.generation };
                        last.insert(point.attributes.clone(), entry);
                        if is_nothing(&point.value) {
                            continue;
                        }
                        None
                    }
                };
                let log_target = target(family.instrument, &point.attributes);
                if self.filter.enabled(log_target, Level::INFO) {
                    write(buffer, snapshot.unix_ns, log_target, family.instrument, point, before);
                    full(buffer);
                }
            }
        }
        let generation = self.generation;
        self.last.retain(|_, series| {
            series.retain(|_, last| last.generation == generation);
            !series.is_empty()
        });
    }
}

fn write(
    buffer: &mut Vec<u8>,
    unix_ns: u64,
    log_target: &str,
    instrument: &Instrument,
    point: &Point,
    before: Option<Said>,
) {
    let mut line = Line::begin(buffer, unix_ns, Level::INFO, log_target);
    line.text("metric", instrument.name);
    if !instrument.unit.is_empty() {
        line.text("unit", instrument.unit);
    }
    for (key, value) in point.attributes.iter() {
        match (field(key), value.parse::<u64>()) {
            (name @ ("pid" | "gpu"), Ok(number)) => line.whole(name, number),
            ("use_v1", _) if matches!(&**value, "true" | "false") => {
                line.boolean("use_v1", &**value == "true")
            }
            (name, _) => line.text(name, value),
        };
    }
    match (&point.value, before) {
        (Value::Counter(total), before) => {
            let was = if let Some(Said::Total(was)) = before { was } else { 0 };
            line.whole("value", *total).whole("value_added", total.saturating_sub(was));
        }
        (Value::CounterF64(total), before) => {
            let was = if let Some(Said::Value(was)) = before { was } else { 0.0 };
            line.number("value", *total).number("value_added", total - was);
        }
        (Value::Gauge(value), _) => {
            line.number("value", *value);
        }
        (Value::Histogram(histogram), before) => {
            let (count, sum) =
                if let Some(Said::Distribution(count, sum)) = before { (count, sum) } else { (0, 0.0) };
            line.whole("count", histogram.count)
                .whole("count_added", histogram.count.saturating_sub(count))
                .number("sum", histogram.sum)
                .number("sum_added", histogram.sum - sum)
                .number("min", histogram.min)
                .number("max", histogram.max);
        }
    }
    line.end();
}

/// Field of an attribute: short for the ones that event lines have too, else with underscores for dots.
#[must_use]
pub fn field(key: &'static str) -> &'static str {
    match key {
        attribute::PID => "pid",
        attribute::EXECUTABLE => "executable",
        attribute::GPU_UUID => "gpu_uuid",
        attribute::GPU_MODEL => "gpu_model",
        attribute::COMPUTE_CAPABILITY => "compute_capability",
        attribute::KERNEL_CLASS => "kernel_class",
        attribute::KERNEL_NAME => "kernel_name",
        attribute::MEMORY_KIND => "memory_kind",
        attribute::ERROR => "error_type",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::aggregate::snapshot::{Family, Histogram};
    use crate::semconv::{INSTRUMENTS, instruments};

    fn lines(renderer: &mut Renderer, snapshot: &Snapshot) -> Vec<serde_json::Value> {
        let mut buffer = Vec::new();
        renderer.render(&mut buffer, snapshot, |_| ());
        let text = String::from_utf8(buffer).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn snapshot(
        instrument: &'static Instrument,
        attributes: &[(&'static str, &str)],
        value: Value,
    ) -> Snapshot {
        let attributes: Vec<(&'static str, Arc<str>)> =
            attributes.iter().map(|(key, value)| (*key, Arc::from(*value))).collect();
        let point = Point { attributes: attributes.into(), start_unix_ns: 1, value };
        Snapshot { unix_ns: 2, families: vec![Family { instrument, points: vec![point] }] }
    }

    #[test]
    fn a_series_says_its_total_and_what_was_added_and_nothing_while_it_stands_still() {
        let mut renderer = Renderer::new(Filter::default());
        let attributes = [(attribute::PID, "42"), (attribute::USE_V1, "true"), (attribute::GPU, "0")];
        let at = |total| snapshot(&instruments::PAGED_ATTENTION_CALLS, &attributes, Value::Counter(total));
        let first = lines(&mut renderer, &at(5));
        assert_eq!(first.len(), 1);
        assert_eq!(first[0]["target"], "paged_attention_metrics");
        assert_eq!(first[0]["level"], "INFO");
        assert_eq!(first[0]["metric"], "paged_attention_calls");
        assert_eq!((&first[0]["pid"], &first[0]["gpu"]), (&42.into(), &0.into()));
        assert_eq!(first[0]["use_v1"], true);
        assert_eq!((&first[0]["value"], &first[0]["value_added"]), (&5.into(), &5.into()));
        assert!(lines(&mut renderer, &at(5)).is_empty());
        let third = lines(&mut renderer, &at(12));
        assert_eq!((&third[0]["value"], &third[0]["value_added"]), (&12.into(), &7.into()));
    }

    #[test]
    fn a_total_is_silent_until_it_counts_something() {
        let mut renderer = Renderer::new(Filter::default());
        let at = |total| snapshot(&instruments::KERNEL_EXECUTIONS, &[], Value::Counter(total));
        assert!(lines(&mut renderer, &at(0)).is_empty());
        assert_eq!(lines(&mut renderer, &at(1))[0]["value_added"], 1);
        let gauge = snapshot(&instruments::MEMORY_USAGE, &[], Value::Gauge(0.0));
        assert_eq!(lines(&mut renderer, &gauge)[0]["value"], 0.0, "a level of 0 says something");
    }

    #[test]
    fn a_distribution_says_count_and_sum() {
        let mut renderer = Renderer::new(Filter::default());
        let at = |count, sum| {
            let histogram = Histogram { count, sum, min: 0.5, max: 2.0, ..Histogram::default() };
            snapshot(
                &instruments::KERNEL_DURATION,
                &[(attribute::KERNEL_NAME, "k")],
                Value::Histogram(histogram),
            )
        };
        lines(&mut renderer, &at(2, 2.5));
        let line = &lines(&mut renderer, &at(3, 3.0))[0];
        assert_eq!(line["target"], "summary");
        assert_eq!(line["kernel_name"], "k");
        assert_eq!((&line["count"], &line["count_added"]), (&3.into(), &1.into()));
        assert_eq!((&line["sum"], &line["sum_added"]), (&3.0.into(), &0.5.into()));
        assert_eq!((&line["min"], &line["max"]), (&0.5.into(), &2.0.into()));
    }

    #[test]
    fn losses_have_their_own_target_and_what_passed_is_none() {
        for (outcome, expected) in [("dropped", "losses"), ("lost", "losses"), ("passed", "summary")] {
            let attributes: Attributes = Arc::new([(attribute::OUTCOME, outcome.into())]);
            assert_eq!(target(&instruments::OWN_RECORDS, &attributes), expected);
        }
        for name in LOSSES {
            assert!(INSTRUMENTS.iter().any(|instrument| instrument.name == *name), "{name} is no instrument");
        }
    }

    #[test]
    fn the_filter_holds_for_series_too_and_keeps_count_meanwhile() {
        let mut renderer = Renderer::new("paged_attention_metrics=info".parse().unwrap());
        let value = Value::Counter(1);
        assert!(
            lines(&mut renderer, &snapshot(&instruments::KERNEL_EXECUTIONS, &[], value.clone())).is_empty()
        );
        assert_eq!(lines(&mut renderer, &snapshot(&instruments::PAGED_ATTENTION_CALLS, &[], value)).len(), 1);
    }

    #[test]
    fn series_that_are_gone_are_forgotten() {
        let mut renderer = Renderer::new(Filter::default());
        lines(&mut renderer, &snapshot(&instruments::KERNEL_EXECUTIONS, &[], Value::Counter(1)));
        lines(&mut renderer, &Snapshot::default());
        assert!(renderer.last.is_empty());
    }

    #[test]
    fn docs_logs_md_names_every_target_of_series_and_the_counters_of_what_is_not_written() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/logs.md");
        let document = std::fs::read_to_string(path).unwrap();
        for instrument in INSTRUMENTS {
            let none: Attributes = Arc::new([]);
            assert!(
                document.contains(&format!("| `{}` |", target(instrument, &none))),
                "{}",
                instrument.name
            );
        }
        assert!(document.contains(instruments::OWN_EXPORT_ITEMS.name));
    }

    #[test]
    fn every_attribute_becomes_a_plain_field_name() {
        for key in INSTRUMENTS.iter().flat_map(|instrument| instrument.attributes) {
            let field = field(key);
            let plain =
                field.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit());
            assert!(plain, "{key} becomes {field}");
        }
    }
}
