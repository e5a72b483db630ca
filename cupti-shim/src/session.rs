//! The shim's own thread: acts on what the agent wishes, flushes while it is armed, sleeps otherwise.
//!
//! Enters: the control page. Leaves: an armed or disarmed CUPTI; state, faults and what CUPTI dropped, on the control
//! page and in the ring. Refuses: to keep anything enabled without a lease, and to go on after CUPTI's first error.
//!
//! What to do next is decided in [`crate::phase`], how CUPTI is armed in [`crate::arming`]; how it is let go is in
//! `session/letting_go.rs`.

mod letting_go;

use core::time::Duration;

use cupti_sys::{CallError, Status};
use gpu_agent_ring::ShimControl;
use gpu_agent_ring::control::{Finalized, Wish, mono_ns};
use gpu_agent_ring::layout::{Counter, ending, kinds};
use gpu_agent_ring::record::{self, Record};

use crate::activity::Source;
use crate::arming::{self, ALL_KINDS, ArmError, Armed};
use crate::flushing;
use crate::hooks;
use crate::locate::LocateError;
use crate::phase::{Action, Phase, RETRY};
use crate::shim::Shim;

/// See the module.
#[derive(Debug)]
pub struct Session {
    shim: &'static Shim,
    phase: Phase,
    armed: Option<Armed>,
    /// Whether CUPTI has been at work in this process through us, and was not taken out since.
    in_use: bool,
    /// How the latest wish to take it out ended.
    finalized: Finalized,
    /// Bits of [`kinds`] that are enabled.
    kinds: u32,
}

