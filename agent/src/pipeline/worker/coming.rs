//! How targets come: with a ring, to be probed, or both.
//!
//! Enters: opened rings, processes, news of the prober. Leaves: targets. Refuses: to make two targets of one process.

use std::sync::Arc;

use tracing::info;

use super::super::prober::News;
use super::super::probes::Probes;
use super::super::registry::{State, TargetStatus};
use super::super::target::{Attached, Probed, Ring};
use super::super::{lock, state};
use super::Worker;
use crate::aggregate::Process;
use crate::clock::Anchor;
use crate::event::TargetId;
use crate::export::TargetInfo;
use crate::identity;
use crate::source::cupti::{self, AttachError, Opened, Target};

impl Worker {
    /// A ring: of a target that is probed already, or of a new one.
    pub(super) fn attach(&mut self, opened: Opened, from_start: bool) -> Result<TargetId, AttachError> {
        let pid = opened.process.pid;
        let known = self.targets.iter().position(|known| known.pid == pid);
        let joins = known.filter(|&index| {
            self.targets.get(index).is_some_and(|known| known.ring.is_none() && known.is(&opened.process))
        });
        // Whoever waits for a ring and the prober may both have found this one.
        if let Some(known) = known.and_then(|index| self.targets.get(index))
            && known.has_ring_of(&opened)
        {
            if let Some(ring) = &known.ring {
                ring.target.take_over(&opened);
            }
            return Ok(known.id);
        }
        // The same process again, with a new ring: it runs another program now, and the one before holds no memory.
        if let (Some(index), None) = (known, joins) {
            self.end(index, State::Ended, true);
        }
        let target = Target::attach(opened, self.lease, Arc::clone(&self.classifier), from_start)?;
        let simulated = target.is_simulated();
        let ring = Ring::new(target, self.retry);
        let index = match joins {
            Some(index) => index,
            None => self.add(ring.target.process(), simulated, State::Arming),
        };
        let id = self.set_ring(index, ring);
        self.set_simulated(id, simulated);
        if joins.is_none()
            && let Ok(process) = identity::Process::look_up(pid)
        {
            self.set_probed(index, process, false);
        }
        self.report_state(index, Ok(()));
        Ok(id)
    }

    /// A process without a ring.
    pub(super) fn probe(&mut self, process: identity::Process, simulated: bool) -> TargetId {
        let known = self.targets.iter().position(|known| known.pid == process.pid);
        if let Some(index) = known {
            match self.targets.get(index) {
                Some(known) if known.is(&process) => return known.id,
                _ => self.end(index, State::Ended, true),
            }
        }
        let index = self.add(&process, simulated, State::Probed);
        self.set_probed(index, process, true);
        self.report_state(index, Ok(()));
        self.targets.get(index).map_or(TargetId(self.next), |attached| attached.id)
    }

    /// The BPF programs are loaded: those who came before are probed from now on.
    pub(super) fn take_probes(&mut self, probes: Probes) {
        self.probes = Some(probes);
        for index in 0..self.targets.len() {
            let Some(attached) = self.targets.get(index) else { continue };
            let has_ring = attached.ring.is_some();
            if let Ok(process) = identity::Process::look_up(attached.pid)
                && attached.is(&process)
            {
                self.set_probed(index, process, !has_ring);
                self.report_state(index, Ok(()));
            }
        }
    }

    /// A new target without sources; its index.
    fn add(&mut self, process: &identity::Process, simulated: bool, state: State) -> usize {
        let id = TargetId(self.next);
        self.next += 1;
        let start_unix_ns = Anchor::now().unix_ns;
        let pid = process.pid;
        let info = TargetInfo { pid, executable: process.executable.to_string(), simulated };
        info!(
            pid = pid.0,
            executable = info.executable,
            container = process.container.as_deref(),
            simulated = info.simulated,
            "attached"
        );
        let process = Process { pid, executable: Arc::clone(&process.executable), simulated };
        lock(&self.shared.aggregator).add_target(id, &process, start_unix_ns);
        self.shared.registry.add(TargetStatus {
            id,
            info: Arc::new(info),
            state,
            why: String::new(),
            probes: Vec::new(),
            hops: cupti::Hops::default(),
            past: cupti::Hops::default(),
            versions: (0, 0),
            start_unix_ns,
        });
        self.targets.push(Attached { id, pid, ring: None, probed: None });
        self.targets.len() - 1
    }

    fn set_ring(&mut self, index: usize, ring: Ring) -> TargetId {
        let Some(attached) = self.targets.get_mut(index) else { return TargetId(self.next) };
        attached.ring = Some(ring);
        if let Some(probes) = &mut self.probes {
            probes.set_gpu_records(attached.pid, true);
        }
        attached.id
    }

    fn set_probed(&mut self, index: usize, process: identity::Process, wants_cuda: bool) {
        let (Some(attached), Some(probes)) = (self.targets.get_mut(index), &mut self.probes) else { return };
        probes.add(attached.pid, attached.id, wants_cuda);
        attached.probed = Some(Probed::new(process));
    }

    fn set_simulated(&mut self, id: TargetId, simulated: bool) {
        lock(&self.shared.aggregator).set_simulated(id, simulated);
        self.shared.registry.update(id, |status| {
            if status.info.simulated != simulated {
                status.info = Arc::new(TargetInfo { simulated, ..(*status.info).clone() });
            }
        });
    }

    /// News of the prober.
    pub(super) fn hear(&mut self, news: News) {
        let Some(probes) = &mut self.probes else { return };
        match news {
            News::Told(slots) => probes.told(&slots, &self.shared, &mut self.events),
            News::Gone(slots) => probes.gone(&slots, &self.shared, &mut self.events),
            News::Done(pid) => probes.requests().done(pid),
            News::Found { process, simulated } => {
                self.probe(*process, simulated);
            }
            News::Unreadable { pid, why } => {
                let Some(index) = self.targets.iter().position(|known| known.pid == pid) else { return };
                if self.targets.get(index).is_some_and(|known| known.ring.is_none()) {
                    self.set_state(index, State::Probed, &state::of_unreadable(&why));
                }
            }
            News::Attached { pid, probes, simulated } => {
                let Some(index) = self.targets.iter().position(|known| known.pid == pid) else { return };
                let Some(Attached { id, ring, .. }) = self.targets.get(index) else { return };
                let (id, has_ring) = (*id, ring.is_some());
                let mut changed = false;
                let words = describe(&probes);
                self.shared.registry.update(id, |status| {
                    changed = status.probes != probes;
                    status.probes = probes;
                });
                if changed {
                    info!(pid = pid.0, probes = words, "entry points are probed");
                }
                if !has_ring {
                    self.set_simulated(id, simulated);
                    self.report_state(index, Ok(()));
                }
            }
        }
    }
}

/// `mistral.rs 9, cuda-driver 31`
fn describe(probes: &[(Arc<str>, usize)]) -> String {
    let words: Vec<_> = probes.iter().map(|(engine, count)| format!("{engine} {count}")).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}
