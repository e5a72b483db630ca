//! What the agent's probes said, held against what a program did.
//!
//! Enters: samples, lines of the JSON log, the workload's own counts. Leaves: calls of entry points by operation. Refuses: to
//! compare what a graph replays: its entry points run once, at capture.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::GroundTruth;
use crate::prometheus::Sample;

/// Why probes cannot be tested here; `None`, after saying so, where they can.
#[must_use]
pub fn unsupported() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: probes need root");
    }
    !is_root
}

/// Calls by probe, as the workload's launches mean them: one launch a call, and two of `paged_attention_v2`.
#[must_use]
pub fn calls(truth: &GroundTruth) -> BTreeMap<String, u64> {
    let mut calls = BTreeMap::new();
    for (kernel, count) in &truth.launches {
        let probe = [
            "reshape_and_cache",
            "paged_attention_v1",
            "paged_attention_v2",
            "copy_blocks",
            "gather_kv_cache",
        ]
        .into_iter()
        .find(|probe| kernel.starts_with(probe) && !kernel.contains("_reduce"));
        if let Some(probe) = probe {
            *calls.entry(probe.to_owned()).or_default() += count;
        }
    }
    calls
}

/// The sum of a metric's samples of one process whose labels include `wanted`.
#[must_use]
pub fn sum(samples: &[Sample], name: &str, pid: u32, wanted: &[(&str, &str)]) -> u64 {
    let pid = pid.to_string();
    let fits = |sample: &&Sample| {
        let has = |(key, value): &(&str, &str)| sample.labels.get(*key).map_or("", |known| known) == *value;
        sample.name == name
            && sample.labels.get("process_pid").is_some_and(|known| *known == pid)
            && wanted.iter().all(has)
    };
    samples.iter().filter(fits).map(|sample| sample.value as u64).sum()
}

/// Calls by probe, as the metrics have them: `paged_attention_v1_f16` counts under `paged_attention_v1`.
#[must_use]
pub fn observed(samples: &[Sample], pid: u32) -> BTreeMap<String, u64> {
    let pid = pid.to_string();
    let mut calls = BTreeMap::new();
    for sample in samples.iter().filter(|sample| {
        sample.name == "engine_op_calls_total" && sample.labels.get("process_pid") == Some(&pid)
    }) {
        let probe = &sample.labels["probe"];
        let end = ["_f16", "_bf16", "_f32"].into_iter().find_map(|dtype| probe.strip_suffix(dtype));
        if sample.value > 0.0 {
            *calls.entry(end.unwrap_or(probe).to_owned()).or_default() += sample.value as u64;
        }
    }
    calls
}

/// `gpu_agent_records_total` of the probes' hops.
#[must_use]
pub fn hop(samples: &[Sample], hop: &str, outcome: Option<&str>) -> u64 {
    let label = |sample: &Sample, key: &str| sample.labels.get(key).cloned().unwrap_or_default();
    let fits = |sample: &&Sample| {
        sample.name == "gpu_agent_records_total"
            && label(sample, "hop") == hop
            && outcome.is_none_or(|outcome| label(sample, "outcome") == outcome)
            && !sample.labels.contains_key("process_pid")
    };
    samples.iter().filter(fits).map(|sample| sample.value as u64).sum()
}

/// What does not add up between the probes' hops.
#[must_use]
pub fn unbalanced(samples: &[Sample]) -> Vec<String> {
    let open: u64 = samples
        .iter()
        .filter(|sample| sample.name == "gpu_agent_probes_calls_open")
        .map(|sample| sample.value as u64)
        .sum();
    let mut wrong = Vec::new();
    let mut equal = |what: &str, left: u64, right: u64| {
        if left != right {
            wrong.push(format!("{what}: {left} is not {right}"));
        }
    };
    equal("bpf passed, probes all", hop(samples, "bpf", Some("passed")), hop(samples, "probes", None));
    let passed = hop(samples, "probes", Some("passed"));
    equal("probes passed, correlate all + open", passed, hop(samples, "correlate", None) + open);
    wrong
}

/// Shapes by tensor name, each once, of one probe's lines in the JSON log.
#[must_use]
pub fn shapes(log: &[Value], pid: u32, probe: &str) -> BTreeMap<String, Vec<String>> {
    let mut shapes = BTreeMap::<String, Vec<String>>::new();
    let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    for line in log.iter().filter(|line| line["target"] == "tensor_metrics" && line["pid"] == pid) {
        if text(line, "probe").starts_with(probe)
            && !line["tensor_name"].is_null()
            && !line["shape"].is_null()
        {
            let known = shapes.entry(text(line, "tensor_name")).or_default();
            let shape = text(line, "shape");
            if !known.contains(&shape) {
                known.push(shape);
            }
        }
    }
    shapes
}
