//! One arming of CUPTI: what is switched on, in which order, and how exactly that is undone.
//!
//! Enters: a CUPTI and the kinds that an agent wishes. Leaves: an [`Armed`] that knows every step it took. Refuses: to
//! go on after the first error (what was done is undone, latest first), and to touch anything where another profiler
//! has subscribed.
//!
//! Order matters: the subscription first, because it tells whether CUPTI is free; the clock before any kind, so that no
//! record carries another; the callbacks before what needs buffers; new graphs, devices and contexts before what refers
//! to them.
//! The clock is CUPTI's own again, and device memory is set as it was, before the subscription goes: the next profiler
//! may count on it.

use cupti_sys::{
    ActivityAttribute, ActivityKind, ApiVersion, BufferCompleted, BufferRequested, CallError, Callback,
    CallbackDomain, Cupti, DriverCbid, ResourceCbid, RuntimeCbid, Status, SubscriberHandle, ThreadIdType,
    TimestampCallback,
};
use gpu_agent_ring::layout::kinds;

use crate::activity::{DRIVER, RUNTIME, Source};
use crate::flushing;

/// What CUPTI keeps for timestamps in device memory.
const DEVICE_MEMORY: [(ActivityAttribute, usize); 2] = [
    // Bytes that it takes at a time; its own default is about 3 MiB.
    (ActivityAttribute::DEVICE_BUFFER_SIZE, 1 << 20),
    // Most of these for each context; its own default is 250.
    (ActivityAttribute::DEVICE_BUFFER_POOL_LIMIT, 64),
];

/// All bits of [`kinds`].
pub const ALL_KINDS: u32 = kinds::KERNEL
    | kinds::MEMCPY
    | kinds::MEMSET
    | kinds::MEMORY
    | kinds::API
    | kinds::SYNC
    | kinds::OVERHEAD
    | kinds::GRAPH;

/// Which activity kinds each bit of [`kinds`] stands for; [`kinds::API`] is not in it, since it is switched on by
/// function where CUPTI can.
const SWITCHES: [(u32, &[ActivityKind]); 7] = [
    // First: it decides whether kernels in graphs are recorded one by one.
    (kinds::GRAPH, &[ActivityKind::GRAPH_TRACE]),
    (kinds::KERNEL, &[ActivityKind::CONCURRENT_KERNEL]),
    (kinds::MEMCPY, &[ActivityKind::MEMCPY, ActivityKind::MEMCPY2]),
    (kinds::MEMSET, &[ActivityKind::MEMSET]),
    (kinds::MEMORY, &[ActivityKind::MEMORY2]),
    (kinds::SYNC, &[ActivityKind::SYNCHRONIZATION]),
    (kinds::OVERHEAD, &[ActivityKind::OVERHEAD]),
];

/// The functions that CUPTI calls.
#[derive(Debug, Clone, Copy)]
pub struct Callbacks {
    /// API and resource callbacks: armed, only that of new executable graphs is enabled.
    pub subscriber: Callback,
    /// CUPTI wants a buffer.
    pub requested: BufferRequested,
    /// CUPTI gives one back.
    pub completed: BufferCompleted,
    /// CUPTI asks for the time.
    pub timestamp: TimestampCallback,
    /// CUPTI asks for the time as it tells it without a callback; there is no way to take one back.
    pub default_timestamp: TimestampCallback,
}

