//! The scheduler of exporters that push.
//!
//! Enters: a snapshot source, an exporter, a period. Leaves: one push at a time. Refuses: to queue: a push that
//! outlives the period delays the next one, which then carries the newest snapshot.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{info, warn};

use super::SnapshotSource;
use crate::aggregate::snapshot::Snapshot;

/// Sends snapshots somewhere. An exporter made for one back end implements this and is given to [`spawn`].
pub trait PushExporter: Send + 'static {
    /// Why a push did not work.
    type Error: std::error::Error + Send;

    /// For logs and self-metrics.
    fn name(&self) -> &'static str;

    /// Sends one snapshot, retries included, and returns before `deadline`.
    fn export(
        &mut self,
        snapshot: Arc<Snapshot>,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// When to push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// From one push to the next.
    pub period: Duration,
    /// For one push, retries included.
    pub timeout: Duration,
}

/// A running exporter.
#[derive(Debug)]
pub struct Pushing {
    stop: oneshot::Sender<Duration>,
    task: JoinHandle<()>,
}

impl Pushing {
    /// Pushes once more, within `limit`, and ends. A push under way is given up: its points are in the last one.
    pub async fn shutdown(self, limit: Duration) {
        if self.stop.send(limit).is_err() {
            return;
        }
        if let Err(error) = self.task.await {
            warn!(%error, "an exporter's task ended abnormally");
        }
    }
}

/// Pushes every period until told to stop; then once more.
pub fn spawn<E: PushExporter>(
    mut exporter: E,
    schedule: Schedule,
    source: Arc<dyn SnapshotSource>,
) -> Pushing {
    let (stop, mut stopped) = oneshot::channel();
    let task = tokio::spawn(async move {
        let mut ticks = tokio::time::interval_at(Instant::now() + schedule.period, schedule.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut outcome = Outcome::default();
        let limit = loop {
            tokio::select! {
                limit = &mut stopped => break limit,
                _ = ticks.tick() => {}
            }
            let push = exporter.export(source.snapshot(), Instant::now() + schedule.timeout);
            let result = tokio::select! {
                limit = &mut stopped => break limit,
                result = push => result,
            };
            outcome.report(exporter.name(), result);
        };
        if let Ok(limit) = limit {
            let result = exporter.export(source.snapshot(), Instant::now() + limit).await;
            outcome.report(exporter.name(), result);
        }
    });
    Pushing { stop, task }
}

/// Logs changes, not states: an endpoint that is down for an hour is one line, and its return another.
#[derive(Debug, Default)]
struct Outcome {
    failures: u64,
}

impl Outcome {
    fn report<E: std::error::Error>(&mut self, exporter: &'static str, result: Result<(), E>) {
        match result {
            Ok(()) if self.failures > 0 => {
                info!(exporter, failures = self.failures, "exports work again");
                self.failures = 0;
            }
            Ok(()) => {}
            Err(error) => {
                if self.failures == 0 {
                    warn!(exporter, %error, "an export failed; further failures are only counted");
                }
                self.failures += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("refused")]
    struct Refused;

    /// Records when it was called and with which snapshot; takes `takes` for each.
    struct Slow {
        started: Instant,
        takes: Duration,
        calls: Arc<Mutex<Vec<(u64, u64)>>>,
    }

    impl PushExporter for Slow {
        type Error = Refused;

        fn name(&self) -> &'static str {
            "slow"
        }

        async fn export(&mut self, snapshot: Arc<Snapshot>, deadline: Instant) -> Result<(), Refused> {
            let at = self.started.elapsed().as_secs();
            self.calls.lock().unwrap().push((at, snapshot.unix_ns));
            tokio::time::timeout_at(deadline, tokio::time::sleep(self.takes)).await.map_err(|_late| Refused)
        }
    }

    struct Seconds(Instant);

    impl SnapshotSource for Seconds {
        fn snapshot(&self) -> Arc<Snapshot> {
            Arc::new(Snapshot { unix_ns: self.0.elapsed().as_secs(), families: Vec::new() })
        }
    }

    async fn calls(takes: u64, run_for: u64) -> Vec<(u64, u64)> {
        let started = Instant::now();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let exporter = Slow { started, takes: Duration::from_secs(takes), calls: Arc::clone(&calls) };
        let schedule = Schedule { period: Duration::from_secs(10), timeout: Duration::from_secs(30) };
        let pushing = spawn(exporter, schedule, Arc::new(Seconds(started)));
        tokio::time::sleep(Duration::from_secs(run_for)).await;
        pushing.shutdown(Duration::from_secs(5)).await;
        let calls = calls.lock().unwrap();
        calls.clone()
    }

    #[tokio::test(start_paused = true)]
    async fn pushes_each_period_and_once_more_at_the_end() {
        assert_eq!(calls(1, 35).await, [(10, 10), (20, 20), (30, 30), (35, 35)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_endpoint_gets_the_newest_snapshot_next_and_nothing_queues() {
        assert_eq!(calls(25, 61).await, [(10, 10), (35, 35), (60, 60), (61, 61)]);
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_takes_no_longer_than_its_limit() {
        let started = Instant::now();
        calls(1000, 11).await;
        assert_eq!(started.elapsed().as_secs(), 16);
    }
}
