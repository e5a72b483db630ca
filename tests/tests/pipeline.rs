//! The workload's own counts against what Prometheus, OTLP and the JSON log say, for every generation of CUPTI's
//! records, with and without each way in which CUPTI fails, with threads, devices and graphs.
//!
//! Enters: one row a case. Leaves: nothing. Refuses: a difference that no loss counter explains.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use gpu_agent_tests::otlp::{self, Receiver};
use gpu_agent_tests::workload::Start;
use gpu_agent_tests::{Agent, GroundTruth, Observed, Workload, json_log, programs, prometheus};

/// What a case expects beyond agreement.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Losses {
    /// Nothing is missing.
    None,
    /// CUPTI drops some, and says how many.
    DroppedByCupti,
    /// The shim refuses records of a kind that no CUPTI has; they come on top of the program's own.
    UnknownOnTop,
}

/// Threads, devices, graphs.
const SHAPES: [(&str, &[&str]); 8] = [
    ("1 thread", &["--threads", "1"]),
    ("8 threads", &["--threads", "8", "--streams", "1"]),
    ("2 devices", &["--devices", "2"]),
    ("8 threads, 2 devices", &["--threads", "8", "--devices", "2", "--streams", "1"]),
    ("1 thread, graph", &["--threads", "1", "--graph"]),
    ("8 threads, graph", &["--threads", "8", "--streams", "1", "--graph"]),
    ("2 devices, graph", &["--devices", "2", "--graph"]),
    ("8 threads, 2 devices, graph", &["--threads", "8", "--devices", "2", "--streams", "1", "--graph"]),
];

/// What the cases of one thread share.
struct Bench {
    receiver: Receiver,
    /// A target that stays, so that the agent goes on serving when the other one has ended.
    idle: Workload,
}

/// Runs one case; everything that is wrong with it.
fn run(generation: u32, settings: &str, losses: Losses, shape: &[&str], bench: &Bench) -> Vec<String> {
    // The driver that came with the generation's first CUPTI: a CUPTI newer than the driver is not used.
    let driver = match generation {
        10 => 13_000,
        11 => 13_010,
        13 => 13_040,
        _ => 12_040,
    };
    let simulator =
        format!("compute=model,clock=virtual,kernel_us=2,quiet=on,driver={driver},cupti_gen={generation}");
    let simulator = if settings.is_empty() { simulator } else { format!("{simulator},{settings}") };
    let start = Start::new(&simulator)
        .arguments(["--layers", "1", "--batch", "1", "--prompt", "4", "--tokens", "8"])
        .arguments(shape.iter().copied());
    let mut workload = start.ready();
    let pid = workload.pid();
    let pids = [pid, bench.idle.pid()];
    // Pids come again: what was received before is of other cases.
    let earlier = bench.receiver.count();
    let mut agent =
        Agent::attach(&pids, Some(&bench.receiver), &["--mode", "kernels", "--flush-period-ms", "10"]);
    agent.until_targets_are(2, "armed");
    workload.go();
    let truth = GroundTruth::after_ready(&workload.finish());
    agent.until_targets_are(1, "ended");
    let left = agent.terminate();
    let mut wrong = Vec::new();
    if !left.finished.status.success() {
        wrong.push(format!("the agent ended with {}: {}", left.finished.status, left.finished.stderr));
    }
    let from_otlp = otlp::observed(&bench.receiver.requests_after(earlier), pid);
    let from_prometheus = prometheus::observed(&left.samples, pid);
    let from_log = json_log::observed(&left.log, pid);
    if from_prometheus.fates != from_otlp.fates {
        wrong.push(format!("fates: Prometheus {:?}, OTLP {:?}", from_prometheus.fates, from_otlp.fates));
    }
    // Unknown records are none of the program's: nothing of it is missing for them.
    let lost = from_otlp.losses() - from_otlp.fate("shim", "unknown");
    for (output, observed) in
        [("OTLP", &from_otlp), ("Prometheus", &from_prometheus), ("JSON log", &from_log)]
    {
        wrong.extend(observed.differences(&truth, lost).into_iter().map(|what| format!("{output}: {what}")));
    }
    if (lost > 0) != (losses == Losses::DroppedByCupti) {
        wrong.push(format!("{lost} records lost, in a case of {losses:?}"));
    }
    if (losses == Losses::UnknownOnTop) != (from_otlp.fate("shim", "unknown") > 0) {
        wrong.push(format!("{} unknown records, in a case of {losses:?}", from_otlp.fate("shim", "unknown")));
    }
    wrong.extend(unbalanced(&from_otlp));
    wrong
}

/// Hops at which records appear or vanish: what one hop passes on is what the next one accounts for.
fn unbalanced(observed: &Observed) -> Option<String> {
    let sum = |hop: &str| -> u64 {
        observed.fates.iter().filter(|((at, _), _)| at == hop).map(|(_, count)| count).sum()
    };
    let passed = |hop: &str| observed.fate(hop, "passed");
    let balanced =
        passed("cupti") == sum("shim") && passed("ring") == sum("decode") && passed("shim") <= sum("ring");
    (!balanced).then(|| format!("hops do not add up: {:?}", observed.fates))
}

/// All shapes of program on one simulated device.
fn run_shapes(generation: u32, settings: &str, losses: Losses) {
    let Some(python) = programs::python() else { return };
    let idle = Start::new("compute=off,quiet=on").ready();
    let bench = Bench { receiver: Receiver::start(&python, &[]), idle };
    let mut wrong = Vec::new();
    for (name, shape) in SHAPES {
        let found = run(generation, settings, losses, shape, &bench);
        wrong.extend(found.into_iter().map(|what| format!("{name}: {what}")));
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

/// The ways in which CUPTI may behave: settings of the simulated device, and what follows from them.
macro_rules! agrees_with_the_ground_truth {
    ($($generation:literal in $module:ident),* $(,)?) => {$(
        mod $module {
            use super::{Losses, run_shapes};

            agrees_with_the_ground_truth! {
                @cases $generation:
                plain = "", None;
                with_late_timestamps = "late_ms=15", None;
                with_partial_buffers = "partial=on", None;
                with_records_that_cupti_drops = "drop_every=7", DroppedByCupti;
                with_records_out_of_order = "reorder=on", None;
                with_incomplete_records = "incomplete=on", None;
                with_records_of_a_newer_cupti = "larger=64", None;
                with_records_of_unknown_kinds = "unknown_kind=on", UnknownOnTop;
                with_slow_buffers = "slow_complete_us=2000", None;
                after_another_profiler_has_left = "subscriber=busy:50", None;
                with_all_of_it =
                    "late_ms=5,partial=on,drop_every=11,reorder=on,incomplete=on,larger=8", DroppedByCupti;
            }
        }
    )*};
    (@cases $generation:literal: $($case:ident = $settings:literal, $losses:ident;)*) => {$(
        #[test]
        fn $case() {
            run_shapes($generation, $settings, Losses::$losses);
        }
    )*};
}

agrees_with_the_ground_truth!(9 in generation_9, 10 in generation_10, 11 in generation_11, 13 in generation_13);
