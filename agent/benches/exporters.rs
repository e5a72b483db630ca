//! What exporting costs: a scrape and a push of 10,000 series, a line of the JSON log, and what aggregating with the
//! OpenTelemetry SDK would cost instead of ours.
//!
//! Enters: nothing. Leaves: a table. The SDK is measured with the observation it would make for one kernel record (a
//! counter and a histogram with the same seven attributes), by name and bound; ours with one kernel event.
//!
//! `cargo bench -p gpu-agent --bench exporters`

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on must say so at once"
)]

use std::convert::Infallible;
use std::hint::black_box;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gpu_agent::aggregate::snapshot::{Exponential, Family, Histogram, Point, Snapshot, Value};
use gpu_agent::aggregate::{Aggregator, Limits, Process};
use gpu_agent::classes::{Classifier, KernelName};
use gpu_agent::event::{DeviceId, Event, Interval, Kernel, NameId, Pid, TargetId};
use gpu_agent::export::prometheus::encode::{Format, encode};
use gpu_agent::export::push::PushExporter;
use gpu_agent::export::resource::Resource;
use gpu_agent::export::{
    DeviceInfo, Directory, Health, SnapshotSource, TargetInfo, Verdict, Wiring, json_log, otlp, prometheus,
};
use gpu_agent::semconv::{InstrumentKind, attribute, instruments};
use http_body_util::{BodyExt, Full};
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::{ManualReader, SdkMeterProvider};

const TARGET: TargetId = TargetId(0);
/// Times each measurement is made; the fastest tells the cost without the machine's other work.
const RUNS: usize = 10;
const OBSERVATIONS: u32 = 500_000;
const NAMES: u32 = 12;

fn main() {
    aggregation();
    let snapshot = ten_thousand_series();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(memory(&snapshot));
    scrapes(&snapshot);
    runtime.block_on(pushes(&snapshot));
    runtime.block_on(lines());
}

fn fastest(mut run: impl FnMut()) -> Duration {
    (0..RUNS)
        .map(|_| {
            let started = Instant::now();
            run();
            started.elapsed()
        })
        .min()
        .unwrap_or_default()
}

fn kernel(number: u32) -> Kernel {
    let start_ktime_ns = 1_000_000 + u64::from(number) * 1000;
    let end_ktime_ns = start_ktime_ns + 2000 + (u64::from(number) * 7919) % 50_000;
    let interval = Interval { start_ktime_ns, end_ktime_ns };
    Kernel {
        interval,
        name: NameId(number % NAMES),
        grid: [64, 1, 1],
        block: [128, 1, 1],
        ..Kernel::default()
    }
}

fn name(number: u32) -> String {
    format!("gemm_f16_{number}")
}

fn aggregation() {
    let per = |took: Duration| took.as_nanos() as f64 / f64::from(OBSERVATIONS);
    let row = |what: &str, ns: f64, base: f64| {
        println!("{what:<52} {ns:>8.1} ns  {:>6.2} M/s  ratio {:.1}", 1e3 / ns, ns / base);
    };
    let classifier = Classifier::bundled().unwrap();
    let mut aggregator = Aggregator::new(Limits::default());
    aggregator.add_target(TARGET, &Process { pid: Pid(1), executable: "bench".into(), simulated: false }, 0);
    for number in 0..NAMES {
        aggregator.add_name(TARGET, NameId(number), Arc::new(classifier.classify(&name(number))));
    }
    let ours = per(fastest(|| {
        for number in 0..OBSERVATIONS {
            aggregator.observe(TARGET, &Event::Kernel(black_box(kernel(number))));
        }
    }));
    row("one kernel event, our aggregate", ours, ours);

    let provider = SdkMeterProvider::builder().with_reader(ManualReader::builder().build()).build();
    let meter = provider.meter("bench");
    let counter = meter.u64_counter("executions").build();
    let bounds = instruments::KERNEL_DURATION.bounds.to_vec();
    let histogram = meter.f64_histogram("duration").with_boundaries(bounds).build();
    let attributes: Vec<Vec<KeyValue>> = (0..NAMES)
        .map(|number| {
            vec![
                KeyValue::new(attribute::PID, 1),
                KeyValue::new(attribute::EXECUTABLE, "bench"),
                KeyValue::new(attribute::GPU, "0"),
                KeyValue::new(attribute::GPU_UUID, "GPU-00000000-0000-0000-0000-000000000000"),
                KeyValue::new(attribute::GPU_MODEL, "NVIDIA H200"),
                KeyValue::new(attribute::KERNEL_CLASS, "gemm"),
                KeyValue::new(attribute::KERNEL_NAME, name(number)),
            ]
        })
        .collect();
    let seconds = |kernel: &Kernel| kernel.interval.duration_ns() as f64 / 1e9;
    let by_name = per(fastest(|| {
        for number in 0..OBSERVATIONS {
            let kernel = black_box(kernel(number));
            let attributes = &attributes[kernel.name.0 as usize];
            counter.add(1, attributes);
            histogram.record(seconds(&kernel), attributes);
        }
    }));
    row("the same, OpenTelemetry SDK", by_name, ours);
    let bound: Vec<_> =
        attributes.iter().map(|attributes| (counter.bind(attributes), histogram.bind(attributes))).collect();
    let bound = per(fastest(|| {
        for number in 0..OBSERVATIONS {
            let kernel = black_box(kernel(number));
            let (counter, histogram) = &bound[kernel.name.0 as usize];
            counter.add(1);
            histogram.record(seconds(&kernel));
        }
    }));
    row("the same, OpenTelemetry SDK, bound (experimental)", bound, ours);
}

