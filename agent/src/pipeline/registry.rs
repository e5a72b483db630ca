//! The targets and what is known of them: names for ids, states for people, counts for the self-metrics.
//!
//! Enters: what the pipeline's thread learns. Leaves: look-ups for exporters and tables. Refuses: to keep what nobody can
//! ask for any more: a target goes when its series go.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::classes::KernelName;
use crate::event::{Device, DeviceId, NameId, TargetId};
use crate::export::{DeviceInfo, TargetInfo};
use crate::source::cupti::Hops;

/// State of a target. Names as in the attribute `state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Probes only: the process has no shim.
    Probed,
    /// The lease is held; the shim has not answered yet.
    Arming,
    /// Records flow.
    Armed,
    /// Another profiler has CUPTI in that process.
    Busy,
    /// Lent to another profiler, by `gpu-agent yield`.
    Yielded,
    /// Let go, by `gpu-agent detach`.
    Detached,
    /// No usable libcupti.
    NoCupti,
    /// A CUPTI call failed.
    Failed,
    /// Another agent holds the lease.
    LeaseLost,
    /// The process has done its last CUDA work, and is about to end.
    Finished,
    /// The process runs another program now, which has no ring yet.
    Replaced,
    /// The process has ended, or runs another program, which is a target of its own.
    Ended,
}

impl State {
    /// All states.
    pub const ALL: [Self; 12] = [
        Self::Probed,
        Self::Arming,
        Self::Armed,
        Self::Busy,
        Self::Yielded,
        Self::Detached,
        Self::NoCupti,
        Self::Failed,
        Self::LeaseLost,
        Self::Finished,
        Self::Replaced,
        Self::Ended,
    ];

    /// The attribute's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Probed => "probed",
            Self::Arming => "arming",
            Self::Armed => "armed",
            Self::Busy => "busy",
            Self::Yielded => "yielded",
            Self::Detached => "detached",
            Self::NoCupti => "no_cupti",
            Self::Failed => "failed",
            Self::LeaseLost => "lease_lost",
            Self::Finished => "finished",
            Self::Replaced => "replaced",
            Self::Ended => "ended",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A target as tables and reports show it.
#[derive(Debug, Clone)]
pub struct TargetStatus {
    /// Index.
    pub id: TargetId,
    /// Process.
    pub info: Arc<TargetInfo>,
    /// State.
    pub state: State,
    /// Why, in a sentence; empty where the state says it all.
    pub why: String,
    /// Probes that are attached, by engine.
    pub probes: Vec<(Arc<str>, usize)>,
    /// Records by stage and fate.
    pub hops: Hops,
    /// The same of earlier targets with the same attributes, whose entries are gone: their series went on in this one's.
    pub past: Hops,
    /// `(cuptiGetVersion, cuDriverGetVersion)`, 0 while unknown.
    pub versions: (u32, u32),
    /// When it was attached, or the first of those whose counts are in `past`, Unix nanoseconds.
    pub start_unix_ns: u64,
}

#[derive(Debug)]
struct Entry {
    status: TargetStatus,
    names: Vec<Arc<KernelName>>,
    devices: Vec<(DeviceId, Arc<DeviceInfo>)>,
}

/// All targets.
#[derive(Debug, Default)]
pub struct Registry {
    targets: RwLock<HashMap<TargetId, Entry>>,
}

impl Registry {
    /// All targets, in the order of their attachment.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetStatus> {
        let mut list: Vec<_> =
            self.read(|targets| targets.values().map(|entry| entry.status.clone()).collect());
        list.sort_unstable_by_key(|status: &TargetStatus| status.id);
        list
    }

    /// One target's process.
    #[must_use]
    pub fn info(&self, target: TargetId) -> Option<Arc<TargetInfo>> {
        self.read(|targets| Some(Arc::clone(&targets.get(&target)?.status.info)))
    }

