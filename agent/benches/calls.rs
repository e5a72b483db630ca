//! From the BPF ring's bytes to series: what a probe event costs the agent.
//!
//! Enters: records of nested calls on 16 threads, with values like those of a paged-attention call. Leaves: nanoseconds an event
//! (an entry or a return), the share of one core that 100,000 events a second take. Bar: 10 %.
//!
//! `cargo bench -p gpu-agent --bench calls`

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on must say so at once"
)]

use std::sync::Arc;
use std::time::Instant;

use gpu_agent::aggregate::{Aggregator, Limits, Process};
use gpu_agent::correlate::{self, Calls, Correlator, Found};
use gpu_agent::decode::ebpf::decode;
use gpu_agent::event::{FieldValue, OpClass, Pid, ProbeInfo, TargetId, Tensor};
use gpu_agent::probes::plan::{Call, Fetched, Reader, Values};
use gpu_agent_ebpf_abi::{Header, phase};
use zerocopy::IntoBytes;

const TARGET: TargetId = TargetId(0);
const THREADS: u32 = 16;
const ROUNDS: u64 = 5_000;
/// Runs; the fastest tells the cost without the machine's other work.
const RUNS: usize = 10;
/// Values of 8 bytes that an entry fetches.
const READS: usize = 14;

/// Four tensors and six numbers, by names that are shared.
#[derive(Debug)]
struct Attention {
    tensors: [Arc<str>; 4],
    fields: [Arc<str>; 6],
}

impl Reader for Attention {
    fn values(&self, entry: Fetched<'_>, _exit: Option<Fetched<'_>>) -> Values {
        let number = |read: usize| {
            let bytes = entry.payload.get(read * 8..read * 8 + 8).and_then(|bytes| bytes.try_into().ok());
            u64::from_le_bytes(bytes.unwrap_or_default())
        };
        let tensor = |(index, name): (usize, &Arc<str>)| {
            let shape = vec![number(index), number(index + 1), number(index + 2)];
            let size_bytes = Some(shape.iter().product::<u64>() * 2);
            Tensor { name: Arc::clone(name), shape, dtype: Some("f16"), size_bytes }
        };
        let field = |(index, name): (usize, &Arc<str>)| {
            (Arc::clone(name), FieldValue::Integer(number(index).cast_signed()))
        };
        Values {
            tensors: self.tensors.iter().enumerate().map(tensor).collect(),
            fields: self.fields.iter().enumerate().map(field).collect(),
            ..Values::default()
        }
    }
}

fn main() {
    let (calls, records) = (calls(), records());
    let events = records.len() as f64;
    let ns = (0..RUNS).map(|_| run(&calls, &records) / events).fold(f64::INFINITY, f64::min);
    let share = ns * 100_000.0 / 1e9 * 100.0;
    println!("{} events a run, fastest of {RUNS} runs, one core", records.len());
    println!(
        "{:<44} {ns:>8.1} ns/event, {:.2} M events/s",
        "record to series, 4 tensors and 6 fields a call",
        1e3 / ns
    );
    println!("{:<44} {share:>8.2} % of a core (bar: 10 %)", "at 100,000 events a second");
}

/// Nanoseconds for all records.
fn run(calls: &Calls, records: &[Vec<u8>]) -> f64 {
    let mut correlator = Correlator::new(correlate::Limits::default());
    let mut aggregator = Aggregator::new(Limits::default());
    let process = Process { pid: Pid(7), executable: "serve".into(), simulated: false };
    aggregator.add_target(TARGET, &process, 1);
    let started = Instant::now();
    for record in records {
        let (header, payload) = decode(record).unwrap();
        correlator.observe(&header, payload, calls, |_, found| {
            if let Found::Event(event) = found {
                aggregator.observe(TARGET, event);
            }
        });
    }
    let ns = started.elapsed().as_nanos() as f64;
    assert_eq!(correlator.counts().returned, records.len() as u64 / 2);
    ns
}

fn calls() -> Calls {
    let mut calls = Calls::default();
    for (slot, class) in [(0, OpClass::Decode), (2, OpClass::PagedAttention)] {
        let name = class.name().into();
        let info = ProbeInfo { name, engine: "vllm".into(), class, use_v1: None, api: None };
        let tensors = ["query", "key_cache", "value_cache", "block_tables"].map(Arc::from);
        let fields = ["a", "b", "c", "d", "e", "n_tokens"].map(Arc::from);
        let call = Arc::new(Call { info: Arc::new(info), reader: Box::new(Attention { tensors, fields }) });
        calls.insert(slot, 1, Arc::clone(&call), true);
        calls.insert(slot + 1, 1, call, true);
    }
    calls
}

/// A decode with two attention calls in it on each thread in turn, again and again.
fn records() -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    for round in 0..ROUNDS {
        for thread in 0..THREADS {
            let stack = 0x7000_0000 + u64::from(thread) * 0x100_0000;
            let mut push = |slot: u32, phase: u8, depth: u64| {
                let payload: Vec<u8> = if phase == phase::ENTRY {
                    (0..READS as u64).flat_map(|read| (read + 1 + round % 4).to_le_bytes()).collect()
                } else {
                    Vec::new()
                };
                let header = Header {
                    ktime_ns: 1_000 + records.len() as u64 * 100,
                    stack_pointer: stack - depth * 512,
                    process: 7,
                    thread,
                    slot,
                    present: u32::MAX,
                    phase,
                    payload_bytes: payload.len() as u16,
                    generation: 1,
                    ..Header::default()
                };
                records.push([header.as_bytes(), &payload].concat());
            };
            push(0, phase::ENTRY, 0);
            for _ in 0..2 {
                push(2, phase::ENTRY, 1);
                push(3, phase::RETURN, 1);
            }
            push(1, phase::RETURN, 0);
        }
    }
    records
}