/// Half counters, half histograms with 18 exponential buckets.
fn ten_thousand_series() -> Arc<Snapshot> {
    let families = [&instruments::KERNEL_EXECUTIONS, &instruments::KERNEL_DURATION].map(|instrument| {
        let points = (0..5000_u64).map(|number| {
            let attributes: Vec<_> = instrument
                .attributes
                .iter()
                .map(|key| (*key, Arc::from(format!("{key} number {number} of many"))))
                .collect();
            let value = match instrument.kind {
                InstrumentKind::Counter => Value::Counter(number * 1_000_003),
                _ => Value::Histogram(Histogram {
                    count: 190 * number,
                    sum: number as f64 / 7.0,
                    min: 1e-6,
                    max: 1.5,
                    explicit: (0..=instrument.bounds.len() as u64).map(|bucket| bucket * number).collect(),
                    exponential: Exponential {
                        scale: 3,
                        zero_count: 0,
                        offset: -80,
                        counts: (0..18).map(|bucket| bucket * number).collect(),
                    },
                }),
            };
            Point { attributes: attributes.into(), start_unix_ns: 1, value }
        });
        Family { instrument, points: points.collect() }
    });
    Arc::new(Snapshot { unix_ns: 2, families: families.into() })
}

/// What answering a scrape takes on top, at its highest.
async fn memory(snapshot: &Arc<Snapshot>) {
    let options = prometheus::Options { listen: Some("127.0.0.1:0".parse().unwrap()), ..Default::default() };
    let endpoint = options.resolve().unwrap().build(Arc::default()).unwrap();
    let address = endpoint.address();
    let fixed = Arc::new(Known { kernels: Vec::new(), snapshot: Arc::clone(snapshot) });
    let (source, directory, health) = (Arc::clone(&fixed), Arc::clone(&fixed), fixed);
    let serving = endpoint.start(Wiring { source, directory, health }).unwrap();
    for (accept, what) in [("Accept-Encoding: gzip\r\n", "gzip"), ("", "plain")] {
        // Linux: 5 sets the peak back to what is resident now.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = resident("VmHWM:");
        let started = Instant::now();
        let read = tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{accept}\r\n").unwrap();
            std::io::copy(&mut stream, &mut std::io::sink()).unwrap()
        })
        .await
        .unwrap();
        let took = started.elapsed().as_secs_f64() * 1e3;
        let peak = resident("VmHWM:") - before;
        let what = format!("whole scrape of 10,000 series as text, {what}");
        println!(
            "{what:<52} {took:>8.1} ms  {:.1} MB, {:.1} MiB of memory",
            read as f64 / 1e6,
            peak / 1024.0
        );
    }
    serving.shutdown(Duration::from_secs(1)).await;
}

/// A field of /proc/self/status, KiB.
fn resident(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn scrapes(snapshot: &Arc<Snapshot>) {
    for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
        let resource = Arc::new(Resource::default());
        let mut body = Vec::new();
        let took = fastest(|| {
            body.clear();
            encode(snapshot, &resource, format, &mut body).unwrap();
        });
        let what = format!("scrape of 10,000 series as {format:?}");
        println!("{what:<52} {:>8.1} ms  {:.1} MB", took.as_secs_f64() * 1e3, body.len() as f64 / 1e6);
    }
}

