//! What the driver calls: the other end of `cuda_sim_abi::Hooks`.
//!
//! Enters: pointers valid during the call. Leaves: records and the subscriber's callbacks. Refuses: any work in a forked
//! child, where there is no session until CUPTI is used again.

use crate::session::Session;
use crate::subscription::{DOMAIN_RESOURCE, Subscriber};
use crate::{callback_data, callback_names, thread};
use core::sync::atomic::AtomicU64;
use cuda_sim_abi::{ABI_VERSION, Activity, ApiCall, Hooks, Resource};

/// The hooks of this library.
pub(crate) static HOOKS: Hooks = Hooks {
    abi_version: ABI_VERSION,
    reserved: 0,
    wanted: AtomicU64::new(0),
    api,
    api_enter,
    activity,
    enqueued,
    resource,
};

unsafe extern "C" fn api(call: *const ApiCall) {
    // SAFETY: the driver passes a valid pointer or NULL.
    let (Some(session), Some(call)) = (Session::existing(), unsafe { call.as_ref() }) else { return };
    if let Some(subscriber) = session.subscription.current().filter(|s| s.wants(call.domain, call.cbid)) {
        api_exit(subscriber, call);
    }
    session.api_ended(call);
}

fn api_exit(subscriber: &Subscriber, call: &ApiCall) {
    let mut shared = thread::end_call(call.domain, call.correlation_id);
    let name = callback_names::name(call.domain, call.cbid);
    callback_data::exit(call, name, &mut shared, |data| {
        thread::in_exit_callback(|| {
            // SAFETY: `data` points to a CUpti_CallbackData, as both API domains pass.
            unsafe { subscriber.call(call.domain, call.cbid, data) }
        });
    });
}

unsafe extern "C" fn api_enter(domain: u32, cbid: u32, correlation_id: u32) {
    let Some(session) = Session::existing() else { return };
    let Some(subscriber) = session.subscription.current().filter(|s| s.wants(domain, cbid)) else { return };
    let mut shared = 0;
    let name = callback_names::name(domain, cbid);
    callback_data::enter(correlation_id, name, &mut shared, |data| {
        // SAFETY: as in api_exit.
        unsafe { subscriber.call(domain, cbid, data) }
    });
    thread::begin_call(domain, correlation_id, shared);
}

unsafe extern "C" fn activity(work: *const Activity) {
    // SAFETY: the driver passes a valid pointer or NULL.
    if let (Some(session), Some(work)) = (Session::existing(), unsafe { work.as_ref() }) {
        session.work_ended(work);
    }
}

unsafe extern "C" fn enqueued(work: *const Activity) {
    // SAFETY: the driver passes a valid pointer or NULL.
    if let (Some(session), Some(work)) = (Session::existing(), unsafe { work.as_ref() }) {
        session.work_enqueued(work);
    }
}

unsafe extern "C" fn resource(event: *const Resource) {
    // SAFETY: the driver passes a valid pointer or NULL.
    let (Some(session), Some(event)) = (Session::existing(), unsafe { event.as_ref() }) else { return };
    // First what comes: the client may ask for its id. Last what goes, for the same reason.
    session.handles.came(event);
    if let Some(subscriber) = session.subscription.current() {
        callback_data::resource(event, |cbid, data| {
            // SAFETY: `data` points to a CUpti_ResourceData, as the resource domain passes.
            unsafe { subscriber.call(DOMAIN_RESOURCE, cbid, data) }
        });
    }
    session.resource_changed(event);
    session.handles.went(event);
}
