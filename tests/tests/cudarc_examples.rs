//! cudarc's own example programs, unmodified, under `gpu-agent run` on the simulated device.
//!
//! Enters: the examples of the cudarc that the workspace depends on. Leaves: nothing. Refuses: a report that differs from
//! what an example does. They live for milliseconds and use no loss as an excuse.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use gpu_agent_tests::agent::Left;
use gpu_agent_tests::otlp::{self, Receiver};
use gpu_agent_tests::workload::Start;
use gpu_agent_tests::{Agent, GroundTruth, json_log, programs};
use serde_json::Value;

mod cudarc_examples {
    pub(crate) mod built;
    pub(crate) mod calls;
    pub(crate) mod table;
}

use cudarc_examples::built::Built;
use cudarc_examples::calls;
use cudarc_examples::table::{EXAMPLES, Example};

fn row(name: &str) -> Example {
    EXAMPLES.into_iter().find(|example| example.name == name).unwrap()
}

/// Processes that the log has lines of, with the file names of their executables.
fn processes(log: &[Value]) -> BTreeMap<u32, String> {
    let process = |line: &Value| {
        let pid = line["pid"].as_u64()?.try_into().ok()?;
        Some((pid, line["executable"].as_str().unwrap_or_default().to_owned()))
    };
    log.iter().filter_map(process).collect()
}

