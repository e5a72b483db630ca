//! Probes on the workload's entry points, with the shim and without it: calls against the workload's own counts, shapes against
//! its arguments, and that a probed program computes what it computes unprobed.
//!
//! Enters: the workload on the simulated device. Leaves: nothing. Refuses: a call more or less.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "probes/lifecycle.rs"]
mod lifecycle;

use gpu_agent_tests::entry_points::{calls, observed, shapes, sum, unbalanced, unsupported};
use gpu_agent_tests::workload::Start;
use gpu_agent_tests::{Agent, GroundTruth};
use serde_json::Value;

const ENGINE: &str = "gpu-agent-kernels";
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
fn run(start: &Start, (count, state): (u32, &str)) -> (Value, u32, gpu_agent_tests::agent::Left) {
    let idle = Start::new("compute=off,quiet=on").ready();
    let mut workload = start.ready();
    let pid = workload.pid();
    let mut agent = Agent::attach(&[pid, idle.pid()], None, PROBES);
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
