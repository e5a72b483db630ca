//! The whole pipeline under a steady load: loss and CPU at 50,000 and 200,000 records a second.
//!
//! Enters: a process of its own that writes a real ring at a given rate. Leaves: records lost, CPU and memory of the agent's
//! process. It runs for GPU_AGENT_LOAD_SECONDS (10) a rate.
//!
//! `cargo bench -p gpu-agent --bench load`

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on must say so at once"
)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gpu_agent::event::Pid;
use gpu_agent::export::EventSender;
use gpu_agent::identity;
use gpu_agent::pipeline::{Pipeline, options};
use gpu_agent::self_metrics::cost_now;
use gpu_agent::source::cupti;
use gpu_agent_ring::layout::Counter;
use gpu_agent_ring::record::{self, kind};
use gpu_agent_ring::writer::Identity;
use gpu_agent_ring::{Geometry, ShimControl, Writer};

const RATES: [u64; 2] = [50_000, 200_000];
/// The writer's beat: as a shim's flush, records come in bursts.
const BEAT: Duration = Duration::from_millis(10);

fn main() {
    if let Ok(load) = std::env::var("GPU_AGENT_LOAD") {
        let (rate, seconds) = load.split_once(' ').unwrap();
        return write(rate.parse().unwrap(), seconds.parse().unwrap());
    }
    let seconds =
        std::env::var("GPU_AGENT_LOAD_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    println!("{seconds} s a rate; the writer is a process of its own, its cost is not the agent's");
    for rate in RATES {
        measure(rate, seconds);
    }
}

fn measure(rate: u64, seconds: u64) {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .env("GPU_AGENT_LOAD", format!("{rate} {seconds}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut orders = writer.stdin.take().unwrap();
    let mut answers = BufReader::new(writer.stdout.take().unwrap()).lines();
    assert_eq!(answers.next().unwrap().unwrap(), "ready");
    let config = options::Options::default().resolve().unwrap();
    let pipeline = Pipeline::start(config, Vec::new(), EventSender::disabled()).unwrap();
    pipeline.attach(cupti::find(Pid(writer.id())).unwrap(), false).unwrap();
    let before = cost_now();
    let start = Instant::now();
    writeln!(orders, "go").unwrap();
    let written: u64 = answers.next().unwrap().unwrap().parse().unwrap();
    let took = start.elapsed().as_secs_f64();
    let after = cost_now();
    let shared = pipeline.stop();
    let hops = shared.registry().targets()[0].hops;
    println!(
        "{:>7.0} records/s for {took:.1} s: {} of {written} read, {} lost, {:.3} of a core, {:.1} MiB resident",
        written as f64 / took,
        hops.read,
        hops.lost,
        (after.cpu_seconds - before.cpu_seconds) / took,
        after.rss_bytes as f64 / 1_048_576.0
    );
    drop(orders);
    writer.wait().unwrap();
}

/// The writing process.
fn write(rate: u64, seconds: u64) {
    let pid = std::process::id();
    let start_time_ticks = identity::start_time_ticks(Pid(pid)).unwrap();
    let identity = Identity { ring_id: 1, pid, start_time_ticks, simulated: true };
    let mut writer = Writer::create(Geometry::default(), identity).unwrap();
    let control = ShimControl::create(1).unwrap();
    let names: Vec<u32> = (0..20).map(|number| writer.intern_text(&format!("gemm_f16_{number}"))).collect();
    println!("ready");
    std::io::stdin().lock().read_line(&mut String::new()).unwrap();
    let start = Instant::now();
    let mut written = 0;
    while start.elapsed() < Duration::from_secs(seconds) {
        let due = (start.elapsed().as_secs_f64() * rate as f64) as u64;
        for number in written..due {
            let start_ns = 1 + number * 1000;
            let (kind_api, end_ns) = (number % 2 == 0, start_ns + 5000);
            if kind_api {
                writer.push(&record::Api {
                    kind: kind::API,
                    start_ns,
                    end_ns,
                    cbid: 307,
                    ..Default::default()
                });
            } else {
                let name_id = names[(number % 20) as usize];
                writer.push(&record::Kernel {
                    kind: kind::KERNEL,
                    start_ns,
                    end_ns,
                    name_id,
                    ..Default::default()
                });
            }
        }
        control.add(Counter::Emitted, due - written);
        written = due;
        std::thread::sleep(BEAT);
    }
    // Let the last beat be read before the number is told.
    std::thread::sleep(Duration::from_millis(200));
    println!("{written}");
    std::io::stdin().lock().read_line(&mut String::new()).unwrap();
}
