//! A real collector (rotel) takes what we send, over both transports, and shows it as it was.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use gpu_agent::export::otlp::{Compression, Histograms, Options, Protocol};

use super::otlp::{exporter, push};
use super::rig::{python, snapshot};

struct Rotel {
    child: Child,
    lines: mpsc::Receiver<String>,
    grpc: String,
    http: String,
}

impl Rotel {
    fn start(python: &Path) -> Self {
        let program = python.parent().unwrap().join("../lib");
        let agent = walk(&program).expect("rotel-agent is in the environment");
        let free = |_| std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listeners: Vec<_> = (0..2).map(free).collect();
        let addresses: Vec<String> =
            listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
        drop(listeners);
        let mut child = Command::new(agent)
            .args([
                "start",
                "--debug-log",
                "metrics",
                "--debug-log-verbosity",
                "detailed",
                "--exporter",
                "blackhole",
            ])
            .args(["--otlp-grpc-endpoint", &addresses[0], "--otlp-http-endpoint", &addresses[1]])
            .env("NO_COLOR", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let [grpc, http] = addresses.try_into().unwrap();
        let rotel = Self { child, lines, grpc, http };
        let started = Instant::now();
        while [&rotel.grpc, &rotel.http].iter().any(|address| std::net::TcpStream::connect(address).is_err())
        {
            assert!(started.elapsed() < Duration::from_secs(20), "rotel does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        rotel
    }

    /// What it printed until a line that contains `last`.
    fn said(&self, last: &str) -> String {
        let mut said = String::new();
        while !said.contains(last) {
            let line = self.lines.recv_timeout(Duration::from_secs(20));
            said.push_str(&line.unwrap_or_else(|_| panic!("no `{last}` in what rotel says:\n{said}")));
            said.push('\n');
        }
        said
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn walk(folder: &Path) -> Option<std::path::PathBuf> {
    std::fs::read_dir(folder).ok()?.flatten().find_map(|entry| match entry.file_name().to_str()? {
        "rotel-agent" => Some(entry.path()),
        name if name.starts_with("python") || matches!(name, "site-packages" | "rotel") => {
            walk(&entry.path())
        }
        _ => None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_shows_every_instrument() {
    let Some(python) = python() else { return };
    let rotel = Rotel::start(&python);
    let snapshot = snapshot(1, 3);
    let last = snapshot.families.last().unwrap().instrument.name;
    for (protocol, histograms) in
        [(Protocol::Grpc, Histograms::Explicit), (Protocol::HttpProtobuf, Histograms::Exponential)]
    {
        let address = if protocol == Protocol::Grpc { &rotel.grpc } else { &rotel.http };
        let mut exporter = exporter(Options {
            endpoint: Some(format!("http://{address}")),
            protocol: Some(protocol),
            compression: Some(Compression::Gzip),
            histograms: Some(histograms),
            ..Options::default()
        });
        push(&mut exporter, snapshot.clone()).await;
        let said = rotel.said(last);
        let kind = if histograms == Histograms::Explicit { "Histogram" } else { "ExponentialHistogram" };
        // The first two instruments, with factor 3: a counter at 3, a histogram of 3 × 6 observations.
        for line in
            ["Value: 3\n", "Count: 18\n", &format!("-> DataType: {kind}\n"), "-> process.pid: Int(100)\n"]
        {
            assert!(said.contains(line), "`{line}` is not shown:\n{said}");
        }
        for family in &snapshot.families {
            assert!(
                said.contains(family.instrument.name),
                "{} is not shown:\n{said}",
                family.instrument.name
            );
        }
    }
}
