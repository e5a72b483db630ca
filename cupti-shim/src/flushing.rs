//! What CUPTI still holds: buffers with records, and how many records it had no buffer for.
//!
//! Enters: a CUPTI, armed or not. Leaves: buffers, through the callback that takes them back; a count. Refuses: nothing.

use cupti_sys::{CallError, ContextHandle, Cupti, Flush};

/// Returns all buffers whose records are complete.
///
/// # Errors
/// CUPTI's.
pub fn flush(cupti: &Cupti) -> Result<(), CallError> {
    cupti.activity_flush_all(Flush::COMPLETED)
}

/// Returns all buffers, also with records that have no end yet.
///
/// # Errors
/// CUPTI's.
pub fn flush_forced(cupti: &Cupti) -> Result<(), CallError> {
    cupti.activity_flush_all(Flush::FORCED)
}

/// How many records CUPTI has dropped since this was last asked.
///
/// # Errors
/// CUPTI's; where it lacks the function there is none to tell of.
pub fn take_dropped(cupti: &Cupti) -> Result<u64, CallError> {
    // No context and stream 0 stand for the queue of the whole process.
    match cupti.activity_dropped_records(ContextHandle(0), 0) {
        Ok(dropped) => Ok(dropped as u64),
        Err(CallError::Absent { .. }) => Ok(0),
        Err(error) => Err(error),
    }
}
