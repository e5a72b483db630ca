//! The log as a whole: from offered events to lines in a file.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::aggregate::snapshot::{Family, Point, Snapshot, Value};
use crate::classes::KernelName;
use crate::event::{DeviceId, Event, Kernel, NameId, TargetId};
use crate::export::{DeviceInfo, Directory, Health, TargetInfo, Verdict};
use crate::semconv::instruments;

struct Nothing;

impl Directory for Nothing {
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

impl Health for Nothing {
    fn live(&self) -> Verdict {
        Verdict { ok: true, detail: String::new() }
    }
    fn ready(&self) -> Verdict {
        self.live()
    }
}

impl SnapshotSource for Nothing {
    fn snapshot(&self) -> Arc<Snapshot> {
        let point = Point { attributes: Arc::new([]), start_unix_ns: 1, value: Value::Counter(7) };
        let family = Family { instrument: &instruments::KERNEL_EXECUTIONS, points: vec![point] };
        Arc::new(Snapshot { unix_ns: 2, families: vec![family] })
    }
}

fn wiring() -> Wiring {
    Wiring { source: Arc::new(Nothing), directory: Arc::new(Nothing), health: Arc::new(Nothing) }
}

fn options(to: &Path, filter: &str) -> Options {
    Options {
        to: Some(Destination::File(to.to_owned())),
        filter: Some(filter.parse().unwrap()),
        ..Options::default()
    }
}

/// Lines by target.
fn count(path: &Path) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        *counts.entry(line["target"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

fn kernel() -> Event {
    Event::Kernel(Kernel::default())
}

fn stat(stats: &ExportStats, of: fn(&ExportStats) -> &std::sync::atomic::AtomicU64) -> u64 {
    of(stats).load(Ordering::Relaxed)
}

#[tokio::test]
async fn events_offered_are_lines_plus_dropped_and_the_last_totals_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.json");
    let log = Options { queue_events: Some(1000), ..options(&path, "info,kernel=debug") };
    let log = log.resolve().unwrap().build().unwrap();
    let (stats, mut sender) = (log.stats(), log.event_sender());
    for _ in 0..500 {
        sender.offer(TargetId(0), &kernel());
    }
    sender.flush();
    let logging = log.start(wiring()).unwrap();
    for _ in 0..100_000 {
        sender.offer(TargetId(0), &kernel());
    }
    sender.flush();
    logging.shutdown(Duration::from_secs(10)).await;
    let counts = count(&path);
    let dropped = stat(&stats, |stats| &stats.dropped);
    assert_eq!(counts["kernel"] + dropped, 100_500);
    assert!(counts["kernel"] >= 500);
    assert_eq!(counts["summary"], 1);
    assert_eq!(stat(&stats, |stats| &stats.exported), counts.values().sum::<u64>());
    assert_eq!(stat(&stats, |stats| &stats.bytes), std::fs::metadata(&path).unwrap().len());
    assert_eq!(stat(&stats, |stats| &stats.queue_length), 0);
}

#[tokio::test]
async fn a_full_disk_is_counted_and_ends_nothing() {
    let log = options(Path::new("/dev/full"), "kernel=debug").resolve().unwrap().build().unwrap();
    let (stats, mut sender) = (log.stats(), log.event_sender());
    let logging = log.start(wiring()).unwrap();
    for _ in 0..1000 {
        sender.offer(TargetId(0), &kernel());
    }
    sender.flush();
    logging.shutdown(Duration::from_secs(10)).await;
    assert_eq!(stat(&stats, |stats| &stats.exported), 0);
    assert_eq!(stat(&stats, |stats| &stats.failed) + stat(&stats, |stats| &stats.dropped), 1000);
}

#[tokio::test]
async fn series_are_written_each_period() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.json");
    let log = Options { period_ms: Some(Millis(20)), ..options(&path, "info") };
    let logging = log.resolve().unwrap().build().unwrap().start(wiring()).unwrap();
    let started = Instant::now();
    while count(&path).is_empty() {
        assert!(started.elapsed() < Duration::from_secs(10), "no line within 10 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    logging.shutdown(Duration::from_secs(10)).await;
    assert_eq!(count(&path)["summary"], 1, "a series that stands still is written once");
}

#[test]
fn a_file_that_cannot_be_opened_is_named_with_the_option() {
    let log = options(Path::new("/nowhere/log.json"), "info").resolve().unwrap();
    let error = log.build().unwrap_err().to_string();
    assert!(error.contains("/nowhere/log.json") && error.contains("--json-log"), "{error}");
}

#[test]
fn it_is_off_unless_asked_for() {
    assert!(Options::default().resolve().is_none());
    assert!(Options { to: Some(Destination::Off), ..Options::default() }.resolve().is_none());
    assert_eq!("-".parse(), Ok(Destination::Stdout));
    assert!("".parse::<Destination>().is_err());
}

#[test]
fn rust_log_is_the_filter_where_nothing_else_is_said() {
    let look_up = |name: &str| (name == "RUST_LOG").then(|| "memcpy=debug".to_owned());
    let options = Options::from_environment(&look_up);
    assert_eq!(options.filter, Some("memcpy=debug".parse().unwrap()));
    let bad = |name: &str| (name == "RUST_LOG").then(|| "memcpy=loud".to_owned());
    assert_eq!(Options::from_environment(&bad).filter, None, "it may be meant for another program");
}
