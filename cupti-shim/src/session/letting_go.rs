//! How CUPTI is let go: switched off and unsubscribed, or taken out of the process.
//!
//! Enters: an armed CUPTI, or one that was armed before. Leaves: every record that it had, and a CUPTI with nothing of ours
//! in it. Refuses: to stop half-way: whatever a step returns, all that follow are taken, but none that is only safe where
//! those before it went well.

use core::time::Duration;

use cupti_sys::CallError;
use gpu_agent_ring::control::{Finalized, Wish, mono_ns};
use gpu_agent_ring::layout::Counter;

use super::{Session, fault_of};
use crate::activity::Source;
use crate::arming::{self, ArmError, Armed};
use crate::finalize::{self, Outcome};
use crate::flushing;
use crate::phase::{self, Phase};
use crate::shim::POOL;

/// How often disarming looks whether CUPTI has given all buffers back, before it takes them back unfinished.
const SETTLE_ROUNDS: u32 = 5;
const SETTLE_PAUSE: Duration = Duration::from_millis(10);

impl Session {
    /// Undoes the arming, if there is one, and becomes `next`; [`Phase::Failed`] if CUPTI does not let it, or where
    /// `cause` is an error already, unless it was to be let go for good.
    pub(super) fn disarm(&mut self, next: Phase, wish: &Wish, cause: Result<(), CallError>) {
        self.let_go(next, wish, cause, |_, armed, source| armed.unsubscribe(&source.cupti));
    }

    /// As [`Self::disarm`], and takes CUPTI out of the process; where that is not safe, or fails, it stays, unsubscribed.
    pub(super) fn finalize(&mut self, next: Phase, wish: &Wish) {
        let Some(source) = self.shim.source().filter(|_| self.in_use) else {
            return self.enter(next, wish, None);
        };
        if !finalize::is_safe(source.version) {
            self.tell_finalized(Finalized::TooOld);
            return self.disarm(next, wish, Ok(()));
        }
        // Unless it goes well.
        self.tell_finalized(Finalized::Failed);
        if self.armed.is_some() {
            self.let_go(next, wish, Ok(()), Self::take_out);
        } else {
            let fault = self.take_out_later(source).err();
            self.enter(next, wish, fault.map(fault_of));
        }
        // The next request may find the process at work, or the other profiler gone.
        if let (Phase::Detached { finalized }, Finalized::NoCall | Finalized::Busy) =
            (&mut self.phase, self.finalized)
        {
            *finalized = false;
        }
    }

    /// Takes out what was let go already. Only a subscriber hears of calls.
    fn take_out_later(&mut self, source: &Source) -> Result<(), CallError> {
        match arming::subscribe(&source.cupti, self.shim.callbacks) {
            Ok(mut subscribed) => {
                // Those until now are of another profiler.
                let _ = flushing::take_dropped(&source.cupti);
                self.take_out(&mut subscribed, source)
            }
            Err(ArmError::Busy(_)) => {
                self.tell_finalized(Finalized::Busy);
                Ok(())
            }
            Err(ArmError::Failed(error)) => Err(error),
        }
    }

    fn take_out(&mut self, armed: &mut Armed, source: &Source) -> Result<(), CallError> {
        let finalizer = &self.shim.finalizer;
        let is_called_off = || phase::wants_back(&self.control().wish(), mono_ns());
        let is_exiting = || self.shim.is_exiting();
        let outcome = finalizer.run(&source.cupti, armed.subscriber(), is_called_off, is_exiting);
        self.add_dropped(finalizer.take_dropped());
        match outcome {
            Outcome::Done => {
                self.tell_finalized(Finalized::Done);
                self.in_use = false;
                source.graphs.forget();
                Ok(())
            }
            Outcome::Hangs => {
                self.tell_finalized(Finalized::NoCall);
                Ok(())
            }
            Outcome::NoCall => {
                self.tell_finalized(Finalized::NoCall);
                armed.unsubscribe(&source.cupti)
            }
            Outcome::Failed(error) => armed.unsubscribe(&source.cupti).and(Err(error)),
        }
    }

    /// Switches off what is armed, takes the `last` step if that went well, else unsubscribes, and becomes `next`.
    fn let_go(
        &mut self,
        next: Phase,
        wish: &Wish,
        cause: Result<(), CallError>,
        last: impl FnOnce(&mut Self, &mut Armed, &Source) -> Result<(), CallError>,
    ) {
        let (Some(mut armed), Some(source)) = (self.armed.take(), self.shim.source()) else {
            return self.enter(next, wish, None);
        };
        // All of them, whatever each returns.
        let steps = [
            self.flush_once(source),
            armed.disable(&source.cupti),
            self.settle(source),
            self.count_dropped(source),
        ];
        // Before the last step: a buffer is walked with CUPTI's own iterator.
        self.shim.empty_all();
        let quiet = steps.into_iter().fold(cause, Result::and);
        let gone = match quiet {
            Ok(()) => last(self, &mut armed, source),
            Err(_) => armed.unsubscribe(&source.cupti),
        };
        let walked = self.shim.outlet.take_fault().map_or(Ok(()), Err);
        let fault = quiet.and(gone).and(walked).err().map(fault_of);
        if fault.is_some() {
            self.control().add(Counter::CuptiErrors, 1);
        }
        self.kinds = 0;
        let stays = fault.is_none() || matches!(next, Phase::Detached { .. });
        self.phase = if stays { next } else { Phase::Failed };
        self.tell(source);
        POOL.trim();
        self.enter(self.phase, wish, fault);
    }

    /// Waits a little for work in flight, so that its records come back complete, then takes them as they are.
    fn settle(&self, source: &Source) -> Result<(), CallError> {
        for _ in 0..SETTLE_ROUNDS {
            if POOL.outstanding() == 0 {
                return Ok(());
            }
            std::thread::sleep(SETTLE_PAUSE);
            self.flush_once(source)?;
        }
        if POOL.outstanding() > 0 {
            self.control().add(Counter::Flushes, 1);
            flushing::flush_forced(&source.cupti)?;
        }
        Ok(())
    }

    pub(super) fn tell_finalized(&mut self, outcome: Finalized) {
        self.finalized = outcome;
        self.control().finalized(outcome);
    }
}
