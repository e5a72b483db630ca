//! What Prometheus' own programs make of the endpoint.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gpu_agent::export::prometheus::{Options, Serving};
use serde_json::Value as Json;

use super::rig::{python, snapshot, wiring};

pub(super) struct Served {
    pub(super) address: String,
    pub(super) serving: Serving,
}

/// The endpoint on a free port.
pub(super) fn serve(series: u64, options: Options) -> Served {
    let options = Options { listen: Some("127.0.0.1:0".parse().unwrap()), ..options };
    let endpoint = options.resolve().unwrap().build(std::sync::Arc::default()).unwrap();
    let address = endpoint.address().to_string();
    Served { address, serving: endpoint.start(wiring(snapshot(series, 3))).unwrap() }
}

/// Status, head and body of a GET on a connection of its own.
pub(super) fn get(address: &str, path: &str, headers: &str) -> (u16, String, Vec<u8>) {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let split = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let body = answer.split_off(split + 4);
    let head = String::from_utf8(answer).unwrap().to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = if head.contains("transfer-encoding: chunked") { unchunked(&body) } else { body };
    (status, head, body)
}

fn found(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        eprintln!("skipped: there is no {program} here (Debian: apt-get install prometheus)");
    }
    there
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing_wrong_with_the_text_format() {
    if !found("promtool") {
        return;
    }
    let served = serve(2, Options::default());
    let (status, head, body) = get(&served.address, "/metrics", "");
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(&body).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let complaints: Vec<String> = String::from_utf8(output.stderr)
        .unwrap()
        .lines()
        .filter(|line| !ACCEPTED.iter().any(|accepted| line.starts_with(accepted)))
        .map(str::to_owned)
        .collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", output.status);
}

/// Names that people's dashboards use as they are: promtool would have them spelled out.
const ACCEPTED: [&str; 3] = [
    "paged_attention_duration_ms metric names should not contain abbreviated units",
    "cache_update_duration_ms metric names should not contain abbreviated units",
    "gpu_memory_bandwidth_gb_per_second metric names should not contain abbreviated units",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_strict_openmetrics_parser_reads_every_sample() {
    let Some(python) = python() else { return };
    let served = serve(2, Options::default());
    let (_, head, body) =
        get(&served.address, "/metrics", "Accept: application/openmetrics-text;version=1.0.0\r\n");
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    let program = "import sys, json\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
        for family in parse(sys.stdin.read()):\n\
        \x20   for sample in family.samples:\n\
        \x20       print(json.dumps([family.name, family.type, family.unit, sample.name, sample.value]))\n";
    let mut parser = Command::new(python)
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    parser.stdin.take().unwrap().write_all(&body).unwrap();
    let output = parser.wait_with_output().unwrap();
    assert!(output.status.success(), "the parser refuses the body");
    let parsed = String::from_utf8(output.stdout).unwrap();
    let sent = String::from_utf8(body).unwrap();
    let samples = sent.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(parsed.lines().count(), samples);
    let durations: Vec<Json> = parsed
        .lines()
        .filter(|line| line.contains("gpu_kernel_execution_duration_seconds_count"))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(durations.len(), 2);
    assert_eq!(durations[0][0], "gpu_kernel_execution_duration_seconds");
    assert_eq!((&durations[0][1], &durations[0][2]), (&"histogram".into(), &"seconds".into()));
}

/// A Prometheus server that scrapes one address each second.
struct Prometheus {
    child: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    fn start(target: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s}}\n\
             scrape_configs: [{{job_name: agent, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        std::fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let child = Command::new("prometheus")
            .current_dir(folder.path())
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .args(["--enable-feature=native-histograms", "--log.level=error"])
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, address, _folder: folder }
    }

    /// The result of a query, once there is one.
    fn query(&self, query: &str) -> Vec<Json> {
        let started = Instant::now();
        let path = format!("/api/v1/query?query={}", query.replace(' ', "%20").replace('"', "%22"));
        while started.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(300));
            if std::net::TcpStream::connect(&self.address).is_err() {
                continue;
            }
            let (_, _, body) = get(&self.address, &path, "");
            let answer: Json = serde_json::from_slice(&body).unwrap_or_default();
            match answer["data"]["result"].as_array() {
                Some(result) if !result.is_empty() => return result.clone(),
                _ => {}
            }
        }
        panic!("no result of {query} within 30 s");
    }

    fn value(&self, query: &str) -> f64 {
        self.query(query)[0]["value"][1].as_str().unwrap().parse().unwrap()
    }
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        whole.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 2 + size + 2..];
    }
    whole
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_scrapes_exact_values_and_native_histograms() {
    if !Path::new("/usr/bin/prometheus").exists() && !found("prometheus") {
        return;
    }
    let served = serve(2, Options::default());
    let prometheus = Prometheus::start(&served.address);
    let series = prometheus.query("paged_attention_calls_total{use_v1=\"0\"}");
    assert_eq!(series.len(), 1);
    assert_eq!(series[0]["metric"]["process_pid"], "100");
    // The first instrument, factor 3: the first series counts 3.
    assert_eq!(series[0]["value"][1], "3");
    assert_eq!(prometheus.value("up"), 1.0);
    // A server that knows native histograms asks for protobuf and keeps the native buckets: no _bucket series.
    let count = prometheus.value("histogram_count(paged_attention_duration_ms{use_v1=\"0\"})");
    assert_eq!(count, 18.0, "three times six observations");
    let sum = prometheus.value("histogram_sum(paged_attention_duration_ms{use_v1=\"0\"})");
    assert_eq!(sum, 0.75);
    // A third of the observations is in (2^(-80/8), 2^(-79/8)], the rest in (2^(-76/8), 2^(-75/8)].
    let low = prometheus.value("histogram_quantile(0.1, paged_attention_duration_ms{use_v1=\"0\"})");
    assert!((2_f64.powf(-10.0)..=2_f64.powf(-79.0 / 8.0)).contains(&low), "{low}");
    let high = prometheus.value("histogram_quantile(0.9, paged_attention_duration_ms{use_v1=\"0\"})");
    assert!((2_f64.powf(-9.5)..=2_f64.powf(-75.0 / 8.0)).contains(&high), "{high}");
    assert_eq!(prometheus.value("count(target_info)"), 1.0);
    served.serving.shutdown(Duration::from_secs(2)).await;
}
