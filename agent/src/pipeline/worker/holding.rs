//! How targets are held, and how they end.
//!
//! Enters: reports of shims, the fate of processes. Leaves: leases, states, the last records. Refuses: to forget a target with
//! records unread.

use std::sync::Arc;
use std::time::Instant;

use gpu_agent_ring::control::mono_ns;
use tracing::{info, warn};

use super::super::recovery::Step;
use super::super::registry::State;
use super::super::target::{Attached, Ring};
use super::super::{Shared, lock, state};
use super::Worker;
use crate::event::{Event, Pid, TargetId};
use crate::export::EventSender;
use crate::health::Status;
use crate::identity;
use crate::source::cupti::{self, AttachError, Item};

/// Records taken from one ring under one lock of the aggregate: about a millisecond.
const TURN: u64 = 8192;
/// Looks into a ring before it is let go; each takes in all that the ring can hold.
const LAST_LOOKS: u32 = 8;

impl Worker {
    /// Programs that took the place of a target's: attached once they have a ring, forgotten once they cannot have one.
    pub(super) fn look_for_replaced(&mut self) {
        for (pid, before) in std::mem::take(&mut self.replaced) {
            let found = cupti::find(pid);
            if self.probes.is_some()
                && found.is_err()
                && let Ok(process) = identity::Process::look_up(pid)
            {
                // The prober finds its ring, once there is one.
                self.probe(process, false);
                self.shared.registry.update(before, |status| status.state = State::Ended);
                continue;
            }
            if let Err(error) = &found
                && !matches!(error, AttachError::Identity(_) | AttachError::Reused { .. })
            {
                self.replaced.push((pid, before));
                continue;
            }
            if let Ok(opened) = found
                && let Err(error) = self.attach(opened, true)
            {
                warn!(pid = pid.0, %error, "cannot follow the process into its new program");
            }
            self.shared.registry.update(before, |status| status.state = State::Ended);
        }
    }

    /// Tells, once for each target, of graphs that were made before the attach: when their number has stood for a while, or
    /// at the `last` opportunity.
    pub(super) fn tell_of_graphs(&mut self, index: usize, last: bool) {
        let Some(Attached { pid, ring: Some(ring), .. }) = self.targets.get_mut(index) else { return };
        let Some(seen_before) = ring.unseen_graphs else { return };
        let graphs = ring.target.hops().graphs;
        let unseen = graphs.unseen();
        ring.unseen_graphs = Some(unseen);
        if unseen == 0 || (unseen != seen_before && !last) {
            return;
        }
        ring.unseen_graphs = None;
        if graphs.graphs_before > 0 {
            info!(
                pid = pid.0,
                graphs = graphs.graphs_before,
                "CUDA graphs were made before the attach; their operations are known by kernel name only"
            );
        }
        if graphs.graphs_unknown > 0 {
            info!(
                pid = pid.0,
                graphs = graphs.graphs_unknown,
                cupti_version = ring.target.versions().0,
                "CUPTI does not tell whether these CUDA graphs were made before the attach; it does from 12.3 on"
            );
        }
    }

    /// Renews the lease; a shim that failed rests first.
    pub(super) fn hold(&mut self, index: usize) {
        let Some(Attached { ring: Some(Ring { target, recovery, .. }), .. }) = self.targets.get_mut(index)
        else {
            return;
        };
        let report = target.report();
        match recovery.next(report.state, mono_ns()) {
            Step::Hold => {
                let renewed = target.renew();
                self.report_state(index, renewed);
            }
            Step::Release(plan) => {
                // The shim forgets its fault when the lease ends.
                let (state, why) = state::of_report(target, &report);
                target.release();
                self.set_state(index, state, &format!("{why}; {plan}"));
            }
            Step::Rest => {}
        }
    }