    /// Whether any probe is attached in one target.
    #[must_use]
    pub fn has_probes(&self, target: TargetId) -> bool {
        self.read(|targets| targets.get(&target).is_some_and(|entry| !entry.status.probes.is_empty()))
    }

    /// One kernel name.
    #[must_use]
    pub fn kernel(&self, target: TargetId, name: NameId) -> Option<Arc<KernelName>> {
        self.read(|targets| targets.get(&target)?.names.get(name.0 as usize).cloned())
    }

    /// One device.
    #[must_use]
    pub fn device(&self, target: TargetId, id: DeviceId) -> Option<Arc<DeviceInfo>> {
        self.read(|targets| {
            let devices = &targets.get(&target)?.devices;
            devices.iter().find(|(known, _)| *known == id).map(|(_, device)| Arc::clone(device))
        })
    }

    pub(super) fn add(&self, status: TargetStatus) {
        let entry = Entry { names: Vec::new(), devices: Vec::new(), status };
        self.write(|targets| targets.insert(entry.status.id, entry));
    }

    /// Forgets an ended target. What it counted stays with the one that goes on with its series, if there is one.
    pub(super) fn remove(&self, target: TargetId) {
        self.write(|targets| {
            let Some(gone) = targets.remove(&target) else { return };
            let heir = targets.values_mut().find(|entry| entry.status.info == gone.status.info);
            if let Some(heir) = heir {
                heir.status.past = heir.status.past.plus(&gone.status.hops).plus(&gone.status.past);
                heir.status.start_unix_ns = heir.status.start_unix_ns.min(gone.status.start_unix_ns);
            }
        });
    }

    pub(super) fn add_name(&self, target: TargetId, name: Arc<KernelName>) {
        self.change(target, |entry| entry.names.push(name));
    }

    pub(super) fn set_device(&self, target: TargetId, device: &Device) {
        let info = DeviceInfo { uuid: device.uuid.to_string(), model: device.name.clone() };
        self.change(target, |entry| {
            entry.devices.retain(|(known, _)| *known != device.id);
            entry.devices.push((device.id, Arc::new(info)));
        });
    }

    /// Changes the status; says whether the state is another now.
    pub(super) fn update(&self, target: TargetId, change: impl FnOnce(&mut TargetStatus)) -> bool {
        let mut changed = false;
        self.change(target, |entry| {
            let before = entry.status.state;
            change(&mut entry.status);
            changed = entry.status.state != before;
        });
        changed
    }

    fn change(&self, target: TargetId, change: impl FnOnce(&mut Entry)) {
        self.write(|targets| targets.get_mut(&target).map(change));
    }

    fn read<T>(&self, look: impl FnOnce(&HashMap<TargetId, Entry>) -> T) -> T {
        look(&self.targets.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut HashMap<TargetId, Entry>) -> T) -> T {
        change(&mut self.targets.write().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Registry, State, TargetStatus};
    use crate::event::{Pid, TargetId};
    use crate::export::TargetInfo;
    use crate::source::cupti::Hops;

    fn status(id: u32, decoded: u64) -> TargetStatus {
        TargetStatus {
            id: TargetId(id),
            info: Arc::new(TargetInfo { pid: Pid(7), executable: "serve".into(), simulated: false }),
            state: State::Ended,
            why: String::new(),
            probes: Vec::new(),
            hops: Hops { decoded, ..Hops::default() },
            past: Hops::default(),
            versions: (0, 0),
            start_unix_ns: 100 + u64::from(id),
        }
    }

    #[test]
    fn what_a_forgotten_target_counted_stays_with_its_heir() {
        let registry = Registry::default();
        for (id, decoded) in [(0, 10), (1, 5), (2, 1)] {
            registry.add(status(id, decoded));
        }
        registry.remove(TargetId(0));
        registry.remove(TargetId(1));
        let left = registry.targets();
        assert_eq!(left.len(), 1);
        assert_eq!((left[0].hops.decoded, left[0].past.decoded), (1, 15));
        assert_eq!(left[0].start_unix_ns, 100, "a sum that began then");
    }
}