/// Why CUPTI was not armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArmError {
    /// Another profiler has subscribed; nothing was touched.
    #[error("another profiler owns CUPTI in this process")]
    Busy(#[source] CallError),
    /// A call failed; all that came before was undone.
    #[error("CUPTI cannot be armed")]
    Failed(#[source] CallError),
}

/// A step that was taken.
#[derive(Debug, Clone, Copy)]
enum Step {
    Subscribed(SubscriberHandle),
    /// With the clock to go back to.
    Clock(TimestampCallback),
    ThreadIds,
    /// Of this subscriber.
    NewGraphs(SubscriberHandle),
    /// With the value to go back to.
    Attribute(ActivityAttribute, usize),
    Kind(ActivityKind),
    Driver(DriverCbid),
    Runtime(RuntimeCbid),
}

/// CUPTI, armed.
#[derive(Debug)]
pub struct Armed {
    subscriber: SubscriberHandle,
    steps: Vec<Step>,
}

/// Subscribes, and nothing else.
///
/// # Errors
/// See [`ArmError`].
pub fn subscribe(cupti: &Cupti, callbacks: Callbacks) -> Result<Armed, ArmError> {
    // SAFETY: `Callbacks` are functions of this library, which is never unloaded and lets no panic out of them.
    #[allow(unsafe_code, reason = "CUPTI keeps the function")]
    match unsafe { cupti.subscribe(callbacks.subscriber, core::ptr::null_mut()) } {
        Ok(subscriber) => Ok(Armed { subscriber, steps: vec![Step::Subscribed(subscriber)] }),
        Err(error) if error.status() == Some(Status::MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED) => {
            Err(ArmError::Busy(error))
        }
        Err(error) => Err(ArmError::Failed(error)),
    }
}

/// Arms the CUPTI of `source` for `wished` (bits of [`kinds`]).
///
/// # Errors
/// See [`ArmError`].
pub fn arm(source: &Source, wished: u32, callbacks: Callbacks) -> Result<Armed, ArmError> {
    let cupti = &source.cupti;
    let mut armed = subscribe(cupti, callbacks)?;
    match armed.enable(source, wished, callbacks) {
        Ok(()) => Ok(armed),
        Err(error) => {
            // The first error is the one that tells; those of the way back would hide it.
            let _ = armed.disable(cupti);
            let _ = flushing::flush_forced(cupti);
            let _ = armed.unsubscribe(cupti);
            Err(ArmError::Failed(error))
        }
    }
}

impl Armed {
    /// Under which CUPTI calls.
    #[must_use]
    pub fn subscriber(&self) -> SubscriberHandle {
        self.subscriber
    }

    fn enable(&mut self, source: &Source, wished: u32, callbacks: Callbacks) -> Result<(), CallError> {
        let (cupti, version) = (&source.cupti, source.version);
        // SAFETY: as for the subscription.
        #[allow(unsafe_code, reason = "CUPTI keeps the function")]
        unsafe { cupti.activity_register_timestamp_callback(callbacks.timestamp) }?;
        self.steps.push(Step::Clock(callbacks.default_timestamp));
        cupti.set_thread_id_type(ThreadIdType::SYSTEM)?;
        self.steps.push(Step::ThreadIds);
        // SAFETY: as for the subscription; buffers are never unmapped.
        #[allow(unsafe_code, reason = "CUPTI keeps the functions")]
        unsafe { cupti.activity_register_callbacks(callbacks.requested, callbacks.completed) }?;
        self.hear_of_graphs(source)?;
        // Those until now are of an earlier profiler. Where the count cannot be had, the next flush tells.
        let _ = flushing::take_dropped(cupti);
        for (attribute, value) in DEVICE_MEMORY {
            // What cannot be read cannot be put back, and so stays as it is.
            if let Ok(before) = cupti.activity_attribute::<usize>(attribute) {
                cupti.activity_set_attribute(attribute, value)?;
                self.steps.push(Step::Attribute(attribute, before));
            }
        }
        for kind in [ActivityKind::DEVICE, ActivityKind::CONTEXT] {
            match cupti.activity_enable_and_dump(kind) {
                Ok(()) => self.steps.push(Step::Kind(kind)),
                Err(error) if has_nothing_to_dump(&error) => self.enable_kind(cupti, kind)?,
                Err(error) => return Err(error),
            }
        }
        for (bit, activity_kinds) in SWITCHES {
            if wished & bit != 0 {
                for &kind in activity_kinds {
                    self.enable_kind(cupti, kind)?;
                }
            }
        }
        if wished & kinds::API != 0 {
            self.enable_driver_calls(cupti, version)?;
            self.enable_runtime_calls(cupti, version)?;
        }
        Ok(())
    }

    /// Asks for the numbers of executable graphs that are made from now on, of a CUPTI that has them.
    fn hear_of_graphs(&mut self, source: &Source) -> Result<(), CallError> {
        source.graphs.set_told(false);
        if source.version < ApiVersion::V12_3 {
            return Ok(());
        }
        let (domain, cbid) = (CallbackDomain::RESOURCE, ResourceCbid::GRAPHEXEC_CREATED.0);
        match source.cupti.enable_callback(true, self.subscriber, domain, cbid) {
            Ok(()) => {
                self.steps.push(Step::NewGraphs(self.subscriber));
                source.graphs.set_told(true);
                Ok(())
            }
            Err(error) if cannot_choose(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn enable_kind(&mut self, cupti: &Cupti, kind: ActivityKind) -> Result<(), CallError> {
        cupti.activity_enable(kind)?;
        self.steps.push(Step::Kind(kind));
        Ok(())
    }

    fn enable_driver_calls(&mut self, cupti: &Cupti, version: ApiVersion) -> Result<(), CallError> {
        if version < ApiVersion::V12_5 {
            return self.enable_kind(cupti, ActivityKind::DRIVER);
        }
        let before = self.steps.len();
        for &cbid in DRIVER.iter().copied().flatten().filter(|cbid| cbid.is_known_to(version)) {
            match cupti.activity_enable_driver_api(cbid, true) {
                Ok(()) => self.steps.push(Step::Driver(cbid)),
                Err(error) if cannot_choose(&error) => {
                    self.undo(cupti, before)?;
                    return self.enable_kind(cupti, ActivityKind::DRIVER);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn enable_runtime_calls(&mut self, cupti: &Cupti, version: ApiVersion) -> Result<(), CallError> {
        if version < ApiVersion::V12_5 {
            return self.enable_kind(cupti, ActivityKind::RUNTIME);
        }
        let before = self.steps.len();
        for &cbid in RUNTIME.iter().copied().flatten().filter(|cbid| cbid.is_known_to(version)) {
            match cupti.activity_enable_runtime_api(cbid, true) {
                Ok(()) => self.steps.push(Step::Runtime(cbid)),
                Err(error) if cannot_choose(&error) => {
                    self.undo(cupti, before)?;
                    return self.enable_kind(cupti, ActivityKind::RUNTIME);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Switches all kinds off. Goes on after an error, and returns the first.
    ///
    /// # Errors
    /// CUPTI's.
    pub fn disable(&mut self, cupti: &Cupti) -> Result<(), CallError> {
        // The clock stays for the records that the last flush brings.
        self.undo(cupti, 2)
    }

    /// Gives clock and subscription back; after [`Self::disable`] and the last flush.
    ///
    /// # Errors
    /// CUPTI's.
    pub fn unsubscribe(&mut self, cupti: &Cupti) -> Result<(), CallError> {
        self.undo(cupti, 0)
    }

    /// Undoes all steps but the first `keep`, latest first.
    fn undo(&mut self, cupti: &Cupti, keep: usize) -> Result<(), CallError> {
        let mut outcome = Ok(());
        while self.steps.len() > keep
            && let Some(step) = self.steps.pop()
        {
            let undone = match step {
                Step::Subscribed(subscriber) => cupti.unsubscribe(subscriber),
                // SAFETY: as for the subscription.
                #[allow(unsafe_code, reason = "CUPTI keeps the function")]
                Step::Clock(clock) => unsafe { cupti.activity_register_timestamp_callback(clock) },
                Step::NewGraphs(subscriber) => {
                    let (domain, cbid) = (CallbackDomain::RESOURCE, ResourceCbid::GRAPHEXEC_CREATED.0);
                    cupti.enable_callback(false, subscriber, domain, cbid)
                }
                Step::ThreadIds => cupti.set_thread_id_type(ThreadIdType::DEFAULT),
                Step::Attribute(attribute, value) => cupti.activity_set_attribute(attribute, value),
                Step::Kind(kind) => cupti.activity_disable(kind),
                Step::Driver(cbid) => cupti.activity_enable_driver_api(cbid, false),
                Step::Runtime(cbid) => cupti.activity_enable_runtime_api(cbid, false),
            };
            outcome = outcome.and(undone);
        }
        outcome
    }
}

/// Whether CUPTI cannot tell what exists: inside `cuInit` it may be too early, and what is made later has its records.
fn has_nothing_to_dump(error: &CallError) -> bool {
    matches!(error, CallError::Absent { .. }) || error.status() == Some(Status::NOT_INITIALIZED)
}

/// Whether CUPTI says that it knows the function or its id not, rather than that something is wrong.
fn cannot_choose(error: &CallError) -> bool {
    matches!(error, CallError::Absent { .. })
        || matches!(error.status(), Some(Status::INVALID_PARAMETER | Status::NOT_SUPPORTED))
}
