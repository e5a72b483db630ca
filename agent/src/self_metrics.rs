//! The agent's own points: what was lost where, and what the agent costs.
//!
//! Enters: counts of the stages. Leaves: points of the `gpu_agent.*` instruments. Refuses: to merge fates: lost, dropped,
//! unknown and malformed stay four numbers, and at each stage they add up to what the stage before passed on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::aggregate::builder::Builder;
use crate::aggregate::snapshot::{Attributes, Value};
use crate::clock::Clock;
use crate::export::ExportStats;
use crate::pipeline::{ProbeHops, State, TargetStatus};
use crate::semconv::attribute::{self, hop, made, outcome};
use crate::semconv::{Instrument, instruments};
use crate::source::cupti::{GraphHops, Hops};

mod cost;

/// Records by stage and fate, and the targets' states. Targets with the same attributes (a process that runs another
/// program now) make one series, as theirs do.
pub fn targets(targets: &[TargetStatus], builder: &mut Builder) {
    // First, because the start of each target's own series follows.
    for state in State::ALL {
        let count = targets.iter().filter(|status| status.state == state).count();
        let attributes = Attributes::from([(attribute::STATE, Arc::from(state.name()))]);
        builder.push(&instruments::OWN_TARGETS, &attributes, Value::Gauge(count as f64));
    }
    let mut by_identity = BTreeMap::<(u32, &str), (u64, Hops)>::new();
    for status in targets {
        let identity = (status.info.pid.0, status.info.executable.as_str());
        let (start_unix_ns, hops) = by_identity.entry(identity).or_insert((u64::MAX, Hops::default()));
        *start_unix_ns = status.start_unix_ns.min(*start_unix_ns);
        *hops = hops.plus(&status.hops).plus(&status.past);
    }
    for status in targets {
        for (engine, count) in &status.probes {
            let attributes = Attributes::from([
                (attribute::PID, Arc::from(status.info.pid.to_string())),
                (attribute::EXECUTABLE, Arc::from(status.info.executable.as_str())),
                (attribute::ENGINE, Arc::clone(engine)),
            ]);
            builder.push(&instruments::OWN_PROBES, &attributes, Value::Gauge(*count as f64));
        }
    }
    for ((pid, executable), (start_unix_ns, hops)) in by_identity {
        builder.starting(start_unix_ns);
        let scope = [
            (attribute::PID, Arc::from(pid.to_string())),
            (attribute::EXECUTABLE, Arc::<str>::from(executable)),
        ];
        for (hop, outcome, count) in records(&hops) {
            let mut attributes = scope.to_vec();
            attributes.extend([(attribute::HOP, Arc::from(hop)), (attribute::OUTCOME, Arc::from(outcome))]);
            builder.push(&instruments::OWN_RECORDS, &Attributes::from(attributes), Value::Counter(count));
        }
        for (made, records, graphs) in graphs(&hops.graphs) {
            let mut attributes = scope.to_vec();
            attributes.push((attribute::GRAPH_MADE, Arc::from(made)));
            let attributes = Attributes::from(attributes);
            builder.push(&instruments::OWN_GRAPH_RECORDS, &attributes, Value::Counter(records));
            if let Some(graphs) = graphs {
                builder.push(&instruments::OWN_GRAPHS, &attributes, Value::Counter(graphs));
            }
        }
        let scope = Attributes::from(scope);
        for (instrument, value) in [
            (&instruments::OWN_METADATA, Value::Counter(hops.metadata)),
            (&instruments::OWN_NAMES_FULL, Value::Counter(hops.names_full)),
            (&instruments::OWN_CUPTI_ERRORS, Value::Counter(hops.cupti_errors)),
            (&instruments::OWN_SHIM_CPU, Value::CounterF64(hops.shim_copy_ns as f64 / 1e9)),
        ] {
            builder.push(instrument, &scope, value);
        }
    }
}

/// Stage, fate and number of records. For each stage, the numbers add up to what the stage before passed; `ring` gets
/// [`Hops::metadata`] on top.
#[must_use]
pub fn records(hops: &Hops) -> [(&'static str, &'static str, u64); 11] {
    [
        (hop::CUPTI, outcome::PASSED, hops.seen),
        (hop::CUPTI, outcome::DROPPED, hops.cupti_dropped),
        (hop::SHIM, outcome::PASSED, hops.emitted),
        (hop::SHIM, outcome::UNKNOWN, hops.shim_unknown),
        (hop::SHIM, outcome::MALFORMED, hops.shim_malformed),
        (hop::SHIM, outcome::OVER_BUDGET, hops.over_budget),
        (hop::RING, outcome::PASSED, hops.read),
        (hop::RING, outcome::LOST, hops.lost),
        (hop::DECODE, outcome::PASSED, hops.decoded),
        (hop::DECODE, outcome::UNKNOWN, hops.unknown),
        (hop::DECODE, outcome::MALFORMED, hops.malformed),
    ]
}

