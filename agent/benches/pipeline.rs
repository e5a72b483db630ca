//! From ring to series: what a record costs the agent, against a plain copy of the same ring.
//!
//! Enters: a ring of 65,536 slots, filled by the real writer with the mix of a decode loop. Leaves: nanoseconds a record, as a
//! ratio to copying the slots' bytes out and nothing else. The same for 10,000 series, with the memory they take, and the
//! time of a snapshot of them.
//!
//! `cargo bench -p gpu-agent --bench pipeline`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on must say so at once"
)]

use std::hint::black_box;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use gpu_agent::aggregate::{Aggregator, Limits, Process};
use gpu_agent::classes::Classifier;
use gpu_agent::event::{Pid, TargetId};
use gpu_agent::identity;
use gpu_agent::self_metrics::cost_now;
use gpu_agent::source::cupti::{Item, Lease, Opened, Target};
use gpu_agent_ring::control::ShimControl;
use gpu_agent_ring::record::{self, kind};
use gpu_agent_ring::writer::Identity;
use gpu_agent_ring::{AgentControl, Geometry, Reader, Writer};

const SLOTS: u32 = 1 << 16;
const TARGET: TargetId = TargetId(0);
/// Runs of a full ring; the fastest tells the cost without the machine's other work.
const RUNS: usize = 40;

fn main() {
    println!("{SLOTS} records a run, fastest of {RUNS} runs, one core");
    let baseline = fastest(12, |reader, _, _| {
        let mut sum = 0_u64;
        reader.poll(u64::from(SLOTS), |_, payload| sum = sum.wrapping_add(black_box(payload[1])));
        black_box(sum);
    });
    println!("{:<44} {:>8.1} ns/record  ratio 1.0 (the baseline)", "plain copy of the ring", baseline);
    for (what, names) in
        [("ring to series, 12 kernels, kernels+api", 12), ("ring to series, 3,300 kernels", 3300)]
    {
        let cost = measured(names);
        println!(
            "{what:<44} {:>8.1} ns/record  ratio {:.1}, {:.1} M records/s",
            cost,
            cost / baseline,
            1e3 / cost
        );
    }
    memory();
}

/// A ring, its writer and a control page, filled with the records of a decode loop.
struct Rig {
    writer: Writer,
    control: ShimControl,
    names: Vec<u32>,
}

impl Rig {
    fn new(names: usize) -> Self {
        let geometry = Geometry { slots: SLOTS, names_bytes: 4 << 20 };
        let identity = Identity { ring_id: 7, pid: std::process::id(), ..Identity::default() };
        let mut writer = Writer::create(geometry, identity).unwrap();
        let names = (0..names)
            .map(|number| match number % 4 {
                0 => writer.intern_text(&format!("gemm_f16_{number}")),
                1 => writer.intern_text(&format!("paged_attention_v1_f16_h128_b16_{number}")),
                2 => writer.intern_text(&format!("reshape_and_cache_f16_{number}")),
                _ => writer.intern_text(&format!("rms_norm_f16_{number}")),
            })
            .collect();
        Self { writer, control: ShimControl::create(7).unwrap(), names }
    }

    /// One full ring: of 8 records, 3 kernels, 4 API calls, 1 copy, as the default mode sees it.
    fn fill(&mut self) {
        for number in 0..u64::from(SLOTS) {
            let start_ns = 1_000_000 + number * 1000;
            let end_ns = start_ns + 2000 + (number * 7919) % 50_000;
            match number % 8 {
                0 | 3 | 6 => self.writer.push(&record::Kernel {
                    kind: kind::KERNEL,
                    start_ns,
                    end_ns,
                    name_id: self.names[(number / 3) as usize % self.names.len()],
                    block: [128, 1, 1],
                    grid: [64, 1, 1],
                    registers: 40,
                    stream_id: 7,
                    ..Default::default()
                }),
                5 => self.writer.push(&record::Memcpy {
                    kind: kind::MEMCPY,
                    start_ns,
                    end_ns,
                    copy_kind: 1,
                    bytes: 4096,
                    copy_count: 1,
                    ..Default::default()
                }),
                _ => self.writer.push(&record::Api {
                    kind: kind::API,
                    start_ns,
                    end_ns,
                    cbid: 307,
                    ..Default::default()
                }),
            }
        }
    }

    fn target(&self) -> Target {
        let opened = Opened::new(
            identity::Process::look_up(Pid(std::process::id())).unwrap(),
            Reader::open(self.writer.file().unwrap().as_fd()).unwrap(),
            AgentControl::open(self.control.file().unwrap().as_fd(), 7, 1).unwrap(),
        );
        let classifier = Arc::new(Classifier::bundled().unwrap());
        Target::attach(opened, Lease::default(), classifier, true).unwrap()
    }
}

fn aggregator(series: usize) -> Aggregator {
    let mut aggregator = Aggregator::new(Limits { series, ..Limits::default() });
    let process = Process { pid: Pid(1), executable: "bench".into(), simulated: false };
    aggregator.add_target(TARGET, &process, 0);
    aggregator
}

fn drain(target: &mut Target, aggregator: &mut Aggregator) {
    target.drain(u64::MAX, |item| match item {
        Item::Name(new) => aggregator.add_name(TARGET, new.id, Arc::clone(&new.name)),
        Item::Event(event) => aggregator.observe(TARGET, event),
    });
}

/// Nanoseconds a record of `run` over a freshly filled ring.
fn fastest(names: usize, mut run: impl FnMut(&mut Reader, &mut Rig, usize)) -> f64 {
    let mut rig = Rig::new(names);
    let mut reader = Reader::open(rig.writer.file().unwrap().as_fd()).unwrap();
    let mut best = f64::MAX;
    for number in 0..RUNS {
        rig.fill();
        let start = Instant::now();
        run(&mut reader, &mut rig, number);
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(SLOTS));
    }
    best
}

fn measured(names: usize) -> f64 {
    let mut rig = Rig::new(names);
    let mut target = rig.target();
    let mut aggregator = aggregator(10_000);
    let mut best = f64::MAX;
    for _ in 0..RUNS {
        rig.fill();
        let start = Instant::now();
        drain(&mut target, &mut aggregator);
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(SLOTS));
    }
    assert_eq!(target.hops().lost, 0, "a run that lost records measures something else");
    best
}

/// What 10,000 series take, and what a snapshot of them costs.
fn memory() {
    let before = cost_now().rss_bytes;
    let mut rig = Rig::new(3400);
    let mut target = rig.target();
    let mut aggregator = aggregator(10_000);
    for _ in 0..8 {
        rig.fill();
        drain(&mut target, &mut aggregator);
    }
    let after = cost_now().rss_bytes;
    let start = Instant::now();
    let snapshot = aggregator.snapshot(1);
    let took = start.elapsed();
    let points: usize = snapshot.families.iter().map(|family| family.points.len()).sum();
    println!(
        "{:<44} {} series, {:.1} MiB more resident (ring and all), {:.1} MiB in all",
        "10,000 series",
        aggregator.series(),
        (after - before) as f64 / 1048576.0,
        after as f64 / 1048576.0
    );
    println!("{:<44} {points} points in {:.2} ms", "snapshot", took.as_secs_f64() * 1e3);
}