    pub(super) fn report_state(&mut self, index: usize, renewed: Result<(), gpu_agent_ring::LeaseError>) {
        let Some(attached) = self.targets.get(index) else { return };
        let (state, why) = match (&attached.ring, renewed) {
            (Some(_), Err(error)) => (State::LeaseLost, error.to_string()),
            (Some(ring), Ok(())) => state::of_report(&ring.target, &ring.target.report()),
            (None, _) => {
                let has_probes = self.shared.registry.has_probes(attached.id);
                (State::Probed, state::of_probes(has_probes))
            }
        };
        self.set_state(index, state, &why);
    }

    pub(super) fn set_state(&mut self, index: usize, state: State, why: &str) {
        let Some(attached) = self.targets.get_mut(index) else { return };
        let hops = attached.hops();
        let versions = attached.ring.as_ref().map_or((0, 0), |ring| ring.target.versions());
        let (id, pid) = (attached.id, attached.pid);
        let mut changed = false;
        self.shared.registry.update(id, |status| {
            // What becomes of a failed shim is news each time; how long another agent's lease lasts is not.
            changed = status.state != state || (state == State::Failed && status.why != why);
            status.state = state;
            why.clone_into(&mut status.why);
            status.hops = hops;
            status.versions = versions;
        });
        let flow = state::has_gpu_records(state);
        lock(&self.shared.aggregator).set_gpu_records(id, flow);
        if let Some(probes) = &mut self.probes {
            probes.set_gpu_records(pid, flow);
        }
        let health = state::health(state);
        self.shared.board.set(&component(pid), health, if why.is_empty() { state.name() } else { why });
        if changed && health != Status::Healthy {
            warn!(pid = pid.0, %state, why, "target");
        } else if changed {
            info!(pid = pid.0, %state, "target");
        }
    }

    /// Takes in the last records of a target that has ended (or is only let go), and forgets it.
    pub(super) fn end(&mut self, index: usize, state: State, has_exited: bool) {
        let Some(attached) = self.targets.get_mut(index) else { return };
        let (id, pid) = (attached.id, attached.pid);
        if let Some(ring) = &mut attached.ring {
            // Bounded, because a process that was only let go may go on writing for ever.
            for _ in 0..LAST_LOOKS {
                if drain(&self.shared, &mut self.events, id, ring) == 0 {
                    break;
                }
            }
        }
        self.tell_of_graphs(index, true);
        let mut attached = self.targets.swap_remove(index);
        if let (Some(_), Some(probes)) = (&attached.probed, &mut self.probes) {
            probes.remove(pid, &self.shared, &mut self.events);
        }
        self.events.flush();
        let hops = attached.hops();
        lock(&self.shared.aggregator).end_target(id, mono_ns(), has_exited);
        self.shared.registry.update(id, |status| {
            status.state = state;
            status.why = String::new();
            status.probes = Vec::new();
            status.hops = hops;
        });
        self.shared.board.remove(&component(pid));
        self.ended.push((id, Instant::now()));
        info!(pid = pid.0, %state, "target");
    }
}

/// Takes in what waits in one ring, turn by turn. Returns the number of records that were there.
pub(super) fn drain(shared: &Shared, events: &mut EventSender, id: TargetId, ring: &mut Ring) -> u64 {
    let target = &mut ring.target;
    let before = target.position();
    // The writer may be faster than we are: a bounded number of turns, then the other targets have theirs.
    for _ in 0..target.capacity() / TURN + 1 {
        let mut aggregator = lock(&shared.aggregator);
        let pending = target.drain(TURN, |item| match item {
            Item::Name(new) => {
                aggregator.add_name(id, new.id, Arc::clone(&new.name));
                shared.registry.add_name(id, Arc::clone(&new.name));
            }
            Item::Event(event) => {
                if let Event::Device(device) = event {
                    shared.registry.set_device(id, device);
                }
                aggregator.observe(id, event);
                events.offer(id, event);
            }
        });
        if pending == 0 {
            break;
        }
    }
    target.position() - before
}

fn component(pid: Pid) -> String {
    format!("target {pid}")
}
