//! The one subscriber of the callback API.
//!
//! Enters: `cuptiSubscribe` and what the subscriber enables. Leaves: its callback, and the bits that the driver must serve.
//! Refuses: a second subscriber (39), as also while `subscriber=busy` pretends that another tool was first.
//!
//! A subscriber's memory is never freed: another thread may be in its callback.

use crate::enablement::{Calls, DRIVER_CALLS, RUNTIME_CALLS};
use crate::status::Status;
use core::ffi::{CStr, c_void};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use cuda_sim_abi::{config, domain, wanted};
use std::ffi::CString;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// `CUpti_CallbackFunc`.
pub type CallbackFunction =
    unsafe extern "C" fn(userdata: *mut c_void, domain: u32, cbid: u32, data: *const c_void);

/// `CUPTI_CB_DOMAIN_RESOURCE`
pub(crate) const DOMAIN_RESOURCE: u32 = 3;

/// Callback ids of each domain, from `CUPTI_CB_DOMAIN_INVALID` on (13.5).
const LIMITS: [u32; 7] = [0, DRIVER_CALLS, RUNTIME_CALLS, 26, 3, 64, 4];

/// Who subscribed, and to what. A `CUpti_SubscriberHandle` points here.
pub struct Subscriber {
    callback: Option<CallbackFunction>,
    userdata: *mut c_void,
    name: CString,
    enabled: [Calls; LIMITS.len()],
}

// SAFETY: userdata is only passed on to the client's callback, which CUPTI may call from any thread.
unsafe impl Sync for Subscriber {}

impl Subscriber {
    pub(crate) fn new(callback: Option<CallbackFunction>, userdata: *mut c_void, name: &CStr) -> Self {
        Self { callback, userdata, name: name.to_owned(), enabled: Default::default() }
    }

    /// Enables or disables one callback.
    pub(crate) fn set(&self, callback_domain: u32, cbid: u32, on: bool) -> Status {
        let index = callback_domain as usize;
        match (self.enabled.get(index), LIMITS.get(index)) {
            (Some(calls), Some(limit)) if calls.set(cbid, on, *limit) => Status::SUCCESS,
            _ => Status::INVALID_PARAMETER,
        }
    }

    /// Enables or disables a domain.
    pub(crate) fn set_domain(&self, callback_domain: u32, on: bool) -> Status {
        match self.enabled.get(callback_domain as usize) {
            Some(calls) if callback_domain != 0 => {
                calls.set_all(on);
                Status::SUCCESS
            }
            _ => Status::INVALID_PARAMETER,
        }
    }

    /// Enables or disables everything.
    pub(crate) fn set_all(&self, on: bool) {
        self.enabled.iter().skip(1).for_each(|calls| calls.set_all(on));
    }

    /// Whether that callback is enabled.
    pub(crate) fn wants(&self, callback_domain: u32, cbid: u32) -> bool {
        self.enabled.get(callback_domain as usize).is_some_and(|calls| calls.contains(cbid))
    }

    /// Calls the client, if it wants that callback.
    ///
    /// # Safety
    /// `data` points to what CUPTI passes in that domain.
    pub(crate) unsafe fn call(&self, callback_domain: u32, cbid: u32, data: *const c_void) {
        if let Some(callback) = self.callback.filter(|_| self.wants(callback_domain, cbid)) {
            // SAFETY: CUPTI's contract for the callback; data by this function's contract.
            unsafe { callback(self.userdata, callback_domain, cbid, data) };
        }
    }

    fn wants_any(&self, callback_domain: u32) -> bool {
        self.enabled.get(callback_domain as usize).is_some_and(Calls::any)
    }
}

/// The place for one subscriber.
pub(crate) struct Subscription {
    current: AtomicPtr<Subscriber>,
    other_tool: config::Subscriber,
    first_attempt: OnceLock<Instant>,
    changes: AtomicUsize,
}

/// A thread that enables or disables callbacks, until dropped.
pub(crate) struct Change<'subscription> {
    changes: &'subscription AtomicUsize,
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.changes.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Subscription {
    pub(crate) fn new(other_tool: config::Subscriber) -> Self {
        Self {
            current: AtomicPtr::new(core::ptr::null_mut()),
            other_tool,
            first_attempt: OnceLock::new(),
            changes: AtomicUsize::new(0),
        }
    }

    /// Notes that the calling thread begins to enable or disable callbacks.
    pub(crate) fn begin_change(&self) -> Change<'_> {
        self.changes.fetch_add(1, Ordering::AcqRel);
        Change { changes: &self.changes }
    }

    /// Whether a thread enables or disables callbacks.
    pub(crate) fn is_changing(&self) -> bool {
        self.changes.load(Ordering::Acquire) != 0
    }

    /// Makes `subscriber` the one; its handle, or 39 and the name of who is there.
    pub(crate) fn subscribe(&self, subscriber: Subscriber) -> Result<*mut Subscriber, (Status, CString)> {
        let waited = self.first_attempt.get_or_init(Instant::now).elapsed();
        let busy = match self.other_tool {
            config::Subscriber::Free => false,
            config::Subscriber::Busy => true,
            config::Subscriber::BusyForMs(ms) => waited < Duration::from_millis(ms),
        };
        let refused = |name: &CStr| (Status::MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED, name.to_owned());
        if busy {
            return Err(refused(c"another tool (simulated)"));
        }
        let new = Box::into_raw(Box::new(subscriber));
        let none = core::ptr::null_mut();
        match self.current.compare_exchange(none, new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(new),
            Err(_) => {
                // SAFETY: made above and given to nobody.
                drop(unsafe { Box::from_raw(new) });
                Err(refused(self.current().map_or(c"", |first| &first.name)))
            }
        }
    }

    /// Ends the subscription that `handle` stands for.
    pub(crate) fn unsubscribe(&self, handle: *mut Subscriber) -> Status {
        let none = core::ptr::null_mut();
        let ended = !handle.is_null()
            && self.current.compare_exchange(handle, none, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if ended { Status::SUCCESS } else { Status::INVALID_PARAMETER }
    }

    /// Ends any subscription.
    pub(crate) fn clear(&self) {
        self.current.store(core::ptr::null_mut(), Ordering::Release);
    }

    /// The subscriber.
    pub(crate) fn current(&self) -> Option<&'static Subscriber> {
        // SAFETY: null, or leaked by subscribe and never freed.
        unsafe { self.current.load(Ordering::Acquire).as_ref() }
    }

    /// The subscriber, if `handle` is its.
    pub(crate) fn by_handle(&self, handle: *mut Subscriber) -> Option<&'static Subscriber> {
        self.current().filter(|subscriber| core::ptr::eq(*subscriber, handle))
    }

    /// The bits of [`wanted`] that the enabled callbacks need.
    pub(crate) fn wanted(&self) -> u64 {
        let Some(subscriber) = self.current() else { return 0 };
        let needs = [
            (domain::DRIVER, wanted::DRIVER_API | wanted::CALLBACKS),
            (domain::RUNTIME, wanted::RUNTIME_API | wanted::CALLBACKS),
            (DOMAIN_RESOURCE, wanted::RESOURCE),
        ];
        needs.iter().filter(|(of, _)| subscriber.wants_any(*of)).fold(0, |bits, (_, bit)| bits | bit)
    }
}
