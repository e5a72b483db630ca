//! A disk that is really full, and really emptied again.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gpu_agent::event::{Event, Kernel, TargetId};
use gpu_agent::export::json_log::{Destination, Options};

use super::rig::{snapshot, wiring};

/// A file system of 256 KiB, gone when dropped.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "none"])
            .arg(folder.path())
            .output();
        match output {
            Ok(output) if output.status.success() => Some(Self(folder)),
            Ok(output) => {
                eprintln!("skipped: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                eprintln!("skipped: mount: {error}");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _left_mounted = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_counted_lines_and_the_log_goes_on_when_it_is_emptied() {
    let Some(disk) = Disk::mount() else { return };
    let (log_path, filler) = (disk.path().join("log.json"), disk.path().join("filler"));
    std::fs::write(&filler, vec![0; 100 * 1024]).unwrap();
    let options = Options {
        to: Some(Destination::File(log_path.clone())),
        filter: Some("kernel=debug".parse().unwrap()),
        ..Options::default()
    };
    let log = options.resolve().unwrap().build().unwrap();
    let (stats, mut sender) = (log.stats(), log.event_sender());
    let logging = log.start(wiring(snapshot(1, 1))).unwrap();
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let mut offered = 0_u64;
    let mut offer_until = |done: &dyn Fn() -> bool| {
        let started = Instant::now();
        while !done() {
            assert!(started.elapsed() < Duration::from_secs(20), "nothing changes within 20 s");
            for _ in 0..100 {
                sender.offer(TargetId(0), &Event::Kernel(Kernel::default()));
            }
            sender.flush();
            offered += 100;
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    offer_until(&|| count(&stats.failed) > 1000);
    let before = count(&stats.exported);
    std::fs::remove_file(&filler).unwrap();
    offer_until(&|| count(&stats.exported) > before);
    logging.shutdown(Duration::from_secs(10)).await;

    let text = std::fs::read_to_string(&log_path).unwrap();
    for line in text.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    assert_eq!(text.lines().count() as u64, count(&stats.exported));
    assert_eq!(count(&stats.exported) + count(&stats.failed) + count(&stats.dropped), offered);
}
