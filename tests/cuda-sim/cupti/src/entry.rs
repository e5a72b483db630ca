//! The exported functions, with the prototypes of CUPTI's headers.
//!
//! Enters: calls of a C client. Leaves: `CUptiResult`s as the real library gives them. Refuses: in this order, what the
//! key `fail` names; what needs `libcuda` while that is not loaded (15, from CUPTI 13 on 999); wrong
//! arguments.
//!
//! All functions of all simulated versions are exported; `flavour.sh` makes copies of the library without
//! those that a version lacks.

/// Activity API: kinds, buffers, flushing, records.
pub mod activity;
/// Activity API: attributes and switches.
pub mod attribute;
/// Callback API: subscribing.
pub mod callback;
/// What needs no session: names, versions, ids, time.
pub mod query;

use crate::session::Session;
use crate::status::Status;

/// What a function needs before it does anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// The library alone, in releases that get by without `libcuda`.
    Library,
    /// `libcuda`, loaded.
    Driver,
}

/// Runs an exported function.
#[inline]
fn enter(function: &str, needs: Needs, body: impl FnOnce(&'static Session) -> Status) -> Status {
    let session = Session::current();
    if let Some(refusal) = session.faults.refusal(function) {
        return refusal;
    }
    let release = &session.identity.release;
    if (needs == Needs::Driver || release.needs_driver_always()) && session.driver().is_none() {
        return release.not_initialized();
    }
    let status = body(session);
    session.faults.linger(function);
    status
}

/// Writes through a pointer of the client; [`Status::INVALID_PARAMETER`] for NULL.
///
/// # Safety
/// `to` is NULL or valid for a write.
unsafe fn write<T>(to: *mut T, value: T) -> Status {
    if to.is_null() {
        return Status::INVALID_PARAMETER;
    }
    // SAFETY: not NULL, and valid by this function's contract.
    unsafe { to.write(value) };
    Status::SUCCESS
}