/// What the OTLP requests say that the truth does not, of `pid` or, where the log knows none, of the one process that
/// they are about, if any. What the receiver has received comes through a pipe, so it is given time.
fn otlp_differences(
    receiver: &Receiver,
    earlier: usize,
    pid: Option<u32>,
    truth: &GroundTruth,
) -> Vec<String> {
    let started = Instant::now();
    loop {
        let requests = receiver.requests_after(earlier);
        let mut pids: BTreeSet<u32> = requests
            .iter()
            .flat_map(|request| request["metrics"].as_array().into_iter().flatten())
            .flat_map(|metric| metric["points"].as_array().into_iter().flatten())
            .filter_map(|point| point["attributes"]["process.pid"].as_u64()?.try_into().ok())
            .collect();
        pids.extend(pid);
        let observed = pids.first().map(|pid| otlp::observed(&requests, *pid)).unwrap_or_default();
        let mut wrong = observed.differences(truth, 0);
        if observed.losses() > 0 {
            wrong.push(format!("losses: {:?}", observed.fates));
        }
        if pids.len() > 1 {
            wrong.push(format!("metrics of the processes {pids:?}, not only of {pid:?}"));
        }
        if requests.is_empty() {
            wrong.push("nothing was sent".to_owned());
        }
        if wrong.is_empty() || started.elapsed() > Duration::from_secs(5) {
            return wrong.into_iter().map(|what| format!("OTLP: {what}")).collect();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs one example under the agent; everything that is wrong with the report.
fn run(example: &Example, built: &Built, receiver: Option<&Receiver>) -> Vec<String> {
    let earlier = receiver.map_or(0, Receiver::count);
    let left = Agent::run(&built.start(example, ""), receiver, &[]).finish();
    let mut wrong = Vec::new();
    if left.finished.status.code() != Some(0) || !left.finished.stdout.contains(example.prints) {
        wrong.push(format!("{}\n-- stdout\n{}", left.finished.status, left.finished.stdout));
    }
    // Why there is nothing of a program that has taken CUPTI for itself is not left out.
    if example.is_profiler != left.finished.stderr.contains("state=busy") {
        wrong.push("whether CUPTI was free".to_owned());
    }
    let truth = example.truth();
    let processes = processes(&left.log);
    if processes.len() > 1 || processes.values().any(|executable| executable != example.name) {
        wrong.push(format!("JSON log: not only of the example: {processes:?}"));
    }
    let pid = processes.keys().next().copied();
    let from_log = pid.map(|pid| json_log::observed(&left.log, pid)).unwrap_or_default();
    wrong.extend(from_log.differences(&truth, 0).into_iter().map(|what| format!("JSON log: {what}")));
    if let Some(receiver) = receiver {
        wrong.extend(otlp_differences(receiver, earlier, pid, &truth));
    }
    if !wrong.is_empty() {
        wrong.push(format!("the agent said: {}", left.finished.stderr));
    }
    wrong
}

#[test]
fn every_example_is_reported_on_exactly() {
    let Some(built) = Built::get() else { return };
    let receiver = programs::python().map(|python| Receiver::start(&python, &[]));
    let examples = built.examples();
    let wrong: Vec<String> = examples
        .iter()
        .flat_map(|example| {
            let found = run(example, &built, receiver.as_ref());
            found.into_iter().map(|what| format!("{}: {what}", example.name))
        })
        .collect();
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    println!("{} examples", examples.len());
}

#[test]
fn examples_that_run_at_the_same_time_are_kept_apart() {
    let Some(built) = Built::get() else { return };
    // A profiler would need the driver preloaded into all.
    let examples: Vec<_> = built.examples().into_iter().filter(|example| !example.is_profiler).collect();
    let script: String = examples
        .iter()
        .map(|example| format!("'{}' & children=\"$children $!\"\n", built.program(example.name).display()))
        .collect();
    let script = format!(
        "cd '{}'\n{script}for child in $children; do wait $child || exit 9; done",
        built.folder().display()
    );
    let start = Start::new("").variable("LD_LIBRARY_PATH", built.libraries());
    let left = Agent::run(&start.program("sh").arguments(["-c", &script]), None, &[]).finish();
    assert!(left.finished.status.success(), "{}", left.finished.stderr);

    let processes = processes(&left.log);
    for example in &examples {
        let pids: Vec<_> =
            processes.iter().filter(|(_, name)| *name == example.name).map(|(pid, _)| *pid).collect();
        assert!(pids.len() <= 1, "{}: {pids:?}", example.name);
        let observed = pids.first().map(|pid| json_log::observed(&left.log, *pid)).unwrap_or_default();
        let wrong = observed.differences(&example.truth(), 0);
        assert_eq!(wrong, Vec::<String>::new(), "{}; the agent said: {}", example.name, left.finished.stderr);
    }
}

#[test]
fn the_table_is_what_the_examples_ask_of_the_driver() {
    let Some(built) = Built::get() else { return };
    let folder = tempfile::tempdir().unwrap();
    let library = calls::library(folder.path());
    for example in built.examples() {
        let counted = calls::count(&built, &example, &library, folder.path());
        assert_eq!(counted, example.truth(), "{}", example.name);
    }
}

#[test]
fn an_example_that_fails_is_reported_on_up_to_there_and_its_exit_status_is_passed_on() {
    let Some(built) = Built::get() else { return };
    // There is no device 1 to copy to.
    let left = Agent::run(&built.start(&row("13-copy-multi-gpu"), "devices=1"), None, &[]).finish();
    assert_eq!(left.finished.status.code(), Some(1), "{}", left.finished.stderr);
    assert!(left.finished.stderr.contains("CUDA_ERROR_INVALID_DEVICE"), "{}", left.finished.stderr);
    let truth = GroundTruth {
        memsets: gpu_agent_tests::Volume { count: 1, bytes: 80 },
        memory: [("alloc", 1), ("free", 1)].map(|(name, count)| (name.to_owned(), count)).into(),
        ..GroundTruth::default()
    };
    let pid = *processes(&left.log).keys().next().unwrap();
    assert_eq!(json_log::observed(&left.log, pid).differences(&truth, 0), Vec::<String>::new());
}

/// The lines of the log that have this target.
fn of_target<'a>(left: &'a Left, target: &str) -> Vec<&'a Value> {
    left.log.iter().filter(|line| line["target"] == target).collect()
}

#[test]
fn where_the_work_was_done_is_reported_as_the_examples_ask_for_it() {
    let Some(built) = Built::get() else { return };
    let finished = |name: &str| Agent::run(&built.start(&row(name), ""), None, &[]).finish();

    // `LaunchConfig::for_num_elems` has blocks of 1,024 threads; the kernel is on a stream of its own.
    let streams = finished("04-streams");
    let kernel = of_target(&streams, "kernel")[0];
    assert_eq!((&kernel["grid"], &kernel["block"]), (&"1x1x1".into(), &"1024x1x1".into()), "{kernel}");
    for copy in of_target(&streams, "memcpy") {
        assert_ne!(copy["stream"], kernel["stream"]);
        assert_eq!(copy["context"], kernel["context"]);
    }

    let devices = finished("13-copy-multi-gpu");
    let on = |line: &Value| line["gpu"].as_u64().unwrap();
    assert_eq!(of_target(&devices, "memset").into_iter().map(on).collect::<Vec<_>>(), [0]);
    let going = |direction: &str| {
        let copies = of_target(&devices, "memcpy").into_iter();
        copies.filter(|copy| copy["direction"] == direction).collect::<Vec<_>>()
    };
    assert_eq!(going("d2h").into_iter().map(on).collect::<BTreeSet<_>>(), [0, 1].into());
    assert_eq!(going("p2p")[0]["destination_gpu"], 1);
}
