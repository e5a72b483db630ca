//! OTLP metrics over gRPC or HTTP.
//!
//! Enters: snapshots, once a period. Leaves: requests of bounded size, retried as the protocol says. Refuses: to
//! queue. What a failed push carried is in the next one: cumulative totals by themselves, deltas because they are
//! taken against what the receiver last acknowledged, series by series. An endpoint that is gone for an hour costs
//! no memory beyond that, and no point.
//!
//! Variables' names come from the crate opentelemetry-otlp, messages from opentelemetry-proto; the SDK's exporter
//! itself takes no finished points (docs/adr/006-otlp-without-the-sdk.md).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::ExportStats;
use super::push::{PushExporter, Schedule};
use super::resource::Resource;
use crate::aggregate::snapshot::Snapshot;

mod delta;
mod encode;
mod options;
mod retry;
mod transport;

pub use options::{Compression, ConfigError, Histograms, Options, Protocol, Temporality};
pub use retry::GaveUp;
pub use transport::tls::TlsError;

use delta::Acknowledged;
use encode::Encoder;
use retry::Backoff;
use transport::{Connection, Transport};

/// Points in one request: about 1 MB of histograms, where receivers take 4 MiB.
const POINTS_PER_REQUEST: usize = 2000;

/// Where and how to send.
#[derive(Debug, Clone)]
pub struct Config {
    /// Wire format.
    pub protocol: Protocol,
    /// Where: with the path, for HTTP.
    pub endpoint: http::Uri,
    /// Sent with every request.
    pub headers: http::HeaderMap,
    /// Of bodies.
    pub compression: Compression,
    /// For one attempt.
    pub timeout: Duration,
    /// When to push, and how long retries may take.
    pub schedule: Schedule,
    /// Files for TLS.
    pub tls: transport::tls::Files,
    /// Totals or differences.
    pub temporality: Temporality,
    /// Which buckets.
    pub histograms: Histograms,
}

impl Config {
    /// Reads the certificates; the first connection is made by the first push.
    pub fn build(self, resource: &Resource) -> Result<Exporter, TlsError> {
        let connection = Connection::new(&self)?;
        Ok(Exporter {
            schedule: self.schedule,
            core: Core {
                transport: connection,
                encoder: Encoder::new(resource, self.temporality, self.histograms),
                acknowledged: Acknowledged::default(),
                backoff: Backoff::default(),
                not_before: None,
                timeout: self.timeout,
                stats: Arc::new(ExportStats::new("otlp")),
            },
        })
    }
}

/// Pushes snapshots to one endpoint.
#[derive(Debug)]
pub struct Exporter {
    schedule: Schedule,
    core: Core<Connection>,
}

impl Exporter {
    /// When to push.
    #[must_use]
    pub fn schedule(&self) -> Schedule {
        self.schedule
    }

    /// Points, bytes, failures, retries.
    #[must_use]
    pub fn stats(&self) -> Arc<ExportStats> {
        Arc::clone(&self.core.stats)
    }
}

impl PushExporter for Exporter {
    type Error = GaveUp;

    fn name(&self) -> &'static str {
        "otlp"
    }

    async fn export(&mut self, snapshot: Arc<Snapshot>, deadline: Instant) -> Result<(), GaveUp> {
        self.core.export(&snapshot, deadline).await
    }
}

/// The exporter apart from how bytes travel.
#[derive(Debug)]
struct Core<T> {
    transport: T,
    encoder: Encoder,
    acknowledged: Acknowledged,
    backoff: Backoff,
    /// The receiver asked to be left alone until then.
    not_before: Option<Instant>,
    timeout: Duration,
    stats: Arc<ExportStats>,
}

impl<T: Transport> Core<T> {
    /// Sends the snapshot in requests of bounded size; the first that cannot be delivered ends the push.
    async fn export(&mut self, snapshot: &Snapshot, deadline: Instant) -> Result<(), GaveUp> {
        let started = Instant::now();
        let mut undelivered = self.encoder.batches(snapshot, &mut self.acknowledged, POINTS_PER_REQUEST);
        let total: u64 = undelivered.iter().map(|batch| batch.points() as u64).sum();
        let (mut delivered, mut rejected, mut bytes) = (0, 0, 0);
        let mut result = Ok(());
        while let Some(batch) = undelivered.pop_front() {
            let request = self.encoder.request(snapshot, &batch);
            match self.deliver(&request, deadline).await {
                Ok(answer) => {
                    self.acknowledged.commit(snapshot, &batch);
                    delivered += batch.points() as u64;
                    rejected += answer.rejected.min(batch.points() as u64);
                    bytes += answer.bytes;
                    if answer.rejected > 0 || !answer.message.is_empty() {
                        let (rejected, message) = (answer.rejected, answer.message);
                        warn!(rejected, message, "the OTLP receiver took a request in part");
                    }
                }
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        self.stats.rejected.fetch_add(rejected, Ordering::Relaxed);
        match result {
            Ok(()) => self.stats.succeeded(delivered - rejected, bytes, started.elapsed()),
            Err(_) => {
                self.stats.exported.fetch_add(delivered - rejected, Ordering::Relaxed);
                self.stats.bytes.fetch_add(bytes, Ordering::Relaxed);
                self.stats.gave_up(total - delivered, started.elapsed());
            }
        }
        result
    }

    /// One request, until it is delivered, refused for good, or late.
    async fn deliver(
        &mut self,
        request: &encode::Request,
        deadline: Instant,
    ) -> Result<transport::Answer, GaveUp> {
        loop {
            if let Some(until) = self.not_before {
                if until >= deadline {
                    return Err(GaveUp::Throttled {
                        seconds: until.duration_since(Instant::now()).as_secs(),
                    });
                }
                tokio::time::sleep_until(until).await;
                self.not_before = None;
            }
            let limit = self.timeout.min(deadline.saturating_duration_since(Instant::now()));
            let attempt = tokio::time::timeout(limit, self.transport.send(request, limit)).await;
            let refusal = match attempt {
                Ok(Ok(answer)) => {
                    self.backoff.reset();
                    return Ok(answer);
                }
                Ok(Err(refusal)) => refusal,
                Err(_elapsed) => transport::Refusal::slow(limit),
            };
            let wait = match refusal.retry {
                retry::Retry::Never => return Err(GaveUp::Refused { reason: refusal.reason }),
                // At least the client's own pause: a receiver that asks for none is not hammered.
                retry::Retry::Later(asked) => {
                    self.backoff.next().max(asked.unwrap_or_default()).min(retry::LONGEST_THROTTLE)
                }
            };
            let until = Instant::now() + wait;
            if matches!(refusal.retry, retry::Retry::Later(Some(_))) {
                self.not_before = Some(until);
            }
            if until >= deadline {
                return Err(GaveUp::Late { reason: refusal.reason });
            }
            self.stats.retries.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep_until(until).await;
            self.not_before = None;
        }
    }
}

#[cfg(test)]
mod tests;