/// What led to a state, for the agent: a CUPTI status, and the function that gave it.
type Fault = (Status, &'static str);

impl Session {
    /// Dormant.
    #[must_use]
    pub fn new(shim: &'static Shim) -> Self {
        Self { shim, phase: Phase::Dormant, armed: None, in_use: false, finalized: Finalized::No, kinds: 0 }
    }

    /// The thread's life.
    pub fn run(mut self) {
        loop {
            // Read before the look at `is_exiting`, so that a change after that look ends the wait at once.
            let generation = self.control().wish().generation;
            if self.shim.is_exiting() {
                break;
            }
            let sleep = self.step();
            self.control().wait(generation, sleep);
        }
        let wish = self.control().wish();
        // A phase that says why there is nothing to flush stays: an agent may look only after the end.
        if !matches!(self.phase, Phase::Busy { .. } | Phase::NoCupti { .. } | Phase::Failed) {
            self.disarm(Phase::Finished, &wish, Ok(()));
            // Also where disarming failed: nothing comes after this.
            self.phase = Phase::Finished;
        }
        self.report(&wish);
    }

    /// Does what is to be done now; returns how long there will be nothing to do.
    pub fn step(&mut self) -> Option<Duration> {
        let wish = self.control().wish();
        match self.phase.next(&wish, mono_ns()) {
            Action::Stay => self.report(&wish),
            Action::Become(phase) => self.enter(phase, &wish, None),
            Action::Disarm(phase) => self.disarm(phase, &wish, Ok(())),
            Action::Finalize(phase) => self.finalize(phase, &wish),
            Action::Arm => self.arm(&wish),
            Action::Rearm => {
                self.disarm(Phase::Dormant, &wish, Ok(()));
                // Not where disarming failed.
                if self.phase == Phase::Dormant {
                    self.arm(&wish);
                }
            }
            Action::Flush => self.flush(&wish),
        }
        self.phase.sleep(&wish, mono_ns())
    }

    fn arm(&mut self, wish: &Wish) {
        let retry_ns = mono_ns().saturating_add(RETRY.as_nanos() as u64);
        let source = match self.shim.find_source() {
            Ok(source) => source,
            Err(error) => return self.enter(Phase::NoCupti { retry_ns }, wish, fault_of_search(error)),
        };
        let mut wished = wish.kinds & ALL_KINDS;
        if self.shim.is_graph_level() && wished & kinds::KERNEL != 0 {
            // CUPTI records the nodes of graphs no longer; without the wholes, graphs would be invisible.
            wished |= kinds::GRAPH;
        }
        self.shim.outlet.write(|copier| copier.populate());
        self.tell_finalized(Finalized::No);
        let outcome = arming::arm(source, wished, self.shim.callbacks);
        if wished & kinds::GRAPH != 0 && !matches!(outcome, Err(ArmError::Busy(_))) {
            self.shim.set_graph_level();
        }
        match outcome {
            Ok(armed) => {
                hooks::on_exit_after_cupti();
                self.armed = Some(armed);
                self.in_use = true;
                self.kinds = wished;
                self.phase = Phase::Armed { wished: wish.kinds };
                self.tell(source);
                self.enter(self.phase, wish, None);
            }
            Err(ArmError::Busy(error)) => {
                self.enter(Phase::Busy { retry_ns }, wish, Some(fault_of(error)));
            }
            Err(ArmError::Failed(error)) => {
                self.control().add(Counter::CuptiErrors, 1);
                self.shim.empty_all();
                self.enter(Phase::Failed, wish, Some(fault_of(error)));
            }
        }
    }

    fn flush(&mut self, wish: &Wish) {
        let Some(source) = self.shim.source() else { return };
        let flushed = self.shim.while_flushing(|| self.flush_once(source));
        let dropped = self.count_dropped(source);
        self.shim.empty_all();
        let walked = self.shim.outlet.take_fault().map_or(Ok(()), Err);
        match flushed.and(dropped).and(walked) {
            Ok(()) => self.report(wish),
            error => self.disarm(Phase::Failed, wish, error),
        }
    }

    fn flush_once(&self, source: &Source) -> Result<(), CallError> {
        self.control().add(Counter::Flushes, 1);
        flushing::flush(&source.cupti)
    }

    fn count_dropped(&self, source: &Source) -> Result<(), CallError> {
        self.add_dropped(flushing::take_dropped(&source.cupti)?);
        Ok(())
    }

    fn add_dropped(&self, dropped: u64) {
        if dropped == 0 {
            return;
        }
        self.control().add(Counter::CuptiDropped, dropped);
        if self.shim.outlet.write(|copier| copier.dropped(mono_ns(), dropped)).is_some() {
            self.control().add(Counter::Metadata, 1);
        }
    }

    /// Writes the present state into the ring; when armed, what is known of devices and contexts too.
    fn tell(&self, source: &Source) {
        let record = record::Session {
            kind: record::Session::KIND,
            timestamp_ns: mono_ns(),
            state: self.phase.state() as u32,
            kinds: self.kinds,
            cupti_version: source.version.0,
            driver_version: source.driver_version,
            ..record::Session::default()
        };
        let written = self.shim.outlet.write(|copier| copier.session(record, self.armed.is_some()));
        self.control().add(Counter::Metadata, written.unwrap_or(0));
    }

    fn enter(&mut self, phase: Phase, wish: &Wish, fault: Option<Fault>) {
        self.phase = phase;
        if phase == (Phase::Detached { finalized: false }) && self.in_use && self.finalized == Finalized::No {
            self.tell_finalized(Finalized::Detached);
        }
        let (status, function) = fault.map_or((Status::SUCCESS, 0), |(status, function)| {
            (status, self.shim.outlet.write(|copier| copier.intern_text(function)).unwrap_or(0))
        });
        self.control().fault(status.0, function);
        self.report(wish);
    }

    fn report(&self, wish: &Wish) {
        let is_let_go = matches!(self.phase, Phase::Dormant | Phase::Detached { .. });
        if is_let_go && wish.ending & ending::CLOSE_FILES != 0 {
            self.shim.close_files();
        }
        self.control().report(self.phase.state(), wish.generation, self.kinds);
    }

    fn control(&self) -> &'static ShimControl {
        &self.shim.control
    }
}

impl Drop for Session {
    /// Only where its thread could not be started is it still armed here.
    fn drop(&mut self) {
        if self.armed.is_some() {
            let wish = self.control().wish();
            self.disarm(Phase::Failed, &wish, Ok(()));
        }
    }
}

fn fault_of(error: CallError) -> Fault {
    match error {
        CallError::Absent { function } => (Status::API_NOT_IMPLEMENTED, function),
        CallError::Failed { function, status } => (status, function),
        CallError::Astray => (Status::UNKNOWN, "cuptiActivityGetNextRecord"),
    }
}

fn fault_of_search(error: LocateError) -> Option<Fault> {
    match error {
        LocateError::TooNew { .. } => Some((Status::NOT_COMPATIBLE, "cuptiGetVersion")),
        LocateError::Version(error) => Some(fault_of(error)),
        LocateError::NoDriver | LocateError::NotFound { .. } => None,
    }
}
