//! The thread that reads the rings: the shims', and that of the probes.
//!
//! Enters: commands, records. Leaves: series, names, events, states. Refuses: to end with records unread: a stop ends the
//! leases, waits for the shims' last flush and takes it in.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use gpu_agent_ring::control::mono_ns;
use tracing::{info, warn};

use super::pace::Pace;
use super::prober::{News, Request};
use super::probes::Probes;
use super::recovery::Step;
use super::registry::{State, TargetStatus};
use super::target::{Attached, Probed, Ring};
use super::{Command, Config, Shared, lock, state};
use crate::aggregate::Process;
use crate::classes::Classifier;
use crate::clock::Anchor;
use crate::event::{Event, Pid, TargetId};
use crate::export::{EventSender, TargetInfo};
use crate::health::Status;
use crate::identity;
use crate::source::cupti::{self, AttachError, Fate, Item, Lease, Opened, Target};

/// Records taken from one ring under one lock of the aggregate: about a millisecond.
const TURN: u64 = 8192;
/// Looks into a ring before it is let go; each takes in all that the ring can hold.
const LAST_LOOKS: u32 = 8;
/// Time between two rounds of upkeep.
const UPKEEP: Duration = Duration::from_secs(1);

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
    pub(super) fn new(
        config: Config,
        shared: Arc<Shared>,
        events: EventSender,
        probes: Option<Probes>,
    ) -> Self {
        Self {
            shared,
            events,
            lease: config.lease,
            classifier: Arc::new(config.classifier),
            stop_timeout: config.stop_timeout,
            grace: Duration::from_nanos(config.limits.grace_ns),
            retry: config.retry,
            targets: Vec::new(),
            probes,
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

    /// A ring: of a target that is probed already, or of a new one.
    fn attach(&mut self, opened: Opened, from_start: bool) -> Result<TargetId, AttachError> {
        let pid = opened.process.pid;
        let known = self.targets.iter().position(|known| known.pid == pid);
        let joins = known.filter(|&index| {
            self.targets.get(index).is_some_and(|known| known.ring.is_none() && known.is(&opened.process))
        });
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
    fn probe(&mut self, process: identity::Process, simulated: bool) -> TargetId {
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
            probes: String::new(),
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
            probes.set_ring(attached.pid);
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
    fn hear(&mut self, news: News) {
        let Some(probes) = &mut self.probes else { return };
        match news {
            News::Told(slots) => probes.told(&slots, &self.shared, &mut self.events),
            News::Gone(slots) => probes.gone(&slots, &self.shared, &mut self.events),
            News::Done(pid) => probes.requests().done(pid),
            News::Found { process, simulated } => {
                self.probe(*process, simulated);
            }
            News::Attached { pid, what, simulated } => {
                let Some(index) = self.targets.iter().position(|known| known.pid == pid) else { return };
                let Some(Attached { id, ring, .. }) = self.targets.get(index) else { return };
                let (id, has_ring) = (*id, ring.is_some());
                self.shared.registry.update(id, |status| status.probes = what);
                if !has_ring {
                    self.set_simulated(id, simulated);
                    self.report_state(index, Ok(()));
                }
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
                Fate::Running => self.hold(index),
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

    /// Programs that took the place of a target's: attached once they have a ring, forgotten once they cannot have one.
    fn look_for_replaced(&mut self) {
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

    /// Renews the lease; a shim that failed rests first.
    fn hold(&mut self, index: usize) {
        let Some(Attached { ring: Some(Ring { target, recovery }), .. }) = self.targets.get_mut(index) else {
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

    fn report_state(&mut self, index: usize, renewed: Result<(), gpu_agent_ring::LeaseError>) {
        let Some(attached) = self.targets.get(index) else { return };
        let (state, why) = match (&attached.ring, renewed) {
            (Some(_), Err(error)) => (State::LeaseLost, error.to_string()),
            (Some(ring), Ok(())) => state::of_report(&ring.target, &ring.target.report()),
            (None, _) => {
                let probes = self.shared.registry.probes(attached.id);
                (State::Probed, state::of_probes(&probes))
            }
        };
        self.set_state(index, state, &why);
    }

    fn set_state(&mut self, index: usize, state: State, why: &str) {
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
        lock(&self.shared.aggregator).set_gpu_records(id, state::has_gpu_records(state));
        let health = state::health(state);
        self.shared.board.set(&component(pid), health, if why.is_empty() { state.name() } else { why });
        if changed && health != Status::Healthy {
            warn!(pid = pid.0, %state, why, "target");
        } else if changed {
            info!(pid = pid.0, %state, "target");
        }
    }

    /// Takes in the last records of a target that has ended (or is only let go), and forgets it.
    fn end(&mut self, index: usize, state: State, has_exited: bool) {
        if index >= self.targets.len() {
            return;
        }
        let mut attached = self.targets.swap_remove(index);
        let (id, pid) = (attached.id, attached.pid);
        if let Some(ring) = &mut attached.ring {
            // Bounded, because a process that was only let go may go on writing for ever.
            for _ in 0..LAST_LOOKS {
                if drain(&self.shared, &mut self.events, id, ring) == 0 {
                    break;
                }
            }
        }
        if let (Some(_), Some(probes)) = (&attached.probed, &mut self.probes) {
            probes.remove(pid, &self.shared, &mut self.events);
        }
        self.events.flush();
        let hops = attached.hops();
        lock(&self.shared.aggregator).end_target(id, mono_ns(), has_exited);
        self.shared.registry.update(id, |status| {
            status.state = state;
            status.why = String::new();
            status.probes = String::new();
            status.hops = hops;
        });
        self.shared.board.remove(&component(pid));
        self.ended.push((id, Instant::now()));
        info!(pid = pid.0, %state, "target");
    }

    /// Ends all leases, and waits until each shim has flushed for the last time.
    fn stop(&mut self) {
        for ring in self.targets.iter_mut().filter_map(|attached| attached.ring.as_mut()) {
            ring.target.release();
        }
        let deadline = Instant::now() + self.stop_timeout;
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
            std::thread::sleep(Duration::from_millis(5));
        }
        while let Some(first) = self.targets.first() {
            let has_exited = first.fate() != Fate::Running;
            self.end(0, State::Ended, has_exited);
        }
    }
}

/// Takes in what waits in one ring, turn by turn. Returns the number of records that were there.
fn drain(shared: &Shared, events: &mut EventSender, id: TargetId, ring: &mut Ring) -> u64 {
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
