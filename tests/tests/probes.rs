//! Probes on the workload's entry points, with the shim and without it: calls against the workload's own counts, shapes against
//! its arguments, and that a probed program computes what it computes unprobed.
//!
//! Enters: the workload on the simulated device. Leaves: nothing. Refuses: a call more or less.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "probes/lifecycle.rs"]
mod lifecycle;

use gpu_agent_tests::agent::Left;
use gpu_agent_tests::entry_points::{calls, hop, observed, shapes, sum, unbalanced, unsupported};
use gpu_agent_tests::workload::Start;
use gpu_agent_tests::{Agent, GroundTruth};
use serde_json::Value;

const ENGINE: &str = "gpu-agent-kernels";
/// Who has no shim stays without.
const BARE: [&str; 2] = ["--inject", "never"];
const PROBES: &[&str] = &[
    "--probe-engines",
    "gpu-agent-kernels",
    "--probe-cache",
    "off",
    "--log-filter",
    "info,op=debug,tensor_metrics=debug,paged_attention=debug,paged_attention_reshape=debug",
];
/// One layer, 3 sequences of 8 heads of 64 elements.
const SHAPE: [&str; 16] = [
    "--layers",
    "1",
    "--batch",
    "3",
    "--heads",
    "8",
    "--kv-heads",
    "4",
    "--head-size",
    "64",
    "--prompt",
    "4",
    "--tokens",
    "24",
    "--fork-every",
    "4",
];

/// One target of the two has no shim.
const PROBED: (u32, &str) = (1, "probed");
/// Both have one.
const ARMED: (u32, &str) = (2, "armed");

fn start() -> Start {
    Start::new("compute=on,quiet=on").arguments(SHAPE)
}

/// Runs a workload under an agent with probes; its report, and what the agent left.
fn run(start: &Start, state: (u32, &str)) -> (Value, u32, Left) {
    run_with(start, state, PROBES)
}

fn run_with(start: &Start, (count, state): (u32, &str), options: &[&str]) -> (Value, u32, Left) {
    let idle = Start::new("compute=off,quiet=on").ready();
    let mut workload = start.ready();
    let pid = workload.pid();
    let mut agent = Agent::attach(&[pid, idle.pid()], None, &[options, &BARE].concat());
    agent.until_probed(pid, ENGINE);
    agent.until_targets_are(count, state);
    workload.go();
    let report = workload.finish();
    agent.until_targets_are(1, "ended");
    let left = agent.terminate();
    assert!(left.finished.status.success(), "{}", left.finished.stderr);
    (report, pid, left)
}

#[test]
fn without_the_shim_calls_tensors_and_host_times_are_seen_exactly() {
    if unsupported() {
        return;
    }
    let (report, pid, left) = run(&start().bare(), PROBED);
    let truth = calls(&GroundTruth::after_ready(&report));
    let samples = &left.samples;
    assert_eq!(observed(samples, pid), truth);
    assert_eq!(unbalanced(samples), Vec::<String>::new());
    let attention = truth["paged_attention_v1"];
    let host = [("timing", "host"), ("gpu", "")];
    assert_eq!(
        sum(samples, "paged_attention_calls_total", pid, &[("use_v1", "true"), ("gpu", "")]),
        attention
    );
    assert_eq!(sum(samples, "paged_attention_duration_ms_count", pid, &host), attention);
    assert_eq!(sum(samples, "cache_update_calls_total", pid, &[]), truth["reshape_and_cache"]);
    assert_eq!(sum(samples, "cache_update_duration_ms_count", pid, &host), truth["reshape_and_cache"]);
    assert_eq!(sum(samples, "gpu_kernel_executions_total", pid, &[]), 0, "nothing of the GPU");
    let query = [("tensor_name", "query"), ("dtype", "f16"), ("op", "paged_attention")];
    assert_eq!(sum(samples, "tensor_size_bytes_count", pid, &query), attention);
    // Each of the two streams begins with a prefill, in which every token of its 3 prompts is a query.
    let rows = 2 * 12 + (attention - 2) * 3;
    assert_eq!(sum(samples, "tensor_size_bytes_sum", pid, &query), rows * 8 * 64 * 2);
    assert_eq!(shapes(&left.log, pid, "paged_attention_v1")["query"], ["[12, 8, 64]", "[3, 8, 64]"]);
    let keys = &shapes(&left.log, pid, "reshape_and_cache")["key"];
    assert!(keys.contains(&"[3, 4, 64]".to_owned()), "decode: {keys:?}");
    assert!(keys.contains(&"[12, 4, 64]".to_owned()), "prefill of 3 × 4 tokens: {keys:?}");
    let lines = left.log.iter().filter(|line| line["target"] == "paged_attention" && line["pid"] == pid);
    let lines: Vec<&Value> = lines.collect();
    assert_eq!(lines.len() as u64, attention);
    for line in lines {
        assert_eq!((&line["op"], &line["phase"]), (&"paged_attention".into(), &"stop".into()), "{line}");
        assert_eq!((&line["timing"], &line["use_v1"]), (&"host".into(), &true.into()), "{line}");
        assert!(line["duration_ms"].as_f64().unwrap() > 0.0, "{line}");
    }
}

