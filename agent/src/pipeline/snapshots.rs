//! What the exporters ask the pipeline for.
//!
//! Enters: their questions. Leaves: snapshots with the self-metrics in them, names for ids, verdicts. Refuses: to hold the
//! aggregate's lock longer than its own points take.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Shared, lock};
use crate::aggregate::snapshot::Snapshot;
use crate::classes::KernelName;
use crate::clock::Anchor;
use crate::event::{DeviceId, NameId, TargetId};
use crate::export::{DeviceInfo, Directory, ExportStats, Health, SnapshotSource, TargetInfo, Verdict};
use crate::health::Status;
use crate::{cuda, self_metrics};

/// A pipeline that has not looked into its rings for this long hangs.
const HANGS_AFTER: Duration = Duration::from_secs(10);

impl SnapshotSource for Shared {
    fn snapshot(&self) -> Arc<Snapshot> {
        let clock = *lock(&self.clock);
        let mut builder = {
            let aggregator = lock(&self.aggregator);
            let mut builder = aggregator.collect(Anchor::now().unix_ns);
            aggregator.collect_own(builder.starting(self.start_unix_ns));
            builder
        };
        self_metrics::targets(&self.registry.targets(), &mut builder);
        builder.starting(self.start_unix_ns);
        if let Some(hops) = *lock(&self.probes) {
            self_metrics::probes(&hops, &mut builder);
        }
        self_metrics::exporters(&self.exporters, &mut builder);
        self_metrics::clock(&clock, &mut builder);
        self_metrics::agent(self.pace.interval_ns.load(Ordering::Relaxed), &mut builder);
        Arc::new(builder.finish())
    }
}

impl Directory for Shared {
    fn target(&self, target: TargetId) -> Option<Arc<TargetInfo>> {
        self.registry.info(target)
    }

    fn kernel(&self, target: TargetId, name: NameId) -> Option<KernelName> {
        self.registry.kernel(target, name).map(|name| (*name).clone())
    }

    fn device(&self, target: TargetId, device: DeviceId) -> Option<Arc<DeviceInfo>> {
        self.registry.device(target, device)
    }

    fn api(&self, is_runtime: bool, cbid: u32) -> Option<&'static str> {
        cuda::function_name(is_runtime, cbid)
    }
}

impl Health for Shared {
    fn live(&self) -> Verdict {
        let latest = self.pace.latest_ktime_ns.load(Ordering::Relaxed);
        let since = Duration::from_nanos(gpu_agent_ring::control::mono_ns().saturating_sub(latest));
        let ok = since < HANGS_AFTER;
        let word = if ok { Status::Healthy } else { Status::Failed };
        Verdict {
            ok,
            detail: format!("pipeline: {word}: last look into the rings {} ms ago\n", since.as_millis()),
        }
    }

    /// One failed target makes nobody unready while another does better.
    fn ready(&self) -> Verdict {
        let live = self.live();
        let ok = live.ok && self.board.best() < Status::Failed;
        let exporters: String = self.exporters.iter().map(|stats| exporter(stats)).collect();
        Verdict { ok, detail: live.detail + &self.board.to_string() + &exporters }
    }
}

/// One line on an exporter, by its latest export. One that fails makes nobody unready: the others, and the next attempt, may work.
fn exporter(stats: &ExportStats) -> String {
    let (done, failed) = (stats.exports.load(Ordering::Relaxed), stats.failures.load(Ordering::Relaxed));
    let word = if stats.failing.load(Ordering::Relaxed) { Status::Degraded } else { Status::Healthy };
    format!("{}: {word}: {done} exports, {failed} failed\n", stats.name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use super::{ExportStats, Health, Shared, SnapshotSource, Status, exporter, lock};
    use crate::aggregate::Process;
    use crate::event::{Pid, TargetId};
    use crate::export::{EventSender, TargetInfo};
    use crate::pipeline::options::Options;
    use crate::pipeline::{Pipeline, State, TargetStatus};
    use crate::source::cupti::Hops;

    #[test]
    fn an_exporter_is_degraded_until_an_export_works_again() {
        let stats = ExportStats::new("otlp");
        stats.succeeded(1, 1, Duration::ZERO);
        assert_eq!(exporter(&stats), "otlp: healthy: 1 exports, 0 failed\n");
        stats.gave_up(1, Duration::ZERO);
        assert_eq!(exporter(&stats), "otlp: degraded: 1 exports, 1 failed\n");
        stats.succeeded(1, 1, Duration::ZERO);
        assert_eq!(exporter(&stats), "otlp: healthy: 2 exports, 1 failed\n");
    }

    #[test]
    fn a_failed_target_makes_the_agent_unready_only_where_no_other_does_better() {
        let config = Options::default().resolve().unwrap();
        let pipeline = Pipeline::start(config, Vec::new(), EventSender::disabled()).unwrap();
        let shared = pipeline.shared();
        shared.pace.look(gpu_agent_ring::control::mono_ns());
        assert!(shared.ready().ok);
        shared.board.set("target 7", Status::Failed, "cuptiSubscribe returned CUPTI status 39");
        assert!(!shared.ready().ok, "the only target");
        shared.board.set("target 8", Status::Healthy, "armed");
        let verdict = shared.ready();
        assert!(
            verdict.ok && verdict.detail.contains("target 7: failed: cuptiSubscribe"),
            "{}",
            verdict.detail
        );
        shared.board.remove("target 8");
        assert!(!shared.ready().ok, "the only target again");
    }

    /// Starts of the agent's own series (those without a process), by instrument.
    fn own_starts(shared: &Shared) -> BTreeMap<&'static str, u64> {
        let snapshot = shared.snapshot();
        let own = snapshot.families.iter().flat_map(|family| {
            let name = family.instrument.name;
            family.points.iter().map(move |point| (name, point))
        });
        own.filter(|(name, point)| {
            name.starts_with("gpu_agent.") && point.attributes.iter().all(|(key, _)| *key != "process.pid")
        })
        .map(|(name, point)| (name, point.start_unix_ns))
        .collect()
    }

    /// A start that moves while the value does not begin anew would count everything once more.
    #[test]
    fn the_agents_own_counters_start_when_it_starts_whatever_targets_come() {
        let exporters = vec![Arc::new(ExportStats::new("otlp"))];
        let config = Options::default().resolve().unwrap();
        let pipeline = Pipeline::start(config, exporters, EventSender::disabled()).unwrap();
        let shared = pipeline.shared();
        let before = own_starts(shared);
        assert!(before.contains_key("gpu_agent.cpu.time") && before.contains_key("gpu_agent.exports"));
        let info = TargetInfo { pid: Pid(7), executable: "serve".into(), simulated: false };
        let process = Process { pid: info.pid, executable: "serve".into(), simulated: false };
        lock(&shared.aggregator).add_target(TargetId(0), &process, u64::MAX);
        shared.registry.add(TargetStatus {
            id: TargetId(0),
            info: Arc::new(info),
            state: State::Armed,
            why: String::new(),
            probes: Vec::new(),
            hops: Hops::default(),
            past: Hops::default(),
            versions: (0, 0),
            start_unix_ns: u64::MAX,
        });
        assert_eq!(own_starts(shared), before);
        assert!(before.values().all(|start| *start == shared.start_unix_ns));
    }
}
