//! The driver's end of the contract with the simulated CUPTI. Enters: calls and work, with their times.
//! Leaves: calls of the installed [`Hooks`]. Refuses: any work while the matching bit of `wanted` is clear.
#![allow(unsafe_code, reason = "calls the function pointers of the hooks")]

use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use cuda_sim_abi::{ABI_VERSION, Activity, ApiCall, Hooks, Resource, wanted};

/// Stands in until CUPTI installs its own, so that the launch path needs no test for "none".
static IDLE: Hooks = Hooks {
    abi_version: ABI_VERSION,
    reserved: 0,
    wanted: AtomicU64::new(0),
    api: ignore_api,
    api_enter: ignore_api_enter,
    activity: ignore_activity,
    enqueued: ignore_activity,
    resource: ignore_resource,
};

static INSTALLED: AtomicPtr<Hooks> = AtomicPtr::new((&raw const IDLE).cast_mut());
static CORRELATION: AtomicU32 = AtomicU32::new(0);
static SEQUENCE: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" fn ignore_api(_: *const ApiCall) {}
unsafe extern "C" fn ignore_api_enter(_: u32, _: u32, _: u32) {}
unsafe extern "C" fn ignore_activity(_: *const Activity) {}
unsafe extern "C" fn ignore_resource(_: *const Resource) {}

/// Installs `hooks`; those of another contract version are refused, and stderr says so.
///
/// # Safety
/// NULL, or valid for the rest of the process, as [`cuda_sim_abi::Driver::set_hooks`] asks.
pub(crate) unsafe extern "C" fn install(hooks: *const Hooks) {
    // SAFETY: by this function's contract.
    match unsafe { hooks.as_ref() } {
        None => INSTALLED.store((&raw const IDLE).cast_mut(), Ordering::Release),
        Some(new) if new.abi_version == ABI_VERSION => {
            INSTALLED.store(hooks.cast_mut(), Ordering::Release);
        }
        Some(new) => eprintln!(
            "simulated libcuda: hooks of contract version {} refused, expected {ABI_VERSION}",
            new.abi_version
        ),
    }
}

#[inline]
fn installed() -> &'static Hooks {
    // SAFETY: `IDLE`, or what `install` was given: both valid for the rest of the process.
    unsafe { &*INSTALLED.load(Ordering::Acquire) }
}

/// The bits of [`wanted`] that CUPTI asks for now.
#[inline]
pub(crate) fn wanted_now() -> u64 {
    installed().wanted.load(Ordering::Relaxed)
}

/// A correlation id not given before; never 0.
pub(crate) fn new_correlation() -> u32 {
    loop {
        let id = CORRELATION.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if id != 0 {
            return id;
        }
    }
}

/// Numbers `count` pieces of work; returns the first number.
pub(crate) fn new_sequences(count: u64) -> u64 {
    SEQUENCE.fetch_add(count, Ordering::Relaxed) + 1
}

/// Announces a call's begin, if callbacks are wanted.
pub(crate) fn api_enter(wanted_bits: u64, domain: u32, cbid: u32, correlation_id: u32) {
    if wanted_bits & wanted::CALLBACKS != 0 {
        // SAFETY: the pointer belongs to the installed hooks.
        unsafe { (installed().api_enter)(domain, cbid, correlation_id) }
    }
}

/// Reports a finished call.
pub(crate) fn api_exit(call: &ApiCall) {
    // SAFETY: as in `api_enter`; `call` is valid during the call.
    unsafe { (installed().api)(call) }
}

/// Reports work that has completed.
pub(crate) fn activity(activity: &Activity) {
    // SAFETY: as in `api_exit`.
    unsafe { (installed().activity)(activity) }
}

/// Reports work that was enqueued.
pub(crate) fn enqueued(activity: &Activity) {
    // SAFETY: as in `api_exit`.
    unsafe { (installed().enqueued)(activity) }
}

/// Reports a context, stream or graph that came or went, if wanted.
pub(crate) fn resource(resource: &Resource) {
    if wanted_now() & wanted::RESOURCE != 0 {
        // SAFETY: as in `api_exit`.
        unsafe { (installed().resource)(resource) }
    }
}
