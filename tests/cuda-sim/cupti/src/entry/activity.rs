//! Activity kinds, buffer callbacks, flushing, walking a buffer, external correlation.
//!
//! Enters: kinds, the client's buffer callbacks, buffers to walk. Leaves: kinds enabled or not, records. Refuses: kinds that the
//! release lacks; a flush without callbacks or from inside one.

use super::{Needs, enter, write};
use crate::queues::{BufferCompleted, BufferRequested, Callbacks};
use crate::session::Session;
use crate::status::Status;
use crate::thread;
use core::ffi::c_void;
use cuda_sim_abi::domain;

/// `CUPTI_ACTIVITY_FLAG_FLUSH_FORCED`
const FLUSH_FORCED: u32 = 1;

/// Registers the client's buffer functions, silently instead of those before.
#[unsafe(no_mangle)]
pub extern "C" fn cuptiActivityRegisterCallbacks(
    requested: Option<BufferRequested>,
    completed: Option<BufferCompleted>,
) -> Status {
    enter("cuptiActivityRegisterCallbacks", Needs::Library, |session| {
        let (Some(requested), Some(completed)) = (requested, completed) else {
            return Status::INVALID_PARAMETER;
        };
        session.queues.set_callbacks(Callbacks { requested, completed });
        Status::SUCCESS
    })
}

/// Enables a kind.
#[unsafe(no_mangle)]
pub extern "C" fn cuptiActivityEnable(kind: u32) -> Status {
    enter("cuptiActivityEnable", Needs::Driver, |session| set_kind(session, kind, true))
}

/// Disables a kind.
#[unsafe(no_mangle)]
pub extern "C" fn cuptiActivityDisable(kind: u32) -> Status {
    enter("cuptiActivityDisable", Needs::Driver, |session| set_kind(session, kind, false))
}

/// Enables a kind; of devices, contexts and streams also reports those that exist.
#[unsafe(no_mangle)]
pub extern "C" fn cuptiActivityEnableAndDump(kind: u32) -> Status {
    enter("cuptiActivityEnableAndDump", Needs::Driver, |session| {
        let status = set_kind(session, kind, true);
        if status == Status::SUCCESS {
            session.dump(kind);
        }
        status
    })
}

/// As [`cuptiActivityEnable`]: settings of single contexts are not simulated.
#[unsafe(no_mangle)]
pub extern "C" fn cuptiActivityEnableContext(context: *mut c_void, kind: u32) -> Status {
    enter("cuptiActivityEnableContext", Needs::Driver, |session| {
        if context.is_null() { Status::INVALID_PARAMETER } else { set_kind(session, kind, true) }
    })
}

/// As [`cuptiActivityDisable`]: settings of single contexts are not simulated.
#[unsafe(no_mangle)]
pub extern "C" fn cuptiActivityDisableContext(context: *mut c_void, kind: u32) -> Status {
    enter("cuptiActivityDisableContext", Needs::Driver, |session| {
        if context.is_null() { Status::INVALID_PARAMETER } else { set_kind(session, kind, false) }
    })
}

fn set_kind(session: &'static Session, kind: u32, on: bool) -> Status {
    let status = session.enablement.set_kind(kind, on, session.identity.release.newest_kind);
    session.update_wanted();
    if on && status == Status::SUCCESS { session.worker.start(session) } else { status }
}

/// Enables or disables the record of one driver function.
#[unsafe(no_mangle)]
pub extern "C" fn cuptiActivityEnableDriverApi(cbid: u32, enable: u8) -> Status {
    enter("cuptiActivityEnableDriverApi", Needs::Driver, |session| {
        set_call(session, domain::DRIVER, cbid, enable)
    })
}

/// Enables or disables the record of one runtime function.
#[unsafe(no_mangle)]
pub extern "C" fn cuptiActivityEnableRuntimeApi(cbid: u32, enable: u8) -> Status {
    enter("cuptiActivityEnableRuntimeApi", Needs::Driver, |session| {
        set_call(session, domain::RUNTIME, cbid, enable)
    })
}

fn set_call(session: &'static Session, call_domain: u32, cbid: u32, enable: u8) -> Status {
    let status = session.enablement.set_call(call_domain, cbid, enable != 0);
    session.update_wanted();
    if enable != 0 && status == Status::SUCCESS { session.worker.start(session) } else { status }
}

