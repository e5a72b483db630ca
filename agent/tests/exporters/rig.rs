//! What these tests share: a snapshot with every instrument in it, a source that serves it, and the counterparts.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use gpu_agent::aggregate::snapshot::{Exponential, Family, Histogram, Point, Snapshot, Value};
use gpu_agent::classes::KernelName;
use gpu_agent::event::{DeviceId, NameId, TargetId};
use gpu_agent::export::{DeviceInfo, Directory, Health, SnapshotSource, TargetInfo, Verdict, Wiring};
use gpu_agent::semconv::{INSTRUMENTS, InstrumentKind};

/// When the series of [`snapshot`] began.
pub(super) const START_NS: u64 = 1_700_000_000_000_000_000;
/// When it was taken.
pub(super) const TAKEN_NS: u64 = 1_700_000_010_000_000_007;

/// Every instrument with `series` series (one where it has no attributes); values grow with `factor`.
pub(super) fn snapshot(series: u64, factor: u64) -> Arc<Snapshot> {
    let families = INSTRUMENTS.iter().enumerate().map(|(index, instrument)| {
        let series = if instrument.attributes.is_empty() { 1 } else { series };
        let points = (0..series).map(|number| {
            let attributes: Vec<_> = instrument
                .attributes
                .iter()
                .map(|key| {
                    (*key, Arc::from(format!("{}", number + if *key == "process.pid" { 100 } else { 0 })))
                })
                .collect();
            let total = factor * (number + 1 + index as u64);
            let value = match instrument.kind {
                InstrumentKind::Counter if index % 2 == 0 => Value::Counter(total),
                InstrumentKind::Counter => Value::CounterF64(total as f64 + 0.25),
                InstrumentKind::Gauge => Value::Gauge(total as f64 * 1.5),
                InstrumentKind::Histogram => Value::Histogram(histogram(total, instrument.bounds.len())),
            };
            Point { attributes: attributes.into(), start_unix_ns: START_NS, value }
        });
        Family { instrument, points: points.collect() }
    });
    Arc::new(Snapshot { unix_ns: TAKEN_NS + factor, families: families.collect() })
}

/// `total` observations in the first bucket, and twice as many in the third.
fn histogram(total: u64, bounds: usize) -> Histogram {
    let mut explicit = vec![0; bounds + 1];
    explicit[0] = total;
    explicit[2] = 2 * total;
    Histogram {
        count: 3 * total,
        sum: total as f64 * 0.125,
        min: 0.001,
        max: 0.0625,
        explicit,
        exponential: Exponential {
            scale: 3,
            zero_count: 0,
            offset: -80,
            counts: vec![total, 0, 0, 0, 2 * total],
        },
    }
}

/// Serves one snapshot, knows nothing else, and is always well.
pub(super) struct Fixed(Arc<Snapshot>);

impl SnapshotSource for Fixed {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0)
    }
}

impl Directory for Fixed {
    fn target(&self, _: TargetId) -> Option<Arc<TargetInfo>> {
        None
    }
    fn kernel(&self, _: TargetId, _: NameId) -> Option<KernelName> {
        None
    }
    fn device(&self, _: TargetId, _: DeviceId) -> Option<Arc<DeviceInfo>> {
        None
    }
    fn api(&self, _: bool, _: u32) -> Option<&'static str> {
        None
    }
}

impl Health for Fixed {
    fn live(&self) -> Verdict {
        Verdict { ok: true, detail: "alive\n".to_owned() }
    }
    fn ready(&self) -> Verdict {
        Verdict { ok: false, detail: "no target yet\n".to_owned() }
    }
}

pub(super) fn wiring(snapshot: Arc<Snapshot>) -> Wiring {
    let fixed = Arc::new(Fixed(snapshot));
    let (source, directory, health) = (Arc::clone(&fixed), Arc::clone(&fixed), fixed);
    Wiring { source, directory, health }
}

/// Python with the counterparts in it, or `None` and a line that says why.
pub(super) fn python() -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tools/venv.sh");
    let output = Command::new(script).output().expect("tests/tools/venv.sh can be started");
    if output.status.code() == Some(75) {
        eprintln!("skipped: {}", String::from_utf8_lossy(&output.stderr).trim());
        return None;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let venv = String::from_utf8(output.stdout).expect("a path");
    Some(Path::new(venv.trim()).join("bin/python"))
}

/// `tests/tools/otlp_receiver.py`, running.
pub(super) struct Receiver {
    child: Child,
    lines: mpsc::Receiver<serde_json::Value>,
    /// `host:port`
    pub(super) grpc: String,
    /// `host:port`
    pub(super) http: String,
}

impl Receiver {
    pub(super) fn start(python: &Path, arguments: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tools/otlp_receiver.py");
        let mut child = Command::new(python)
            .arg(script)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, lines) = mpsc::channel();
        // It answers a request when its line is written: somebody has to read meanwhile.
        std::thread::spawn(move || read(stdout, &sender));
        let mut receiver = Self { child, lines, grpc: String::new(), http: String::new() };
        let listens = receiver.next();
        receiver.grpc = listens["grpc"].as_str().expect("an address").to_owned();
        receiver.http = listens["http"].as_str().expect("an address").to_owned();
        receiver
    }

    /// The next line it printed.
    pub(super) fn next(&mut self) -> serde_json::Value {
        self.lines.recv_timeout(Duration::from_secs(20)).expect("a line within 20 s")
    }
}

fn read(stdout: ChildStdout, lines: &mpsc::Sender<serde_json::Value>) {
    for line in BufReader::new(stdout).lines() {
        let line = line.expect("text");
        let json = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: `{line}`"));
        if lines.send(json).is_err() {
            return;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A series' identity: instrument and attributes.
pub(super) type Series = (String, BTreeMap<String, String>);

pub(super) fn series(name: &str, attributes: &serde_json::Value) -> Series {
    let attributes = attributes.as_object().expect("attributes are an object");
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    (name.to_owned(), attributes.iter().map(|(key, value)| (key.clone(), text(value))).collect())
}
