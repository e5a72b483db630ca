//! The JSON log: one flat object a line, to stdout or a file.
//!
//! Enters: events, through a bounded queue, and once an interval a snapshot. Leaves: lines of the targets and levels
//! that the filter wants; docs/logs.md names targets and fields. Refuses: to slow the pipeline: it has its own
//! thread; what does not fit into the queue is dropped and counted, what the disk does not take is counted as failed.
//!
//! Accounting: events offered = events rendered + dropped; lines rendered = exported + failed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

use tokio::time::MissedTickBehavior;
use tracing::warn;

use super::events::{EventSender, Message, QueueReceiver, QueueSender, queue};
use super::{ExportStats, SnapshotSource, Wiring};
use crate::config::options;
use crate::config::value::{Millis, ValueError, deserialize_from_str, variable};

mod event;
mod filter;
mod line;
mod series;
mod sink;

pub use filter::Filter;
pub use series::field;

use sink::{Output, Rotating, Sink, Stdout};

options! {
    /// The JSON log.
    pub struct Options["json_log"] {
        /// Where to: `off`, `-` for stdout, or a file, which is appended to.
        to: Destination, "json-log", "GPU_AGENT_JSON_LOG", default "off", value_name = "FILE";
        /// Which lines: targets and levels in RUST_LOG syntax. RUST_LOG.
        filter: Filter, "log-filter", "GPU_AGENT_LOG", default "info", value_name = "FILTER";
        /// From one line of a series to the next.
        period_ms: Millis, "json-log-period-ms", "GPU_AGENT_JSON_LOG_PERIOD_MS", default "10000",
            value_name = "TIME";
        /// A file is rotated before it grows past this size; 0 for never.
        max_file_bytes: u64, "json-log-max-file-bytes", "GPU_AGENT_JSON_LOG_MAX_FILE_BYTES", default "268435456",
            value_name = "BYTES";
        /// Rotated files that are kept.
        keep_files: u32, "json-log-keep-files", "GPU_AGENT_JSON_LOG_KEEP_FILES", default "4", value_name = "COUNT";
        /// Events that may wait to be written.
        queue_events: usize, "json-log-queue-events", "GPU_AGENT_JSON_LOG_QUEUE_EVENTS", default "65536",
            value_name = "COUNT";
    }
}

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Nowhere.
    Off,
    /// The agent's stdout.
    Stdout,
    /// This file.
    File(PathBuf),
}

impl fmt::Display for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => formatter.write_str("off"),
            Self::Stdout => formatter.write_str("on stdout"),
            Self::File(path) => path.display().fmt(formatter),
        }
    }
}

impl std::str::FromStr for Destination {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => Err(ValueError("an empty name is no file: write a path, `-` or `off`".to_owned())),
            "off" => Ok(Self::Off),
            "-" => Ok(Self::Stdout),
            path => Ok(Self::File(path.into())),
        }
    }
}

deserialize_from_str! {
    Destination, "a file, `-` or `off`";
}

impl Options {
    /// RUST_LOG.
    #[must_use]
    pub fn from_environment(look_up: &dyn Fn(&str) -> Option<String>) -> Self {
        Self { filter: variable("RUST_LOG", look_up), ..Self::default() }
    }

    /// With defaults; `None` where the log is off.
    #[must_use]
    pub fn resolve(self) -> Option<Config> {
        let destination = self.to.filter(|to| *to != Destination::Off)?;
        let period = self.period_ms.map_or(Duration::from_secs(10), Millis::duration);
        Some(Config {
            destination,
            filter: self.filter.unwrap_or_default(),
            period: period.max(Duration::from_millis(1)),
            max_file_bytes: self.max_file_bytes.unwrap_or(268_435_456),
            keep_files: self.keep_files.unwrap_or(4),
            queue_events: self.queue_events.unwrap_or(65_536),
        })
    }
}

/// Where and what to write.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where.
    pub destination: Destination,
    /// Which lines.
    pub filter: Filter,
    /// From one snapshot to the next.
    pub period: Duration,
    /// Size a file does not grow past; 0 = none.
    pub max_file_bytes: u64,
    /// Rotated files kept.
    pub keep_files: u32,
    /// Bound of the queue.
    pub queue_events: usize,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the JSON log {destination}: {source}. Choose another file with --json-log FILE")]
pub struct Error {
    /// Where it was to be.
    pub destination: Destination,
    /// Why.
    pub source: io::Error,
}

impl Config {
    /// Opens the file.
    pub fn build(self) -> Result<JsonLog, Error> {
        let output = self.open().map_err(|source| Error { destination: self.destination.clone(), source })?;
        let stats = Arc::new(ExportStats::new("json_log"));
        let (sender, receiver) = queue(self.queue_events, event::wanted(&self.filter), Arc::clone(&stats));
        Ok(JsonLog { config: self, output, sender, receiver, stats })
    }

    fn open(&self) -> io::Result<Box<dyn Output>> {
        Ok(match &self.destination {
            Destination::Off | Destination::Stdout => Box::new(Stdout::open()?),
            Destination::File(path) => {
                Box::new(Rotating::open(path.clone(), self.max_file_bytes, self.keep_files)?)
            }
        })
    }
}

/// An open log, not yet written.
pub struct JsonLog {
    config: Config,
    output: Box<dyn Output>,
    sender: QueueSender,
    receiver: QueueReceiver,
    stats: Arc<ExportStats>,
}