/// When graphs were made, the records of their work, and their number where they were not seen in the making.
fn graphs(graphs: &GraphHops) -> [(&'static str, u64, Option<u64>); 3] {
    [
        (made::ATTACHED, graphs.attached, None),
        (made::BEFORE, graphs.before, Some(graphs.graphs_before)),
        (made::UNKNOWN, graphs.unknown, Some(graphs.graphs_unknown)),
    ]
}

/// What became of probes' records, of all processes together.
pub fn probes(hops: &ProbeHops, builder: &mut Builder) {
    for (hop, outcome, count) in probe_records(hops) {
        let attributes =
            Attributes::from([(attribute::HOP, Arc::from(hop)), (attribute::OUTCOME, Arc::from(outcome))]);
        builder.push(&instruments::OWN_RECORDS, &attributes, Value::Counter(count));
    }
    let none = Attributes::from([]);
    let untimed = hops.correlate.doubtful + hops.correlate.untracked;
    for (instrument, value) in [
        (&instruments::OWN_OPEN_CALLS, Value::Gauge(hops.open as f64)),
        (&instruments::OWN_UNTIMED_CALLS, Value::Counter(untimed)),
        (&instruments::OWN_FAULTED_READS, Value::Counter(hops.bpf.faulted_reads)),
        (&instruments::OWN_UNREADABLE, Value::Counter(hops.correlate.unreadable)),
    ] {
        builder.push(instrument, &none, value);
    }
}

/// Stage, fate and number of probes' records. Of each stage, the numbers add up to what the stage before passed, but for
/// records that are on the way and entries that wait for their return ([`ProbeHops::open`]).
#[must_use]
pub fn probe_records(hops: &ProbeHops) -> [(&'static str, &'static str, u64); 9] {
    let ProbeHops { bpf, correlate, .. } = hops;
    let entries = correlate.returned + correlate.unwound + correlate.entry_only + correlate.doubtful;
    let returns = correlate.returned + correlate.doubtful_returns;
    [
        (hop::BPF, outcome::PASSED, bpf.emitted),
        (hop::BPF, outcome::FILTERED, bpf.filtered),
        (hop::BPF, outcome::UNKNOWN, bpf.unknown),
        (hop::BPF, outcome::LOST, bpf.lost),
        (hop::PROBES, outcome::PASSED, correlate.entries + correlate.returns + correlate.notices),
        (hop::PROBES, outcome::UNKNOWN, correlate.unknown),
        (hop::PROBES, outcome::MALFORMED, hops.malformed),
        (hop::CORRELATE, outcome::PASSED, entries + returns + correlate.notices),
        (hop::CORRELATE, outcome::ORPHANED, correlate.orphans),
    ]
}

/// What the exporters count.
pub fn exporters(exporters: &[Arc<ExportStats>], builder: &mut Builder) {
    for stats in exporters {
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let name = || (attribute::EXPORTER, Arc::from(stats.name));
        let mut outcomes = |instrument: &'static Instrument, outcome: &'static str, count: u64| {
            let attributes = Attributes::from([name(), (attribute::OUTCOME, Arc::from(outcome))]);
            builder.push(instrument, &attributes, Value::Counter(count));
        };
        outcomes(&instruments::OWN_EXPORTS, outcome::PASSED, load(&stats.exports));
        outcomes(&instruments::OWN_EXPORTS, outcome::FAILED, load(&stats.failures));
        outcomes(&instruments::OWN_EXPORT_ITEMS, outcome::PASSED, load(&stats.exported));
        outcomes(&instruments::OWN_EXPORT_ITEMS, outcome::FAILED, load(&stats.failed));
        outcomes(&instruments::OWN_EXPORT_ITEMS, outcome::REJECTED, load(&stats.rejected));
        outcomes(&instruments::OWN_EXPORT_ITEMS, outcome::DROPPED, load(&stats.dropped));
        let attributes = Attributes::from([name()]);
        let retries = Value::Counter(load(&stats.retries));
        builder.push(&instruments::OWN_EXPORT_RETRIES, &attributes, retries);
        builder.push(&instruments::OWN_EXPORT_BYTES, &attributes, Value::Counter(load(&stats.bytes)));
        let queue = Value::Gauge(load(&stats.queue_length) as f64);
        builder.push(&instruments::OWN_EXPORT_QUEUE, &attributes, queue);
    }
}

/// Steps and error of the clock.
pub fn clock(clock: &Clock, builder: &mut Builder) {
    let none = Attributes::from([]);
    builder.push(&instruments::OWN_CLOCK_STEPS, &none, Value::Counter(clock.steps()));
    let error = Value::Gauge(clock.anchor().error_ns as f64 / 1e9);
    builder.push(&instruments::OWN_CLOCK_ERROR, &none, error);
}

/// What the agent itself costs, and who it is.
pub fn agent(poll_interval_ns: u64, builder: &mut Builder) {
    let none = Attributes::from([]);
    let cost = cost::now();
    builder.push(&instruments::OWN_CPU, &none, Value::CounterF64(cost.cpu_seconds));
    builder.push(&instruments::OWN_RSS, &none, Value::Gauge(cost.rss_bytes as f64));
    let interval = Value::Gauge(poll_interval_ns as f64 / 1e9);
    builder.push(&instruments::OWN_POLL_INTERVAL, &none, interval);
    let version = Attributes::from([(attribute::VERSION, Arc::from(env!("CARGO_PKG_VERSION")))]);
    builder.push(&instruments::OWN_INFO, &version, Value::Gauge(1.0));
}

pub use cost::{Cost, now as cost_now};

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{probe_records, targets};
    use crate::aggregate::builder::Builder;
    use crate::aggregate::snapshot::Value;
    use crate::correlate::Counts;
    use crate::event::{Pid, TargetId};
    use crate::export::TargetInfo;
    use crate::pipeline::{ProbeHops, State, TargetStatus};
    use crate::source::cupti::Hops;
    use crate::source::ebpf::Counters;

    fn status(id: u32, pid: u32, decoded: u64) -> TargetStatus {
        TargetStatus {
            id: TargetId(id),
            info: Arc::new(TargetInfo { pid: Pid(pid), executable: "serve".into(), simulated: false }),
            state: State::Ended,
            why: String::new(),
            probes: Vec::new(),
            hops: Hops { decoded, ..Hops::default() },
            past: Hops::default(),
            versions: (0, 0),
            start_unix_ns: 10 + u64::from(id),
        }
    }

    #[test]
    fn each_hop_of_the_probes_accounts_for_what_the_one_before_passed() {
        let correlate = Counts {
            entries: 20,
            returns: 12,
            returned: 9,
            unwound: 3,
            entry_only: 2,
            doubtful: 2,
            doubtful_returns: 1,
            orphans: 2,
            unknown: 4,
            notices: 5,
            ..Counts::default()
        };
        let bpf = Counters { hits: 60, filtered: 10, unknown: 1, emitted: 43, lost: 6, faulted_reads: 0 };
        let hops = ProbeHops { bpf, malformed: 2, taken: 41, correlate, open: 4 };
        let sum =
            |hop| probe_records(&hops).iter().filter(|(at, ..)| *at == hop).map(|(.., n)| n).sum::<u64>();
        let passed = |hop| {
            let records = probe_records(&hops);
            records.iter().find(|(at, fate, _)| *at == hop && *fate == "passed").unwrap().2
        };
        assert_eq!(sum("bpf"), bpf.hits);
        assert_eq!(sum("probes"), passed("bpf"));
        assert_eq!(sum("correlate") + hops.open, passed("probes"));
    }

    #[test]
    fn no_two_points_have_the_same_attributes() {
        let mut builder = Builder::new(100);
        targets(&[status(0, 7, 10), status(1, 7, 5), status(2, 8, 1)], &mut builder);
        let snapshot = builder.finish();
        for family in &snapshot.families {
            let mut seen: Vec<_> =
                family.points.iter().map(|point| format!("{:?}", point.attributes)).collect();
            seen.sort();
            let all = seen.len();
            seen.dedup();
            assert_eq!(seen.len(), all, "{}", family.instrument.name);
        }
        let records =
            snapshot.families.iter().find(|family| family.instrument.name == "gpu_agent.records").unwrap();
        let fifteen = records.points.iter().find(|point| matches!(point.value, Value::Counter(15)));
        assert_eq!(fifteen.unwrap().start_unix_ns, 10, "the first one's start");
    }
}