/// A receiver that takes everything and decodes nothing.
async fn receiver() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async {
                let _body = request.into_body().collect().await;
                Ok::<_, Infallible>(http::Response::new(Full::<Bytes>::default()))
            });
            let stream = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(stream, service));
        }
    });
    format!("http://{address}")
}

async fn pushes(snapshot: &Arc<Snapshot>) {
    let endpoint = receiver().await;
    for compression in [otlp::Compression::None, otlp::Compression::Gzip] {
        let options = otlp::Options {
            endpoint: Some(endpoint.clone()),
            protocol: Some(otlp::Protocol::HttpProtobuf),
            compression: Some(compression),
            ..otlp::Options::default()
        };
        let mut exporter = options.resolve().unwrap().unwrap().build(&Resource::default()).unwrap();
        let mut best = Duration::MAX;
        for _ in 0..RUNS {
            let started = Instant::now();
            let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
            exporter.export(Arc::clone(snapshot), deadline).await.unwrap();
            best = best.min(started.elapsed());
        }
        let bytes = exporter.stats().bytes.load(Ordering::Relaxed) as f64 / RUNS as f64;
        let what = format!("OTLP push of 10,000 series, compression {compression:?}");
        println!("{what:<52} {:>8.1} ms  {:.1} MB", best.as_secs_f64() * 1e3, bytes / 1e6);
    }
}

/// Knows one process, one device, some kernels and one snapshot.
struct Known {
    kernels: Vec<KernelName>,
    snapshot: Arc<Snapshot>,
}

impl Directory for Known {
    fn target(&self, _: TargetId) -> Option<Arc<TargetInfo>> {
        Some(Arc::new(TargetInfo { pid: Pid(42), executable: "python3.11".to_owned(), simulated: false }))
    }
    fn kernel(&self, _: TargetId, name: NameId) -> Option<KernelName> {
        self.kernels.get(name.0 as usize).cloned()
    }
    fn device(&self, _: TargetId, _: DeviceId) -> Option<Arc<DeviceInfo>> {
        Some(Arc::new(DeviceInfo { uuid: "GPU-0".to_owned(), model: "NVIDIA H200".to_owned() }))
    }
    fn api(&self, _: bool, _: u32) -> Option<&'static str> {
        None
    }
}

impl SnapshotSource for Known {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }
}

impl Health for Known {
    fn live(&self) -> Verdict {
        Verdict { ok: true, detail: String::new() }
    }
    fn ready(&self) -> Verdict {
        self.live()
    }
}

async fn lines() {
    let classifier = Classifier::bundled().unwrap();
    let kernels = (0..NAMES).map(|number| classifier.classify(&name(number))).collect();
    let known = Arc::new(Known { kernels, snapshot: Arc::default() });
    let folder = tempfile::tempdir().unwrap();
    for (what, path) in
        [("/dev/null", PathBuf::from("/dev/null")), ("a file", folder.path().join("log.json"))]
    {
        let options = json_log::Options {
            to: Some(json_log::Destination::File(path)),
            filter: Some("kernel=debug".parse().unwrap()),
            queue_events: Some(OBSERVATIONS as usize),
            ..json_log::Options::default()
        };
        let log = options.resolve().unwrap().build().unwrap();
        let (stats, mut sender) = (log.stats(), log.event_sender());
        let (source, directory, health) = (Arc::clone(&known), Arc::clone(&known), Arc::clone(&known));
        let logging = log.start(Wiring { source, directory, health }).unwrap();
        let started = Instant::now();
        for number in 0..OBSERVATIONS {
            sender.offer(TARGET, &Event::Kernel(kernel(number)));
        }
        sender.flush();
        let offered = started.elapsed();
        logging.shutdown(Duration::from_secs(60)).await;
        let took = started.elapsed();
        let written = stats.exported.load(Ordering::Relaxed);
        assert_eq!(written, u64::from(OBSERVATIONS), "every line is written");
        let what = format!("JSON lines to {what}");
        println!(
            "{what:<52} {:>8.0} lines/s  {} bytes a line, {:.0} ns an event on the pipeline's thread",
            written as f64 / took.as_secs_f64(),
            stats.bytes.load(Ordering::Relaxed) / written,
            offered.as_nanos() as f64 / f64::from(OBSERVATIONS)
        );
    }
}