/// Hands out buffers: those whose records are complete, or with flag 1 all.
#[unsafe(no_mangle)]
pub extern "C" fn cuptiActivityFlushAll(flag: u32) -> Status {
    enter("cuptiActivityFlushAll", Needs::Driver, |session| session.flush_all(flag & FLUSH_FORCED != 0))
}

/// As [`cuptiActivityFlushAll`]; context and stream are ignored, as CUPTI documents.
#[unsafe(no_mangle)]
pub extern "C" fn cuptiActivityFlush(_context: *mut c_void, _stream_id: u32, flag: u32) -> Status {
    enter("cuptiActivityFlush", Needs::Driver, |session| session.flush_all(flag & FLUSH_FORCED != 0))
}

/// Sets how often CUPTI's thread hands out full buffers, milliseconds; 0: as soon as they are.
#[unsafe(no_mangle)]
pub extern "C" fn cuptiActivityFlushPeriod(period_ms: u32) -> Status {
    enter("cuptiActivityFlushPeriod", Needs::Driver, |session| {
        session.worker.set_period(period_ms);
        Status::SUCCESS
    })
}

/// Records dropped since the last call.
///
/// # Safety
/// `dropped` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuptiActivityGetNumDroppedRecords(
    _context: *mut c_void,
    _stream_id: u32,
    dropped: *mut usize,
) -> Status {
    enter("cuptiActivityGetNumDroppedRecords", Needs::Driver, |session| {
        if dropped.is_null() {
            return Status::INVALID_PARAMETER;
        }
        // SAFETY: by this function's contract.
        unsafe { write(dropped, session.queues.take_dropped()) }
    })
}

/// Steps to the next record of a buffer; 12 at its end, 21 at a record of a kind that is never written.
///
/// # Safety
/// `buffer` has `valid_size` readable bytes; `record` is valid, and points to NULL or to the record before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuptiActivityGetNextRecord(
    buffer: *mut u8,
    valid_size: usize,
    record: *mut *mut u8,
) -> Status {
    enter("cuptiActivityGetNextRecord", Needs::Library, |session| {
        if buffer.is_null() || record.is_null() {
            return Status::INVALID_PARAMETER;
        }
        // SAFETY: by this function's contract.
        let (bytes, before) = unsafe { (core::slice::from_raw_parts(buffer, valid_size), *record) };
        let stride = |offset: usize| {
            let kind = bytes.get(offset..)?.first_chunk()?;
            Some(session.records.stride(u32::from_ne_bytes(*kind)))
        };
        let next = if before.is_null() {
            0
        } else {
            let offset = before.addr().wrapping_sub(buffer.addr());
            match stride(offset) {
                Some(Some(stride)) => offset + stride,
                Some(None) => return Status::INVALID_KIND,
                None => return Status::INVALID_PARAMETER,
            }
        };
        match stride(next) {
            None => Status::MAX_LIMIT_REACHED,
            Some(None) => Status::INVALID_KIND,
            Some(Some(stride)) if next + stride > valid_size => Status::MAX_LIMIT_REACHED,
            Some(Some(_)) => {
                // SAFETY: next < valid_size, so inside the buffer; `record` by this function's contract.
                unsafe { write(record, buffer.add(next)) }
            }
        }
    })
}

/// Ties the API calls of this thread to `id`, until popped.
#[unsafe(no_mangle)]
pub extern "C" fn cuptiActivityPushExternalCorrelationId(kind: u32, id: u64) -> Status {
    enter("cuptiActivityPushExternalCorrelationId", Needs::Driver, |_| thread::push_external(kind, id))
}

/// Takes back the last one of this kind on this thread.
///
/// # Safety
/// `last_id` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuptiActivityPopExternalCorrelationId(kind: u32, last_id: *mut u64) -> Status {
    enter("cuptiActivityPopExternalCorrelationId", Needs::Driver, |_| {
        let mut popped = 0;
        let status = thread::pop_external(kind, &mut popped);
        if status == Status::SUCCESS && !last_id.is_null() {
            // SAFETY: not NULL, and valid by this function's contract.
            unsafe { last_id.write(popped) };
        }
        status
    })
}
