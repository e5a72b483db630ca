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

/// A way in which CUPTI may behave: settings of the simulated device, and what follows from them.
const FAILURES: [(&str, &str, Losses); 11] = [
    ("plain", "", Losses::None),
    ("late", "late_ms=15", Losses::None),
    ("partial", "partial=on", Losses::None),
    ("dropped", "drop_every=7", Losses::DroppedByCupti),
    ("reordered", "reorder=on", Losses::None),
    ("incomplete", "incomplete=on", Losses::None),
    ("larger", "larger=64", Losses::None),
    ("unknown", "unknown_kind=on", Losses::UnknownOnTop),
    ("slow", "slow_complete_us=2000", Losses::None),
    ("busy at first", "subscriber=busy:50", Losses::None),
    (
        "all at once",
        "late_ms=5,partial=on,drop_every=11,reorder=on,incomplete=on,larger=8",
        Losses::DroppedByCupti,
    ),
];

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
fn run(generation: u32, failure: (&str, &str, Losses), shape: (&str, &[&str]), bench: &Bench) -> Vec<String> {
    let (_, settings, losses) = failure;
    let simulator = format!("compute=model,clock=virtual,kernel_us=2,quiet=on,cupti_gen={generation}");
    let simulator = if settings.is_empty() { simulator } else { format!("{simulator},{settings}") };
    let start = Start::new(&simulator)
        .arguments(["--layers", "1", "--batch", "1", "--prompt", "4", "--tokens", "8"])
        .arguments(shape.1.iter().copied());
    let mut workload = start.ready();
    let pid = workload.pid();
    let pids = [pid, bench.idle.pid()];
    // Pids come again: what was received before is of other cases.
    let earlier = bench.receiver.requests().len();
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
    let from_otlp = otlp::observed(&bench.receiver.requests()[earlier..], pid);
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

/// All cases of one generation, as many at a time as there are cores.
fn run_generation(generation: u32) {
    let Some(python) = programs::python() else { return };
    let cases: Vec<_> =
        FAILURES.iter().flat_map(|failure| SHAPES.iter().map(move |shape| (*failure, *shape))).collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let wrong = std::sync::Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(2, usize::from).min(8);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let idle = Start::new("compute=off,quiet=on").ready();
                let bench = Bench { receiver: Receiver::start(&python, &[]), idle };
                while let Some((failure, shape)) =
                    cases.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    let found = run(generation, *failure, *shape, &bench);
                    let name = format!("generation {generation}, {}, {}", failure.0, shape.0);
                    wrong.lock().unwrap().extend(found.into_iter().map(|what| format!("{name}: {what}")));
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn generation_9_agrees_with_the_ground_truth() {
    run_generation(9);
}

#[test]
fn generation_10_agrees_with_the_ground_truth() {
    run_generation(10);
}

#[test]
fn generation_11_agrees_with_the_ground_truth() {
    run_generation(11);
}

#[test]
fn generation_13_agrees_with_the_ground_truth() {
    run_generation(13);
}
