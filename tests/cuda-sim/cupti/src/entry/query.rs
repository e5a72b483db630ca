//! Names, versions, ids and time.
//!
//! Enters: numbers and handles. Leaves: strings that live as long as the library, and numbers. Refuses: numbers without a
//! name, handles that the driver did not announce.

use super::{Needs, enter, write};
use crate::callback_names;
use crate::handles::Object;
use crate::session::Session;
use crate::status::Status;
use core::ffi::{c_char, c_void};

/// The API version.
///
/// # Safety
/// `version` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuptiGetVersion(version: *mut u32) -> Status {
    enter("cuptiGetVersion", Needs::Library, |session| {
        // SAFETY: by this function's contract.
        unsafe { write(version, session.identity.version) }
    })
}

/// The name of a status; 1 and `<unknown>` for a number without one.
///
/// # Safety
/// `text` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuptiGetResultString(result: u32, text: *mut *const c_char) -> Status {
    enter("cuptiGetResultString", Needs::Library, |_| {
        let name = Status(result).name();
        // SAFETY: by this function's contract.
        let written = unsafe { write(text, name.unwrap_or(c"<unknown>").as_ptr()) };
        if name.is_some() { written } else { Status::INVALID_PARAMETER }
    })
}

/// A text about a status: its name, as the real library answers for nearly all.
///
/// # Safety
/// `text` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuptiGetErrorMessage(result: u32, text: *mut *const c_char) -> Status {
    enter("cuptiGetErrorMessage", Needs::Library, |_| {
        // SAFETY: by this function's contract.
        unsafe { write(text, Status(result).name().unwrap_or(c"<unknown>").as_ptr()) }
    })
}

/// The name of a driver or runtime function.
///
/// # Safety
/// `name` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuptiGetCallbackName(domain: u32, cbid: u32, name: *mut *const c_char) -> Status {
    enter("cuptiGetCallbackName", Needs::Library, |_| match callback_names::name(domain, cbid) {
        // SAFETY: by this function's contract.
        Some(found) => unsafe { write(name, found.as_ptr()) },
        None => {
            // SAFETY: as above; whether it is NULL makes no difference to the answer.
            let _null_or_written = unsafe { write(name, core::ptr::null()) };
            Status::INVALID_PARAMETER
        }
    })
}

/// The time in the clock of the records.
///
/// # Safety
/// `timestamp` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuptiGetTimestamp(timestamp: *mut u64) -> Status {
    enter("cuptiGetTimestamp", Needs::Library, |session| {
        // SAFETY: by this function's contract.
        unsafe { write(timestamp, session.clock.now()) }
    })
}

/// The id of a context.
///
/// # Safety
/// `id` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuptiGetContextId(context: *mut c_void, id: *mut u32) -> Status {
    enter("cuptiGetContextId", Needs::Driver, |session| match session.handles.context(context) {
        // SAFETY: by this function's contract.
        Some(found) => unsafe { write(id, found.context_id) },
        None => Status::INVALID_CONTEXT,
    })
}

/// The device of a context.
///
/// # Safety
/// `id` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuptiGetDeviceId(context: *mut c_void, id: *mut u32) -> Status {
    enter("cuptiGetDeviceId", Needs::Driver, |session| match session.handles.context(context) {
        // SAFETY: by this function's contract.
        Some(found) => unsafe { write(id, found.device_id) },
        None => Status::INVALID_DEVICE,
    })
}

/// The id of a stream; NULL is the default stream of `context`.
///
/// # Safety
/// `id` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuptiGetStreamId(context: *mut c_void, stream: *mut c_void, id: *mut u32) -> Status {
    enter("cuptiGetStreamId", Needs::Driver, |session| match find_stream(session, context, stream) {
        // SAFETY: by this function's contract.
        Some(found) => unsafe { write(id, found.stream_id) },
        None => Status::INVALID_STREAM,
    })
}

/// As [`cuptiGetStreamId`]: per-thread default streams are not simulated.
///
/// # Safety
/// `id` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuptiGetStreamIdEx(
    context: *mut c_void,
    stream: *mut c_void,
    _per_thread_stream: u8,
    id: *mut u32,
) -> Status {
    enter("cuptiGetStreamIdEx", Needs::Driver, |session| match find_stream(session, context, stream) {
        // SAFETY: by this function's contract.
        Some(found) => unsafe { write(id, found.stream_id) },
        None => Status::INVALID_STREAM,
    })
}

/// The id of an executable graph.
///
/// # Safety
/// `id` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuptiGetGraphExecId(graph: *mut c_void, id: *mut u32) -> Status {
    enter("cuptiGetGraphExecId", Needs::Driver, |session| match session.handles.graph(graph) {
        // SAFETY: by this function's contract.
        Some(found) => unsafe { write(id, found) },
        None => Status::INVALID_PARAMETER,
    })
}

fn find_stream(session: &Session, context: *mut c_void, stream: *mut c_void) -> Option<Object> {
    if stream.is_null() {
        return session.handles.context(context);
    }
    let found = session.handles.stream(stream)?;
    let belongs = session.handles.context(context).is_none_or(|of| of.context_id == found.context_id);
    (context.is_null() || belongs).then_some(found)
}