#[test]
fn with_the_shim_both_sources_feed_one_report_and_executions_are_counted_once() {
    if unsupported() {
        return;
    }
    let (report, pid, left) = run(&start(), ARMED);
    let truth = GroundTruth::after_ready(&report);
    let (samples, calls) = (&left.samples, calls(&truth));
    assert_eq!(observed(samples, pid), calls);
    assert_eq!(unbalanced(samples), Vec::<String>::new());
    for (metric, probe) in [("paged_attention", "paged_attention_v1"), ("cache_update", "reshape_and_cache")]
    {
        assert_eq!(
            sum(samples, &format!("{metric}_calls_total"), pid, &[]),
            calls[probe],
            "executions alone"
        );
        for timing in ["gpu", "host"] {
            let count = sum(samples, &format!("{metric}_duration_ms_count"), pid, &[("timing", timing)]);
            assert_eq!(count, calls[probe], "{metric} {timing}");
        }
    }
    let launches: u64 = truth.launches.values().sum();
    assert_eq!(sum(samples, "gpu_kernel_executions_total", pid, &[]), launches);
}

#[test]
fn the_partitioned_variant_is_told_from_the_other_by_use_v1() {
    if unsupported() {
        return;
    }
    let (report, pid, left) = run(&start().bare().arguments(["--v2", "--dtype", "f32"]), PROBED);
    let truth = calls(&GroundTruth::after_ready(&report));
    assert_eq!(observed(&left.samples, pid), truth);
    let second = [("use_v1", "false")];
    assert_eq!(sum(&left.samples, "paged_attention_calls_total", pid, &second), truth["paged_attention_v2"]);
}

#[test]
fn threads_that_call_at_once_are_each_paired_with_themselves() {
    if unsupported() {
        return;
    }
    let start = start().bare().arguments(["--threads", "8", "--streams", "1"]);
    let (report, pid, left) = run(&start, PROBED);
    assert_eq!(observed(&left.samples, pid), calls(&GroundTruth::after_ready(&report)));
    assert_eq!(unbalanced(&left.samples), Vec::<String>::new());
    assert_eq!(sum(&left.samples, "engine_op_unwound_total", pid, &[]), 0);
}

#[test]
fn a_probed_program_computes_what_it_computes_unprobed() {
    if unsupported() {
        return;
    }
    let alone = |start: &Start| {
        let mut workload = start.ready();
        workload.go();
        workload.finish()["checksum"].clone()
    };
    for (start, state) in [(start(), ARMED), (start().bare(), PROBED)] {
        let (report, _, _) = run(&start, state);
        assert_eq!(report["checksum"], alone(&start));
    }
}

/// With CUDA's own functions too.
const WITH_CUDA: &[&str] = &[
    "--probe-engines",
    "gpu-agent-kernels,cuda-driver,cuda-runtime",
    "--probe-cache",
    "off",
    "--mode",
    "kernels+api",
    "--log-filter",
    "info,memory=debug",
];

#[test]
fn calls_of_cuda_are_counted_by_probes_or_by_cupti_and_never_by_both() {
    if unsupported() {
        return;
    }
    for (start, state) in [(start().bare(), PROBED), (start(), ARMED)] {
        let (report, pid, left) = run_with(&start, state, WITH_CUDA);
        let since = |key: &str| report[key].as_u64().unwrap() - report["before_ready"][key].as_u64().unwrap();
        let samples = &left.samples;
        let launches: u64 = ["cuLaunchKernel", "cuLaunchKernelEx"]
            .map(|function| sum(samples, "gpu_api_calls_total", pid, &[("function", function)]))
            .iter()
            .sum();
        assert_eq!(launches, since("launch_calls"), "{state:?}");
        let timed = sum(samples, "gpu_api_duration_seconds_count", pid, &[("function", "cuLaunchKernel")]);
        assert_eq!(timed, launches, "{state:?}");
        let frees = since("frees") + since("pinned_frees");
        let freed = sum(samples, "gpu_memory_operations_total", pid, &[("operation", "free")]);
        assert_eq!(freed, frees, "{state:?}");
        assert_eq!(unbalanced(samples), Vec::<String>::new());
    }
}

#[test]
fn what_the_ring_has_no_room_for_is_counted_and_no_call_gets_the_time_of_two() {
    if unsupported() {
        return;
    }
    let small = [PROBES, &["--probe-ring-bytes", "65536"]].concat();
    let start = Start::new("compute=off,clock=virtual,kernel_us=2,quiet=on").bare().arguments([
        "--threads",
        "8",
        "--streams",
        "1",
        "--launches",
        "20000",
    ]);
    let started = std::time::Instant::now();
    let (report, pid, left) = run_with(&start, PROBED, &small);
    let longest_ms = started.elapsed().as_secs_f64() * 1e3;
    let truth: u64 = calls(&GroundTruth::after_ready(&report)).values().sum();
    let (samples, lost) = (&left.samples, hop(&left.samples, "bpf", Some("lost")));
    let seen: u64 = observed(samples, pid).values().sum();
    let orphans = hop(samples, "correlate", Some("orphaned"));
    assert!(lost > 0, "the ring was never full");
    assert!(seen + lost >= truth && seen <= truth, "{seen} of {truth} calls, {lost} records lost");
    assert_eq!(unbalanced(samples), Vec::<String>::new());
    let passed = hop(samples, "bpf", Some("passed"));
    assert_eq!(passed + lost, 2 * truth, "every hit is in the ring or lost");
    assert!(orphans <= lost, "{orphans} orphans of {lost} lost records");
    let exceptions = sum(samples, "engine_op_unwound_total", pid, &[]);
    assert_eq!(exceptions, 0, "a lost return is no exception");
    let sum_ms = sum(samples, "paged_attention_duration_ms_sum", pid, &[]) as f64;
    assert!(sum_ms < 8.0 * longest_ms, "{sum_ms} ms in calls of 8 threads that ran {longest_ms} ms");
}
