//! `cuptiSubscribe` and what a subscriber enables.
//!
//! Enters: subscriber handles. Leaves: callbacks enabled or not. Refuses: a second subscriber, and handles that are not
//! the subscriber's.

use super::{Needs, enter, write};
use crate::session::Session;
use crate::status::Status;
use crate::subscription::{CallbackFunction, Subscriber};
use core::ffi::{CStr, c_char, c_void};

/// `CUpti_SubscriberParams`
#[repr(C)]
#[derive(Debug)]
pub struct SubscriberParams {
    /// Size of this struct, bytes.
    pub struct_size: usize,
    /// Name of the subscriber, or NULL.
    pub subscriber_name: *const c_char,
    /// Where to write who is subscribed already, or NULL.
    pub old_subscriber_name: *mut c_char,
    /// Bytes there.
    pub old_subscriber_size: usize,
    /// Ignored: several subscribers are not simulated.
    pub allow_multiple_subscribers: u8,
    /// Padding.
    pub padding: [u8; 7],
}

/// Subscribes; 39 when somebody has.
///
/// # Safety
/// `subscriber` is NULL or valid for a write; `callback` may be called until the subscription ends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuptiSubscribe(
    subscriber: *mut *mut Subscriber,
    callback: Option<CallbackFunction>,
    userdata: *mut c_void,
) -> Status {
    enter("cuptiSubscribe", Needs::Driver, |session| {
        if subscriber.is_null() {
            return Status::INVALID_PARAMETER;
        }
        match begin(session, Subscriber::new(callback, userdata, c"")) {
            // SAFETY: by this function's contract.
            Ok(handle) => unsafe { write(subscriber, handle) },
            Err((status, _)) => status,
        }
    })
}

/// Subscribes with a name, and learns the name of who has already.
///
/// # Safety
/// As [`cuptiSubscribe`]; `params` is NULL or points to what it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuptiSubscribe_v2(
    subscriber: *mut *mut Subscriber,
    callback: Option<CallbackFunction>,
    userdata: *mut c_void,
    params: *mut SubscriberParams,
) -> Status {
    enter("cuptiSubscribe_v2", Needs::Driver, |session| {
        // SAFETY: by this function's contract.
        let params = unsafe { params.as_ref() };
        if subscriber.is_null() || params.is_some_and(|params| params.struct_size == 0) {
            return Status::INVALID_PARAMETER;
        }
        let name = match params {
            // SAFETY: not NULL, so a C string by this function's contract.
            Some(params) if !params.subscriber_name.is_null() => unsafe {
                CStr::from_ptr(params.subscriber_name)
            },
            _ => c"",
        };
        match begin(session, Subscriber::new(callback, userdata, name)) {
            // SAFETY: by this function's contract.
            Ok(handle) => unsafe { write(subscriber, handle) },
            Err((status, old_name)) => {
                if let Some(params) = params {
                    // SAFETY: by this function's contract.
                    unsafe { tell(&old_name, params) };
                }
                status
            }
        }
    })
}

fn begin(session: &Session, new: Subscriber) -> Result<*mut Subscriber, (Status, std::ffi::CString)> {
    let handle = session.subscription.subscribe(new)?;
    session.enablement.leave_graph_level();
    session.update_wanted();
    Ok(handle)
}

/// Writes "CUPTI for NAME", cut to the room there is.
///
/// # Safety
/// The name's place in `params` is NULL or has the bytes that `params` says.
unsafe fn tell(name: &CStr, params: &SubscriberParams) {
    let room = params.old_subscriber_size;
    if params.old_subscriber_name.is_null() || room == 0 {
        return;
    }
    let text = [b"CUPTI for ", name.to_bytes()].concat();
    let len = text.len().min(room - 1);
    // SAFETY: `room` bytes by this function's contract; len < room.
    unsafe {
        params.old_subscriber_name.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), len);
        params.old_subscriber_name.add(len).write(0);
    }
}

/// Ends the subscription.
#[unsafe(no_mangle)]
pub extern "C" fn cuptiUnsubscribe(subscriber: *mut Subscriber) -> Status {
    enter("cuptiUnsubscribe", Needs::Driver, |session| {
        let status = session.subscription.unsubscribe(subscriber);
        session.update_wanted();
        status
    })
}

/// Enables or disables one callback.
#[unsafe(no_mangle)]
pub extern "C" fn cuptiEnableCallback(
    enable: u32,
    subscriber: *mut Subscriber,
    domain: u32,
    cbid: u32,
) -> Status {
    change("cuptiEnableCallback", subscriber, |found| found.set(domain, cbid, enable != 0))
}

/// Enables or disables the callbacks of a domain.
#[unsafe(no_mangle)]
pub extern "C" fn cuptiEnableDomain(enable: u32, subscriber: *mut Subscriber, domain: u32) -> Status {
    change("cuptiEnableDomain", subscriber, |found| found.set_domain(domain, enable != 0))
}

/// Enables or disables all callbacks.
#[unsafe(no_mangle)]
pub extern "C" fn cuptiEnableAllDomains(enable: u32, subscriber: *mut Subscriber) -> Status {
    change("cuptiEnableAllDomains", subscriber, |found| {
        found.set_all(enable != 0);
        Status::SUCCESS
    })
}

fn change(function: &str, handle: *mut Subscriber, change: impl FnOnce(&Subscriber) -> Status) -> Status {
    let _inside = Session::current().subscription.begin_change();
    enter(function, Needs::Driver, |session| {
        let Some(found) = session.subscription.by_handle(handle) else { return Status::INVALID_PARAMETER };
        let status = change(found);
        session.update_wanted();
        status
    })
}

/// Whether a callback is enabled.
///
/// # Safety
/// `enabled` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuptiGetCallbackState(
    enabled: *mut u32,
    subscriber: *mut Subscriber,
    domain: u32,
    cbid: u32,
) -> Status {
    enter("cuptiGetCallbackState", Needs::Driver, |session| {
        match session.subscription.by_handle(subscriber) {
            // SAFETY: by this function's contract.
            Some(found) => unsafe { write(enabled, u32::from(found.wants(domain, cbid))) },
            None => Status::INVALID_PARAMETER,
        }
    })
}

/// Everything off, everything forgotten.
#[unsafe(no_mangle)]
pub extern "C" fn cuptiFinalize() -> Status {
    enter("cuptiFinalize", Needs::Library, Session::finalize)
}