impl fmt::Debug for JsonLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("JsonLog").field("config", &self.config).finish_non_exhaustive()
    }
}

impl JsonLog {
    /// Where the pipeline offers events; one for each thread.
    #[must_use]
    pub fn event_sender(&self) -> EventSender {
        EventSender::new(self.sender.clone())
    }

    /// Lines, bytes, queue.
    #[must_use]
    pub fn stats(&self) -> Arc<ExportStats> {
        Arc::clone(&self.stats)
    }

    /// Starts the writer's thread and the ticker. Needs a tokio runtime.
    pub fn start(self, wiring: Wiring) -> io::Result<Logging> {
        let snapshot_waits = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            sink: Sink::new(self.output),
            events: event::Renderer::new(wiring.directory, self.config.filter.clone()),
            series: series::Renderer::new(self.config.filter.clone()),
            stats: self.stats,
            buffer: Vec::with_capacity(2 * BLOCK_BYTES),
            snapshot_waits: Arc::clone(&snapshot_waits),
        };
        let receiver = self.receiver;
        let thread =
            thread::Builder::new().name("json-log".to_owned()).spawn(move || writer.run(&receiver))?;
        let ticker = Ticker { source: wiring.source, sender: self.sender, snapshot_waits };
        let ticking = {
            let ticker = ticker.clone();
            let period = self.config.period;
            tokio::spawn(async move { ticker.run(period).await })
        };
        Ok(Logging { ticker, ticking, thread })
    }
}

/// A log that is being written.
pub struct Logging {
    ticker: Ticker,
    ticking: tokio::task::JoinHandle<()>,
    thread: JoinHandle<()>,
}

impl fmt::Debug for Logging {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Logging").finish_non_exhaustive()
    }
}

impl Logging {
    /// Writes what waits and the last totals, then ends. Where the output takes nothing for `limit` (a pipe that
    /// nobody reads), the rest is given up.
    pub async fn shutdown(self, limit: Duration) {
        self.ticking.abort();
        self.ticker.send_last();
        let joined = tokio::task::spawn_blocking(move || self.thread.join());
        match tokio::time::timeout(limit, joined).await {
            Ok(Ok(Ok(()))) => {}
            Ok(_panicked) => warn!("the JSON log's thread ended abnormally"),
            Err(_elapsed) => warn!("the JSON log could not be finished in time"),
        }
    }
}

/// Sends a snapshot each period; none while the one before still waits.
#[derive(Clone)]
struct Ticker {
    source: Arc<dyn SnapshotSource>,
    sender: QueueSender,
    snapshot_waits: Arc<AtomicBool>,
}

impl Ticker {
    async fn run(self, period: Duration) {
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if !self.snapshot_waits.swap(true, Ordering::AcqRel)
                && !self.sender.send(Message::Snapshot(self.source.snapshot()))
            {
                return;
            }
        }
    }

    fn send_last(&self) {
        self.sender.send(Message::Snapshot(self.source.snapshot()));
        self.sender.send(Message::Finish);
    }
}

/// Bytes that are written at once.
const BLOCK_BYTES: usize = 64 * 1024;
/// How long the writer waits for a message before it looks whether it is still wanted.
const IDLE: Duration = Duration::from_secs(1);

/// The thread's state.
struct Writer {
    sink: Sink<Box<dyn Output>>,
    events: event::Renderer,
    series: series::Renderer,
    stats: Arc<ExportStats>,
    buffer: Vec<u8>,
    snapshot_waits: Arc<AtomicBool>,
}

impl Writer {
    /// Until told to finish, or until nobody is left to tell.
    fn run(mut self, receiver: &QueueReceiver) {
        loop {
            let message = match receiver.next(Duration::ZERO) {
                Ok(None) => {
                    // Nothing more at once: readers of the log should not wait for the next block.
                    flush(&mut self.sink, &self.stats, &mut self.buffer, 1);
                    receiver.next(IDLE)
                }
                message => message,
            };
            match message {
                Ok(Some(Message::Events(anchor, batch))) => {
                    self.events.set_anchor(anchor);
                    for (target, event) in &batch {
                        self.events.render(&mut self.buffer, *target, event);
                        flush(&mut self.sink, &self.stats, &mut self.buffer, BLOCK_BYTES);
                    }
                }
                Ok(Some(Message::Snapshot(snapshot))) => {
                    self.snapshot_waits.store(false, Ordering::Release);
                    let (sink, stats) = (&mut self.sink, &self.stats);
                    self.series.render(&mut self.buffer, &snapshot, |buffer| {
                        flush(sink, stats, buffer, BLOCK_BYTES)
                    });
                    self.events.forget_gone();
                }
                Ok(None) => {}
                Ok(Some(Message::Finish)) | Err(_) => break,
            }
        }
        flush(&mut self.sink, &self.stats, &mut self.buffer, 1);
    }
}

/// Writes the buffer where it holds at least `threshold` bytes.
fn flush(sink: &mut Sink<Box<dyn Output>>, stats: &ExportStats, buffer: &mut Vec<u8>, threshold: usize) {
    if buffer.len() < threshold {
        return;
    }
    let started = Instant::now();
    let written = sink.write(buffer);
    buffer.clear();
    if written.lines > 0 || written.refused == 0 {
        stats.succeeded(written.lines, written.bytes, started.elapsed());
    }
    if written.refused > 0 {
        stats.gave_up(written.refused, started.elapsed());
    }
}

#[cfg(test)]
mod tests;
