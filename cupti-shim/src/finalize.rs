//! Taking CUPTI out of the process, at the one place where that is safe: the end of a CUDA call of the program.
//!
//! Enters: a subscription of ours with nothing else enabled, and calls of the program. Leaves: a process without CUPTI, or
//! the reason why not. Refuses: to call `cuptiFinalize` from the shim's own thread, where it races with the program's calls
//! (`cupti_activity.h`, `cuptiFinalize`), and under a CUPTI before 12.6, where it crashes processes with graphs.
//!
//! ```text
//!  shim's thread     enable both API domains ─► Awaited ─────── looks until Done, Failed, or its wait ends ─► Idle
//!  program's thread                     exit of a call: Awaited ─► Running ─► flush, cuptiFinalize ─► Done or Failed
//! ```
//!
//! The domains come first: once a call is awaited, the subscriber may be gone at any moment. The wait ends with its patience,
//! with the process, and where an agent wants CUPTI back. Of many threads that end a call at once, one wins; to the others,
//! as at all other times, an exit costs one load.

use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use cupti_sys::{ApiVersion, CallError, CallbackDomain, Cupti, Status, SubscriberHandle};
use gpu_agent_ring::control::mono_ns;

use crate::flushing;

/// How long a call of the program is waited for.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(1);
/// How long CUPTI is left alone afterwards: the call inside which it went has still to return through it.
const REST: Duration = Duration::from_millis(10);

const IDLE: u32 = 0;
const AWAITED: u32 = 1;
const RUNNING: u32 = 2;
const DONE: u32 = 3;
const FAILED: u32 = 4;

/// What became of the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// CUPTI is out of the process, and with it the subscription.
    Done,
    /// No call ended before the wait did; nothing was done.
    NoCall,
    /// CUPTI refused; the subscription stands.
    Failed(CallError),
    /// The process ends while CUPTI is at it; it must be called no more.
    Hangs,
}

/// The meeting of the shim's thread and a call that ends.
#[derive(Debug, Default)]
pub struct Finalizer {
    state: AtomicU32,
    /// Behind [`FAILED`].
    status: AtomicI32,
    /// Records that CUPTI had dropped by its last flush, not yet taken.
    dropped: AtomicU64,
}

/// Whether `cuptiFinalize` of this CUPTI is safe where graphs are used. Releases before 12.2 share one number, and 12.6 is
/// the first that answers 24: numbers of different releases only grow, so all that answer 24 or more are 12.6 or later.
#[must_use]
pub fn is_safe(version: ApiVersion) -> bool {
    version >= ApiVersion::V12_6
}

impl Finalizer {
    /// Has the next CUDA call that ends take CUPTI out, and waits for that: until `is_called_off` says so at the longest, and,
    /// where a call is at it already, until `is_exiting` does.
    pub fn run(
        &self,
        cupti: &Cupti,
        subscriber: SubscriberHandle,
        is_called_off: impl Fn() -> bool,
        is_exiting: impl Fn() -> bool,
    ) -> Outcome {
        for domain in [CallbackDomain::DRIVER_API, CallbackDomain::RUNTIME_API] {
            if let Err(error) = cupti.enable_domain(true, subscriber, domain) {
                return Outcome::Failed(error);
            }
        }
        self.state.store(AWAITED, Ordering::Release);
        let deadline_ns = mono_ns().saturating_add(PATIENCE.as_nanos() as u64);
        while self.state.load(Ordering::Acquire) == AWAITED
            && mono_ns() < deadline_ns
            && !is_exiting()
            && !is_called_off()
        {
            std::thread::sleep(LOOK);
        }
        self.end(is_exiting)
    }

    /// How many records CUPTI had dropped by its last flush; a second call answers 0.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }

    /// Ends the wait, unless a call is at it: then what comes of that.
    fn end(&self, is_exiting: impl Fn() -> bool) -> Outcome {
        if self.state.compare_exchange(AWAITED, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return Outcome::NoCall;
        }
        loop {
            match self.state.load(Ordering::Acquire) {
                RUNNING if is_exiting() => return Outcome::Hangs,
                RUNNING => std::thread::sleep(LOOK),
                DONE => break,
                _ => {
                    let status = Status(self.status.load(Ordering::Relaxed));
                    return Outcome::Failed(CallError::Failed { function: "cuptiFinalize", status });
                }
            }
        }
        std::thread::sleep(REST);
        Outcome::Done
    }

    /// A driver or runtime call of the program is about to return.
    #[inline]
    pub fn call_ends(&self, cupti: &Cupti) {
        if self.state.load(Ordering::Relaxed) == AWAITED {
            self.finalize(cupti);
        }
    }

    #[cold]
    fn finalize(&self, cupti: &Cupti) {
        let won = self.state.compare_exchange(AWAITED, RUNNING, Ordering::AcqRel, Ordering::Relaxed);
        if won.is_err() {
            return;
        }
        // Of threads that were inside a launch at the last flush: CUPTI forgets what it has not handed out. What this answers
        // (such as that no buffers were ever asked for) says nothing of the step that follows.
        let _ = flushing::flush_forced(cupti);
        // What that brought to light; it forgets these too.
        self.dropped.store(flushing::take_dropped(cupti).unwrap_or(0), Ordering::Relaxed);
        // SAFETY: this is the exit site of an API callback, which is what the function asks for.
        #[allow(unsafe_code, reason = "CUPTI trusts the caller's place")]
        let outcome = unsafe { cupti.finalize() };
        if let Err(error) = outcome {
            let status = error.status().unwrap_or(Status::API_NOT_IMPLEMENTED);
            self.status.store(status.0, Ordering::Relaxed);
        }
        self.state.store(if outcome.is_ok() { DONE } else { FAILED }, Ordering::Release);
    }
}
