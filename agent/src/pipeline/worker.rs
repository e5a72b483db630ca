//! The thread that reads the rings.
//!
//! Enters: commands, records. Leaves: series, names, events, states. Refuses: to end with records unread: a stop ends the
//! leases, waits for the shims' last flush and takes it in.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use gpu_agent_ring::control::mono_ns;
use tracing::{info, warn};

use super::pace::Pace;
use super::recovery::{Recovery, Step};
use super::registry::{State, TargetStatus};
use super::{Command, Config, Shared, lock, state};
use crate::aggregate::Process;
use crate::classes::Classifier;
use crate::clock::Anchor;
use crate::event::{Event, Pid, TargetId};
use crate::export::{EventSender, TargetInfo};
use crate::health::Status;
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
    /// Processes that run another program now: it may have a ring of its own.
    replaced: Vec<(Pid, TargetId)>,
    /// Ended targets, and when: their names go when their series have gone.
    ended: Vec<(TargetId, Instant)>,
    next: u32,
}

struct Attached {
    id: TargetId,
    target: Target,
    recovery: Recovery,
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
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.stop();
    }

    /// Takes in what waits in all rings; returns how long to sleep.
    fn look(&mut self, pace: &mut Pace) -> Duration {
        let mut fullest = (0, 1);
        for attached in &mut self.targets {
            let records = drain(&self.shared, &mut self.events, attached);
            let capacity = attached.target.capacity();
            if u128::from(records) * u128::from(fullest.1) > u128::from(fullest.0) * u128::from(capacity) {
                fullest = (records, capacity);
            }
        }
        self.events.flush();
        self.count();
        pace.next(fullest.0, fullest.1)
    }

    /// Publishes the counters of all hops, so that a snapshot explains the records that it lacks; and the state of a
    /// target that was not armed yet.
    fn count(&mut self) {
        for index in 0..self.targets.len() {
            let Some(Attached { id, target, .. }) = self.targets.get_mut(index) else { continue };
            let hops = target.hops();
            let mut arming = false;
            self.shared.registry.update(*id, |status| {
                status.hops = hops;
                arming = status.state == State::Arming;
            });
            if arming {
                self.report_state(index, Ok(()));
            }
        }
    }

    fn attach(&mut self, opened: Opened, from_start: bool) -> Result<TargetId, AttachError> {
        let pid = opened.process.pid;
        // The same process again, with a new ring: it runs another program now, and the one before holds no memory.
        if let Some(index) = self.targets.iter().position(|known| known.target.process().pid == pid) {
            self.end(index, State::Ended, true);
        }
        let target = Target::attach(opened, self.lease, Arc::clone(&self.classifier), from_start)?;
        let id = TargetId(self.next);
        self.next += 1;
        let start_unix_ns = Anchor::now().unix_ns;
        let process = target.process();
        let info =
            TargetInfo { pid, executable: process.executable.to_string(), simulated: target.is_simulated() };
        info!(
            pid = pid.0,
            executable = info.executable,
            container = process.container.as_deref(),
            simulated = info.simulated,
            "attached"
        );
        let process = Process { pid, executable: Arc::clone(&process.executable), simulated: info.simulated };
        lock(&self.shared.aggregator).add_target(id, &process, start_unix_ns);
        self.shared.registry.add(TargetStatus {
            id,
            info: Arc::new(info),
            state: State::Arming,
            why: String::new(),
            hops: cupti::Hops::default(),
            past: cupti::Hops::default(),
            versions: target.versions(),
            start_unix_ns,
        });
        self.targets.push(Attached { id, target, recovery: Recovery::new(self.retry) });
        self.report_state(self.targets.len() - 1, Ok(()));
        Ok(id)
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
            match attached.target.fate() {
                Fate::Running => self.hold(index),
                Fate::Ended => self.end(index, State::Ended, true),
                Fate::Replaced => {
                    self.replaced.push((attached.target.process().pid, attached.id));
                    self.end(index, State::Replaced, true);
                }
            }
        }
        self.look_for_replaced();
        let now = mono_ns();
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
        let Some(Attached { target, recovery, .. }) = self.targets.get_mut(index) else { return };
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
        let Some(Attached { target, .. }) = self.targets.get_mut(index) else { return };
        let (state, why) = match renewed {
            Err(error) => (State::LeaseLost, error.to_string()),
            Ok(()) => state::of_report(target, &target.report()),
        };
        self.set_state(index, state, &why);
    }

    fn set_state(&mut self, index: usize, state: State, why: &str) {
        let Some(Attached { id, target, .. }) = self.targets.get_mut(index) else { return };
        let hops = target.hops();
        let versions = target.versions();
        let pid = target.process().pid;
        let mut changed = false;
        self.shared.registry.update(*id, |status| {
            // What becomes of a failed shim is news each time; how long another agent's lease lasts is not.
            changed = status.state != state || (state == State::Failed && status.why != why);
            status.state = state;
            why.clone_into(&mut status.why);
            status.hops = hops;
            status.versions = versions;
        });
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
        // Bounded, because a process that was only let go may go on writing for ever.
        for _ in 0..LAST_LOOKS {
            if drain(&self.shared, &mut self.events, &mut attached) == 0 {
                break;
            }
        }
        self.events.flush();
        let Attached { id, mut target, .. } = attached;
        let hops = target.hops();
        let pid = target.process().pid;
        lock(&self.shared.aggregator).end_target(id, mono_ns(), has_exited);
        self.shared.registry.update(id, |status| {
            status.state = state;
            status.why = String::new();
            status.hops = hops;
        });
        self.shared.board.remove(&component(pid));
        self.ended.push((id, Instant::now()));
        info!(pid = pid.0, %state, "target");
    }

    /// Ends all leases, and waits until each shim has flushed for the last time.
    fn stop(&mut self) {
        for attached in &mut self.targets {
            attached.target.release();
        }
        let deadline = Instant::now() + self.stop_timeout;
        let settled =
            |attached: &Attached| attached.target.is_settled() || attached.target.fate() == Fate::Ended;
        while !self.targets.iter().all(settled) && Instant::now() < deadline {
            for attached in &mut self.targets {
                drain(&self.shared, &mut self.events, attached);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        while let Some(first) = self.targets.first() {
            let has_exited = first.target.fate() != Fate::Running;
            self.end(0, State::Ended, has_exited);
        }
    }
}

/// Takes in what waits in one ring, turn by turn. Returns the number of records that were there.
fn drain(shared: &Shared, events: &mut EventSender, attached: &mut Attached) -> u64 {
    let before = attached.target.position();
    // The writer may be faster than we are: a bounded number of turns, then the other targets have theirs.
    for _ in 0..attached.target.capacity() / TURN + 1 {
        let mut aggregator = lock(&shared.aggregator);
        let id = attached.id;
        let pending = attached.target.drain(TURN, |item| match item {
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
    attached.target.position() - before
}

fn component(pid: Pid) -> String {
    format!("target {pid}")
}
