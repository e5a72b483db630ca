//! Attributes, the timestamp callback, the thread id type, and switches that change nothing here.
//!
//! Enters: values of the client. Leaves: the same values. Refuses: attributes that CUPTI does not have, wrong sizes, unknown
//! thread id types.

use super::{Needs, enter, write};
use crate::clock::TimestampCallback;
use crate::status::Status;
use core::ffi::c_void;

/// Reads an attribute.
///
/// # Safety
/// `value_size` and `value` are NULL, or `value` has the writable bytes that `value_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuptiActivityGetAttribute(
    attribute: u32,
    value_size: *mut usize,
    value: *mut c_void,
) -> Status {
    enter("cuptiActivityGetAttribute", Needs::Driver, |session| {
        if value_size.is_null() || value.is_null() {
            return Status::INVALID_PARAMETER;
        }
        // SAFETY: by this function's contract.
        let to = unsafe { core::slice::from_raw_parts_mut(value.cast::<u8>(), *value_size) };
        match session.attributes.get(attribute, to) {
            // SAFETY: not NULL.
            Ok(size) => unsafe { write(value_size, size) },
            Err(status) => status,
        }
    })
}

/// Sets an attribute.
///
/// # Safety
/// `value_size` and `value` are NULL, or `value` has the readable bytes that `value_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuptiActivitySetAttribute(
    attribute: u32,
    value_size: *mut usize,
    value: *mut c_void,
) -> Status {
    enter("cuptiActivitySetAttribute", Needs::Driver, |session| {
        if value_size.is_null() || value.is_null() {
            return Status::INVALID_PARAMETER;
        }
        // SAFETY: by this function's contract.
        let from = unsafe { core::slice::from_raw_parts(value.cast::<u8>(), *value_size) };
        session.attributes.set(attribute, from)
    })
}

/// From now on, timestamps are what `callback` counts. Records made before keep the old clock.
#[unsafe(no_mangle)]
pub extern "C" fn cuptiActivityRegisterTimestampCallback(callback: Option<TimestampCallback>) -> Status {
    enter("cuptiActivityRegisterTimestampCallback", Needs::Driver, |session| {
        if callback.is_none() {
            return Status::INVALID_PARAMETER;
        }
        session.clock.set_callback(callback);
        Status::SUCCESS
    })
}

/// Chooses between `pthread_self` (0) and `gettid` (1).
#[unsafe(no_mangle)]
pub extern "C" fn cuptiSetThreadIdType(id_type: u32) -> Status {
    enter("cuptiSetThreadIdType", Needs::Driver, |session| session.attributes.set_thread_id_type(id_type))
}

/// The type chosen.
///
/// # Safety
/// `id_type` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuptiGetThreadIdType(id_type: *mut u32) -> Status {
    enter("cuptiGetThreadIdType", Needs::Driver, |session| {
        // SAFETY: by this function's contract.
        unsafe { write(id_type, session.attributes.thread_id_type()) }
    })
}

/// Accepted. Queued and submitted times stay 0, as they do in CUPTI unless this comes before `cuInit`.
#[unsafe(no_mangle)]
pub extern "C" fn cuptiActivityEnableLatencyTimestamps(_enable: u8) -> Status {
    enter("cuptiActivityEnableLatencyTimestamps", Needs::Driver, |_| Status::SUCCESS)
}

/// Accepted: the simulated driver reports every synchronisation.
#[unsafe(no_mangle)]
pub extern "C" fn cuptiActivityEnableAllSyncRecords(_enable: u8) -> Status {
    enter("cuptiActivityEnableAllSyncRecords", Needs::Driver, |_| Status::SUCCESS)
}
