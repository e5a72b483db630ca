//! What surrounds every driver call. Enters: a call of an exported function. Leaves: its status, and its record.
//! Refuses: calls before `cuInit`, calls in a forked child (`CUDA_ERROR_NOT_INITIALIZED`), calls that a `fail` rule
//! names; and lets no panic out.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cuda_sim_abi::{ApiCall, domain, wanted};

use crate::clock::now_ns;
use crate::error::{Error, Outcome, SUCCESS, Status};
use crate::{failure, hooks, state};

thread_local! {
    /// Id of the runtime call in progress on this thread, 0 outside.
    static RUNTIME_CORRELATION: Cell<u32> = const { Cell::new(0) };
    /// Id of the driver call in progress on this thread, for the work that it enqueues.
    static CORRELATION: Cell<u32> = const { Cell::new(0) };
}

/// Bits for which a call needs a correlation id.
const TRACED: u64 = wanted::DRIVER_API
    | wanted::CALLBACKS
    | wanted::KERNEL
    | wanted::MEMCPY
    | wanted::MEMSET
    | wanted::MEMORY
    | wanted::SYNC
    | wanted::GRAPH;

/// Runs an exported function that needs `cuInit` to have been called.
#[inline]
pub(crate) fn ready(cbid: u32, body: impl FnOnce() -> Outcome) -> Status {
    let phase = state::phase();
    if phase == state::Phase::Ready {
        return any(cbid, body);
    }
    if phase == state::Phase::ReadyToFail {
        let rule = failure::applies(cbid);
        return any(cbid, || rule.map_or_else(body, Err));
    }
    Error::NOT_INITIALIZED.0
}

/// Runs an exported function that may be called at any time.
#[inline]
pub(crate) fn any(cbid: u32, body: impl FnOnce() -> Outcome) -> Status {
    let wanted_bits = wanted_here();
    if wanted_bits & TRACED == 0 { guarded(body) } else { traced(wanted_bits, cbid, body) }
}

/// What CUPTI wants to know of calls of this process: nothing in a forked child, where its locks may be held for ever
/// by threads that do not exist.
#[inline]
fn wanted_here() -> u64 {
    match hooks::wanted_now() {
        0 => 0,
        _ if state::phase() == state::Phase::Forked => 0,
        bits => bits,
    }
}

fn traced(wanted_bits: u64, cbid: u32, body: impl FnOnce() -> Outcome) -> Status {
    let correlation_id = match RUNTIME_CORRELATION.get() {
        0 => hooks::new_correlation(),
        id => id,
    };
    CORRELATION.set(correlation_id);
    hooks::api_enter(wanted_bits, domain::DRIVER, cbid, correlation_id);
    let reports = wanted_bits & (wanted::DRIVER_API | wanted::CALLBACKS) != 0;
    let start_ns = if reports { now_ns() } else { 0 };
    let status = guarded(body);
    if reports {
        let domain = domain::DRIVER;
        hooks::api_exit(&ApiCall { domain, cbid, correlation_id, status, start_ns, end_ns: now_ns() });
    }
    status
}

fn guarded(body: impl FnOnce() -> Outcome) -> Status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => SUCCESS,
        Ok(Err(error)) => error.0,
        Err(_) => Error::UNKNOWN.0,
    }
}

/// Id that work enqueued by the call in progress carries.
pub(crate) fn correlation() -> u32 {
    CORRELATION.get()
}

/// [`cuda_sim_abi::Driver::runtime_enter`].
pub(crate) extern "C" fn runtime_enter(cbid: u32) -> u32 {
    let id = hooks::new_correlation();
    RUNTIME_CORRELATION.set(id);
    hooks::api_enter(wanted_here(), domain::RUNTIME, cbid, id);
    id
}

/// [`cuda_sim_abi::Driver::runtime_exit`].
pub(crate) extern "C" fn runtime_exit(cbid: u32, correlation_id: u32, start_ns: u64, status: i32) {
    RUNTIME_CORRELATION.set(0);
    if wanted_here() & (wanted::RUNTIME_API | wanted::CALLBACKS) != 0 {
        let domain = domain::RUNTIME;
        hooks::api_exit(&ApiCall { domain, cbid, correlation_id, status, start_ns, end_ns: now_ns() });
    }
}

/// Defines exported driver functions and `EXPORTS`, the list of their names and addresses.
///
/// `ready fn` needs `cuInit` first, `any fn` does not. The cbid is the constant of the function's own name.
macro_rules! exports {
    ($($(#[$attribute:meta])* $kind:ident fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block)*) => {
        $(
            #[allow(non_snake_case, reason = "the C name")]
            #[allow(unsafe_code, reason = "an exported C function")]
            #[allow(clippy::too_many_arguments, reason = "the C prototype")]
            $(#[$attribute])*
            #[unsafe(no_mangle)]
            pub(crate) unsafe extern "C" fn $name($($argument: $type),*) -> $crate::error::Status {
                $crate::call::$kind($crate::cbid::$name, move || $body)
            }
        )*

        /// Name and address of every function of this file.
        pub(crate) static EXPORTS: &[$crate::export::Export] =
            &[$($crate::export::Export::new(stringify!($name), $name as *const core::ffi::c_void)),*];
    };
}
pub(crate) use exports;
