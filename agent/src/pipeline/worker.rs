//! The thread that reads the rings: the shims', and that of the probes.
//!
//! Enters: commands, records. Leaves: series, names, events, states. Refuses: to end with records unread: a stop ends the
//! leases, waits for the shims' last flush and takes it in.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use gpu_agent_ring::control::mono_ns;
use tracing::warn;

use super::pace::Pace;
use super::prober::Request;
use super::probes::Probes;
use super::registry::State;
use super::target::Attached;
use super::{Command, Config, Shared, lock};
use crate::classes::Classifier;
use crate::clock::Anchor;
use crate::event::{Pid, TargetId};
use crate::export::EventSender;
use crate::source::cupti::{Fate, Lease};

/// Time between two rounds of upkeep.
const UPKEEP: Duration = Duration::from_secs(1);
/// How much longer a shim may take for its last answer if it is to finalise CUPTI: it waits for a call of the process.
const FINALIZE_TIMEOUT: Duration = Duration::from_secs(3);

mod coming;
mod holding;

use holding::drain;

pub(super) struct Worker {
    shared: Arc<Shared>,
    events: EventSender,
    lease: Lease,
    classifier: Arc<Classifier>,
    stop_timeout: Duration,
    grace: Duration,
    retry: Duration,
    targets: Vec<Attached>,
    probes: Option<Probes>,
    /// Processes that run another program now: it may have a ring of its own.
    replaced: Vec<(Pid, TargetId)>,
    /// Ended targets, and when: their names go when their series have gone.
    ended: Vec<(TargetId, Instant)>,
    next: u32,
}

impl Worker {
    pub(super) fn new(config: Config, shared: Arc<Shared>, events: EventSender) -> Self {
        Self {
            shared,
            events,
            lease: config.lease,
            classifier: Arc::new(config.classifier),
            stop_timeout: config.stop_timeout,
            grace: Duration::from_nanos(config.limits.grace_ns),
            retry: config.retry,
            targets: Vec::new(),
            probes: None,
            replaced: Vec::new(),
            ended: Vec::new(),
            next: 0,
        }
    }

    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        let mut pace = Pace::new();
        let mut upkeep = Instant::now();
        loop {
            self.shared.pace.look(mono_ns());
            let sleep = self.look(&mut pace);
            if upkeep.elapsed() >= UPKEEP {
                upkeep = Instant::now();
                self.upkeep();
            }
            match commands.recv_timeout(sleep) {
                Ok(Command::Attach { opened, from_start, answer }) => {
                    let attached = self.attach(*opened, from_start);
                    // Who asked may have gone meanwhile; the target stays attached all the same.
                    let _ = answer.send(attached);
                }
                Ok(Command::Probe { process, simulated, answer }) => {
                    let _ = answer.send(self.probe(*process, simulated));
                }
                Ok(Command::Follow(pid)) => {
                    if let Some(probes) = &mut self.probes {
                        probes.requests().ask(Request::Follow { pid });
                    }
                }
                Ok(Command::Probes(probes)) => self.take_probes(*probes),
                Ok(Command::News(news)) => self.hear(news),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.stop();
    }

    /// Takes in what waits in all rings; returns how long to sleep.
    fn look(&mut self, pace: &mut Pace) -> Duration {
        let mut fullest = (0, 1);
        let mut seen = |(records, capacity): (u64, u64)| {
            if u128::from(records) * u128::from(fullest.1) > u128::from(fullest.0) * u128::from(capacity) {
                fullest = (records, capacity);
            }
        };
        for Attached { id, ring, .. } in &mut self.targets {
            if let Some(ring) = ring {
                let records = drain(&self.shared, &mut self.events, *id, ring);
                seen((records, ring.target.capacity()));
            }
        }
        if let Some(probes) = &mut self.probes {
            seen(probes.look(&self.shared, &mut self.events));
        }
        self.events.flush();
        self.count();
        pace.next(fullest.0, fullest.1)
    }

    /// Publishes the counters of all hops, so that a snapshot explains the records that it lacks; and the state of a
    /// target that was not armed yet.
    fn count(&mut self) {
        for index in 0..self.targets.len() {
            let Some(attached) = self.targets.get_mut(index) else { continue };
            let hops = attached.hops();
            let mut arming = false;
            self.shared.registry.update(attached.id, |status| {
                status.hops = hops;
                arming = status.state == State::Arming;
            });
            if arming {
                self.report_state(index, Ok(()));
            }
        }
    }

    /// Leases, states, ends, clocks, bandwidths.
    fn upkeep(&mut self) {
        let anchor = Anchor::now();
        let step = lock(&self.shared.clock).anchor_again(anchor);
        self.events.set_anchor(anchor);
        if let Some(step_ns) = step {
            warn!(step_ns, "the realtime clock stepped; events before it keep their times");
        }
        for index in (0..self.targets.len()).rev() {
            let Some(attached) = self.targets.get_mut(index) else { continue };
            match attached.fate() {
                Fate::Running => {
                    self.tell_of_graphs(index, false);
                    self.hold(index);
                }
                Fate::Ended => self.end(index, State::Ended, true),
                Fate::Replaced => {
                    self.replaced.push((attached.pid, attached.id));
                    self.end(index, State::Replaced, true);
                }
            }
        }
        self.look_for_replaced();
        let now = mono_ns();
        if let Some(probes) = &mut self.probes {
            probes.upkeep(now, &self.shared, &mut self.events);
        }
        lock(&self.shared.aggregator).tick(now);
        self.ended.retain(|(id, since)| {
            // A process whose next program has no ring yet is still a target.
            let awaited = self.replaced.iter().any(|(_, before)| before == id);
            let kept = awaited || since.elapsed() < self.grace;
            if !kept {
                self.shared.registry.remove(*id);
            }
            kept
        });
    }

    /// Ends all leases, and waits until each shim has flushed for the last time.
    fn stop(&mut self) {
        for ring in self.targets.iter_mut().filter_map(|attached| attached.ring.as_mut()) {
            ring.target.release();
        }
        let patience = if self.lease.finalize { FINALIZE_TIMEOUT } else { Duration::ZERO };
        let deadline = Instant::now() + self.stop_timeout + patience;
        let settled = |attached: &Attached| match &attached.ring {
            Some(ring) => ring.target.is_settled() || ring.target.fate() == Fate::Ended,
            None => true,
        };
        while !self.targets.iter().all(settled) && Instant::now() < deadline {
            for Attached { id, ring, .. } in &mut self.targets {
                if let Some(ring) = ring {
                    drain(&self.shared, &mut self.events, *id, ring);
                }
            }
            if let Some(probes) = &mut self.probes {
                probes.look(&self.shared, &mut self.events);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        while let Some(first) = self.targets.first() {
            let has_exited = first.fate() != Fate::Running;
            match &first.ring {
                Some(_) if has_exited => {}
                Some(_) if !settled(first) => warn!(
                    pid = first.pid.0,
                    "the shim has not answered in time: its last records may be missing, and what became of CUPTI is not known"
                ),
                Some(ring) => {
                    if let Some(finalization) = ring.target.finalization() {
                        finalization.tell(first.pid);
                    }
                }
                None => {}
            }
            self.end(0, State::Ended, has_exited);
        }
    }
}
