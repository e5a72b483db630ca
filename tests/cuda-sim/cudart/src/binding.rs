//! Which device a thread uses. Enters: `cudaSetDevice`, and the first call that needs a device. Leaves: the device's
//! primary context current on the thread. Refuses: ordinals out of range.
#![allow(unsafe_code, reason = "calls the driver's function pointers")]

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::driver::{Driver, Handle};
use crate::error::{Error, Outcome, check};

/// The primary contexts that this library has retained, by device.
static RETAINED: Mutex<Vec<(i32, usize)>> = Mutex::new(Vec::new());
/// Counts `cudaDeviceReset`, which ends what threads have bound.
static RESETS: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static DEVICE: Cell<i32> = const { Cell::new(0) };
    /// Device and count of resets at which this thread made a context current.
    static BOUND: Cell<Option<(i32, u32)>> = const { Cell::new(None) };
}

/// The device of this thread: of a context that the program made current through the driver API, else as set.
pub(crate) fn device() -> i32 {
    DEVICE.get()
}

/// `cudaSetDevice`.
pub(crate) fn set_device(driver: &Driver, device: i32) -> Outcome {
    let mut count = 0;
    // SAFETY: `count` is valid for the call.
    check(unsafe { (driver.cuDeviceGetCount)(&raw mut count) })?;
    if !(0..count).contains(&device) {
        return Err(Error(101));
    }
    DEVICE.set(device);
    bind(driver)
}

/// Makes the primary context of the thread's device current, unless the program made another current by itself.
pub(crate) fn bind(driver: &Driver) -> Outcome {
    let wanted = (DEVICE.get(), RESETS.load(Ordering::Relaxed));
    if BOUND.get() == Some(wanted) {
        return Ok(());
    }
    let mut current = std::ptr::null_mut();
    // SAFETY: `current` is valid for the call.
    check(unsafe { (driver.cuCtxGetCurrent)(&raw mut current) })?;
    if current.is_null() || BOUND.get().is_some() || DEVICE.get() != 0 {
        let context = primary(driver, wanted.0)?;
        // SAFETY: a live context.
        check(unsafe { (driver.cuCtxSetCurrent)(context) })?;
    } else {
        let mut device = 0;
        // SAFETY: `device` is valid for the call.
        check(unsafe { (driver.cuCtxGetDevice)(&raw mut device) })?;
        DEVICE.set(device);
    }
    BOUND.set(Some((DEVICE.get(), wanted.1)));
    Ok(())
}

/// The primary context of a device, retained once.
pub(crate) fn primary(driver: &Driver, device: i32) -> Outcome<Handle> {
    let mut retained = RETAINED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, context)) = retained.iter().find(|(of, _)| *of == device) {
        return Ok(std::ptr::with_exposed_provenance_mut(*context));
    }
    let mut context = std::ptr::null_mut();
    // SAFETY: `context` is valid for the call.
    check(unsafe { (driver.cuDevicePrimaryCtxRetain)(&raw mut context, device) })?;
    retained.push((device, context.expose_provenance()));
    Ok(context)
}

/// `cudaDeviceReset`.
pub(crate) fn reset(driver: &Driver) -> Outcome {
    let device = DEVICE.get();
    RETAINED.lock().unwrap_or_else(PoisonError::into_inner).retain(|(of, _)| *of != device);
    RESETS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: takes a device only.
    check(unsafe { (driver.cuDevicePrimaryCtxReset_v2)(device) })
}
