//! Device, context, stream and event: owned, and given back when dropped. Enter: ordinals; leave: handles for the
//! rest of [`crate::launch`]. Refuses, with a [`LaunchError`] that says what to do, where there is no driver or no
//! such device.
#![allow(unsafe_code, reason = "CUDA handles are raw; this module owns them")]

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use cudarc::driver::{DriverError, result, sys};

use super::error::LaunchError;
use super::module;

/// Loads libcuda and calls `cuInit`.
///
/// # Errors
/// [`LaunchError::NoLibrary`] or [`LaunchError::NoDevice`], or what `cuInit` returned.
pub fn initialise() -> Result<(), LaunchError> {
    // SAFETY: loading the driver library runs its initialisers, which any CUDA program accepts.
    if !unsafe { sys::is_culib_present() } {
        return Err(LaunchError::NoLibrary);
    }
    result::init().map_err(|source| match source.0 {
        sys::CUresult::CUDA_ERROR_NO_DEVICE => LaunchError::NoDevice { ordinal: 0, count: 0 },
        _ => LaunchError::Driver { call: "cuInit", source },
    })
}

/// The primary context of a device, retained. Shared by the threads that use the device.
#[derive(Debug)]
pub struct Context {
    device: sys::CUdevice,
    raw: sys::CUcontext,
    name: String,
}

// SAFETY: the driver API may be called from any thread with any context handle; the other fields never change.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    /// Retains the primary context of device `ordinal` and makes it current. [`initialise`] comes first.
    ///
    /// # Errors
    /// [`LaunchError::NoDevice`], or what the driver returned.
    pub fn new(ordinal: u32) -> Result<Arc<Self>, LaunchError> {
        let count = result::device::get_count().map_err(LaunchError::driver("cuDeviceGetCount"))?;
        let count = u32::try_from(count).unwrap_or(0);
        if ordinal >= count {
            return Err(LaunchError::NoDevice { ordinal, count });
        }
        let device = result::device::get(ordinal as i32).map_err(LaunchError::driver("cuDeviceGet"))?;
        let name = result::device::get_name(device).map_err(LaunchError::driver("cuDeviceGetName"))?;
        // SAFETY: the device handle is from cuDeviceGet.
        let raw = unsafe { result::primary_ctx::retain(device) }
            .map_err(LaunchError::driver("cuDevicePrimaryCtxRetain"))?;
        let context = Arc::new(Self { device, raw, name });
        context.bind()?;
        Ok(context)
    }

    /// Makes it the calling thread's context.
    ///
    /// # Errors
    /// What the driver returned.
    pub fn bind(&self) -> Result<(), LaunchError> {
        // SAFETY: the context is retained as long as `self` lives.
        unsafe { result::ctx::set_current(self.raw) }.map_err(LaunchError::driver("cuCtxSetCurrent"))
    }

    /// Waits for everything in the context.
    ///
    /// # Errors
    /// What the driver returned: also errors of work enqueued before.
    pub fn synchronize(&self) -> Result<(), LaunchError> {
        self.bind()?;
        result::ctx::synchronize().map_err(LaunchError::driver("cuCtxSynchronize"))
    }

    /// Name of the device.
    #[must_use]
    pub fn device_name(&self) -> &str {
        &self.name
    }

    /// Whether the device is the simulated one, which says so in its name.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.name.contains("Simulated")
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if self.bind().is_ok() {
            module::unload(self.raw);
        }
        // SAFETY: retained once in `new`. A driver that is shutting down may refuse; there is nothing left to do.
        let _: Result<(), DriverError> = unsafe { result::primary_ctx::release(self.device) };
    }
}

/// A stream of a context, used by one thread.
#[derive(Debug)]
pub struct Stream {
    raw: sys::CUstream,
    context: Arc<Context>,
    /// Whether a copy to or from host memory may be in flight.
    busy: Cell<bool>,
}

impl Stream {
    /// A new stream that does not wait for the default stream.
    ///
    /// # Errors
    /// What the driver returned.
    pub fn new(context: &Arc<Context>) -> Result<Rc<Self>, LaunchError> {
        context.bind()?;
        let raw = result::stream::create(result::stream::StreamKind::NonBlocking)
            .map_err(LaunchError::driver("cuStreamCreate"))?;
        Ok(Rc::new(Self { raw, context: Arc::clone(context), busy: Cell::new(false) }))
    }

    /// Waits for the stream's work.
    ///
    /// # Errors
    /// What the driver returned: also errors of work enqueued before.
    pub fn synchronize(&self) -> Result<(), LaunchError> {
        // SAFETY: the stream lives as long as `self`.
        unsafe { result::stream::synchronize(self.raw) }
            .map_err(LaunchError::driver("cuStreamSynchronize"))?;
        self.busy.set(false);
        Ok(())
    }

    /// Waits where host memory may be in use by the device.
    pub(super) fn settle(&self) -> Result<(), LaunchError> {
        if self.busy.get() { self.synchronize() } else { Ok(()) }
    }

    /// Notes that the device may be using host memory until the next wait.
    pub(super) fn mark_busy(&self) {
        self.busy.set(true);
    }

    /// The handle, for entry points. Valid while `self` lives.
    #[must_use]
    pub fn raw(&self) -> sys::CUstream {
        self.raw
    }

    /// The context it belongs to.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _: Result<(), LaunchError> = self.synchronize();
        // SAFETY: created in `new`, destroyed once. An error here means that the context is gone already.
        let _: Result<(), DriverError> = unsafe { result::stream::destroy(self.raw) };
    }
}

/// A point in a stream, with a time stamp.
#[derive(Debug)]
pub struct Event {
    raw: sys::CUevent,
}

impl Event {
    /// A new event in the current context.
    ///
    /// # Errors
    /// What the driver returned.
    pub fn new() -> Result<Self, LaunchError> {
        let raw = result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT)
            .map_err(LaunchError::driver("cuEventCreate"))?;
        Ok(Self { raw })
    }

    /// Puts it at the end of the stream's work.
    ///
    /// # Errors
    /// What the driver returned.
    pub fn record(&self, stream: &Stream) -> Result<(), LaunchError> {
        // SAFETY: both handles live as long as their owners.
        unsafe { result::event::record(self.raw, stream.raw) }.map_err(LaunchError::driver("cuEventRecord"))
    }

    /// Nanoseconds of device time from `self` to `end`, waiting for `end`. Its resolution is about 500 ns.
    ///
    /// # Errors
    /// What the driver returned.
    pub fn elapsed_ns(&self, end: &Self) -> Result<f64, LaunchError> {
        // SAFETY: both events live as long as their owners.
        unsafe {
            result::event::synchronize(end.raw).map_err(LaunchError::driver("cuEventSynchronize"))?;
            result::event::elapsed(self.raw, end.raw).map_err(LaunchError::driver("cuEventElapsedTime"))
        }
        .map(|milliseconds| f64::from(milliseconds) * 1e6)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: created in `new`, destroyed once. An error here means that the context is gone already.
        let _: Result<(), DriverError> = unsafe { result::event::destroy(self.raw) };
    }
}
