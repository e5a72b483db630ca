//! What surrounds every runtime call. Enters: a call of an exported function. Leaves: its status, remembered as the
//! thread's last error, and the call announced to the driver. Refuses: to work without the simulated driver; lets no
//! panic out.
#![allow(unsafe_code, reason = "calls the driver's function pointers and clock_gettime")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::driver::{Driver, driver};
use crate::error::{Error, Outcome, Status, check, remember};
use crate::{binding, error, failure};

/// A function of the runtime: its callback id and its name.
pub(crate) type Function = (u32, &'static str);

/// Runs a function that needs a context.
pub(crate) fn bound(function: Function, body: impl FnOnce(&'static Driver) -> Outcome) -> Status {
    initialized(function, |driver| {
        binding::bind(driver)?;
        body(driver)
    })
}

/// Runs a function that needs an initialised driver.
pub(crate) fn initialized(function: Function, body: impl FnOnce(&'static Driver) -> Outcome) -> Status {
    any(function, |driver| {
        // SAFETY: takes a number only; cheap when repeated.
        check(unsafe { (driver.cuInit)(0) })?;
        body(driver)
    })
}

/// Runs a function that needs the driver's functions only.
pub(crate) fn any((cbid, name): Function, body: impl FnOnce(&'static Driver) -> Outcome) -> Status {
    let Some(driver) = driver() else {
        remember(Error::INSUFFICIENT_DRIVER.0);
        return Error::INSUFFICIENT_DRIVER.0;
    };
    let start_ns = now_ns();
    // SAFETY: by the contract, callable from any thread.
    let correlation_id = unsafe { (driver.contract.runtime_enter)(cbid) };
    let failure = failure::applies(name);
    let status = match catch_unwind(AssertUnwindSafe(|| failure.map_or_else(|| body(driver), Err))) {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => error.0,
        Err(_) => Error::UNKNOWN.0,
    };
    error::remember(status);
    // SAFETY: as above.
    unsafe { (driver.contract.runtime_exit)(cbid, correlation_id, start_ns, status) };
    status
}

fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec; CLOCK_MONOTONIC always exists on Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Defines exported runtime functions. The first word says what a function needs: `any`, `initialized` or `bound`;
/// the driver's functions are in scope under the name that follows. The cbid is the constant of the function's name.
macro_rules! exports {
    ($($kind:ident($driver:ident) fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block)*) => {
        $(
            #[allow(non_snake_case, reason = "the C name")]
            #[allow(unsafe_code, reason = "an exported C function")]
            #[unsafe(no_mangle)]
            pub(crate) unsafe extern "C" fn $name($($argument: $type),*) -> $crate::error::Status {
                $crate::call::$kind(($crate::cbid::$name, stringify!($name)), move |$driver| $body)
            }
        )*
    };
}
pub(crate) use exports;

/// Calls a driver function and turns its status into an outcome.
macro_rules! drive {
    ($driver:ident.$function:ident($($argument:expr),* $(,)?)) => {{
        #[allow(unsafe_code, reason = "a driver call")]
        // SAFETY: the arguments are those of the runtime's caller, who vouches for them; the driver checks NULL.
        $crate::error::check(unsafe { ($driver.$function)($($argument),*) })
    }};
}
pub(crate) use drive;
