//! OTLP as an independent receiver decoded it (`tests/tools/otlp_receiver.py`).
//!
//! Enters: the receiver's JSON lines. Leaves: [`Observed`]. Refuses: a series whose cumulative value goes backwards.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::observed::Observed;
use crate::process::Running;
use crate::programs;

/// The running receiver.
#[derive(Debug)]
pub struct Receiver {
    process: Running,
    /// Where it takes OTLP over gRPC.
    pub grpc: SocketAddr,
    /// Where it takes OTLP over HTTP.
    pub http: SocketAddr,
}

impl Receiver {
    /// Starts it on free ports, with `arguments` of its own.
    #[must_use]
    pub fn start(python: &Path, arguments: &[&str]) -> Self {
        let script = programs::repository().join("tests/tools/otlp_receiver.py");
        let mut process = Running::start(Command::new(python).arg("-u").arg(script).args(arguments));
        let line = process.until("the addresses", |process| {
            let text = process.stdout();
            text.contains('\n').then(|| text.lines().next().unwrap_or_default().to_owned())
        });
        let addresses: Value = serde_json::from_str(&line).expect("the addresses");
        let address = |key: &str| addresses[key].as_str().expect(key).parse().expect(key);
        Self { grpc: address("grpc"), http: address("http"), process }
    }

    /// How many requests came so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.process.stdout().lines().count().saturating_sub(1)
    }

    /// All requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Value> {
        self.requests_after(0)
    }

    /// The requests so far, without the first `earlier`.
    #[must_use]
    pub fn requests_after(&self, earlier: usize) -> Vec<Value> {
        let text = self.process.stdout();
        text.lines().skip(1 + earlier).map(|line| serde_json::from_str(line).expect("a request")).collect()
    }
}

/// The metrics that [`observed`] reads.
const COUNTED: [&str; 5] = [
    "gpu.kernel.executions",
    "gpu.memory.operations",
    "gpu.memory.transfer.bytes",
    "gpu.graph.launches",
    "gpu_agent.records",
];

/// The counts in `requests`, of the process `pid`: the sum of deltas, or the last cumulative value.
#[must_use]
pub fn observed(requests: &[Value], pid: u32) -> Observed {
    let mut values: BTreeMap<(String, String), (Value, u64)> = BTreeMap::new();
    for request in requests {
        for metric in request["metrics"].as_array().into_iter().flatten() {
            let name = metric["name"].as_str().unwrap_or_default();
            let cumulative = metric["temporality"] == "cumulative";
            if !COUNTED.contains(&name) {
                continue;
            }
            assert!(metric["kind"] == "sum" && metric["monotonic"] == true, "no counter: {metric}");
            for point in metric["points"].as_array().into_iter().flatten() {
                let attributes = &point["attributes"];
                if attributes["process.pid"].as_u64() != Some(pid.into()) {
                    continue;
                }
                let value = point["value"].as_u64().unwrap_or_else(|| panic!("{name}: no count: {point}"));
                let key = (name.to_owned(), attributes.to_string());
                let entry = values.entry(key).or_insert_with(|| (attributes.clone(), 0));
                if cumulative {
                    assert!(value >= entry.1, "{name} {attributes} goes back from {} to {value}", entry.1);
                    entry.1 = value;
                } else {
                    entry.1 += value;
                }
            }
        }
    }
    let mut observed = Observed::default();
    for ((name, _), (attributes, value)) in values {
        let text = |key: &str| attributes[key].as_str().unwrap_or_default().to_owned();
        match (name.as_str(), text("operation").as_str()) {
            ("gpu.kernel.executions", _) => *observed.calls.entry(text("kernel.name")).or_default() += value,
            ("gpu.memory.operations", "memcpy") => {
                observed.copies.entry(text("direction")).or_default().count += value;
            }
            ("gpu.memory.transfer.bytes", "memcpy") => {
                observed.copies.entry(text("direction")).or_default().bytes += value;
            }
            ("gpu.memory.operations", operation @ ("alloc" | "free")) => {
                *observed.memory.entry(operation.to_owned()).or_default() += value;
            }
            ("gpu.memory.operations", "memset") => observed.memsets.count += value,
            ("gpu.memory.transfer.bytes", "memset") => observed.memsets.bytes += value,
            ("gpu.graph.launches", _) => observed.graph_launches += value,
            ("gpu_agent.records", _) => {
                *observed.fates.entry((text("hop"), text("outcome"))).or_default() += value;
            }
            _ => {}
        }
    }
    observed
}
