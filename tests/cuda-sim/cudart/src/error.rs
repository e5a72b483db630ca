//! Runtime status codes. Enters: driver statuses. Leaves: runtime statuses, their names and sentences, and the last
//! error of a thread. Refuses: nothing. Most numbers are the driver's; `driver_types.h` of CUDA 12.9 has the others.

use core::ffi::CStr;
use std::cell::Cell;

/// `cudaError_t`, and `CUresult`.
pub(crate) type Status = i32;

/// An error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Error(pub(crate) Status);

/// What every runtime function returns inside.
pub(crate) type Outcome<T = ()> = Result<T, Error>;

impl Error {
    /// `cudaErrorInvalidValue`.
    pub(crate) const INVALID_VALUE: Self = Self(1);
    /// `cudaErrorInvalidConfiguration`.
    pub(crate) const INVALID_CONFIGURATION: Self = Self(9);
    /// `cudaErrorInvalidSymbol`.
    pub(crate) const INVALID_SYMBOL: Self = Self(13);
    /// `cudaErrorInvalidMemcpyDirection`.
    pub(crate) const INVALID_MEMCPY_DIRECTION: Self = Self(21);
    /// `cudaErrorInsufficientDriver`.
    pub(crate) const INSUFFICIENT_DRIVER: Self = Self(35);
    /// `cudaErrorMissingConfiguration`.
    pub(crate) const MISSING_CONFIGURATION: Self = Self(52);
    /// `cudaErrorInvalidDeviceFunction`.
    pub(crate) const INVALID_DEVICE_FUNCTION: Self = Self(98);
    /// `cudaErrorUnknown`.
    pub(crate) const UNKNOWN: Self = Self(999);
}

/// `cudaErrorNotReady`: an answer, not an error to remember.
const NOT_READY: Status = 600;

thread_local! {
    static LAST: Cell<Status> = const { Cell::new(0) };
}

/// Success or an error of a driver call.
pub(crate) fn check(status: Status) -> Outcome {
    if status == 0 { Ok(()) } else { Err(Error(status)) }
}

/// Remembers a call's error for `cudaGetLastError`.
pub(crate) fn remember(status: Status) {
    if status != 0 && status != NOT_READY {
        LAST.set(status);
    }
}

/// `cudaGetLastError`.
pub(crate) fn take_last() -> Status {
    LAST.replace(0)
}

/// `cudaPeekAtLastError`.
pub(crate) fn last() -> Status {
    LAST.get()
}

/// Name and sentence of a status.
pub(crate) fn describe(status: Status) -> (&'static CStr, &'static CStr) {
    match status {
        0 => (c"cudaSuccess", c"no error"),
        1 => (c"cudaErrorInvalidValue", c"invalid argument"),
        2 => (c"cudaErrorMemoryAllocation", c"out of memory"),
        3 => (c"cudaErrorInitializationError", c"initialization error"),
        9 => (c"cudaErrorInvalidConfiguration", c"invalid configuration argument"),
        13 => (c"cudaErrorInvalidSymbol", c"invalid device symbol"),
        21 => (c"cudaErrorInvalidMemcpyDirection", c"invalid copy direction"),
        35 => (c"cudaErrorInsufficientDriver", c"no simulated driver is loaded"),
        52 => (c"cudaErrorMissingConfiguration", c"launch without a configuration"),
        98 => (c"cudaErrorInvalidDeviceFunction", c"invalid device function"),
        100 => (c"cudaErrorNoDevice", c"no simulated device is configured"),
        101 => (c"cudaErrorInvalidDevice", c"invalid device ordinal"),
        200 => (c"cudaErrorInvalidKernelImage", c"device kernel image is invalid"),
        201 => (c"cudaErrorDeviceUninitialized", c"no valid context is current"),
        209 => (c"cudaErrorNoKernelImageForDevice", c"no kernel image for this device"),
        218 => (c"cudaErrorInvalidPtx", c"PTX text is invalid"),
        400 => (c"cudaErrorInvalidResourceHandle", c"invalid resource handle"),
        401 => (c"cudaErrorIllegalState", c"object is in the wrong state"),
        500 => (c"cudaErrorSymbolNotFound", c"named symbol not found"),
        600 => (c"cudaErrorNotReady", c"work has not completed"),
        700 => (c"cudaErrorIllegalAddress", c"an illegal memory address was used by a kernel"),
        704 => (c"cudaErrorPeerAccessAlreadyEnabled", c"peer access is already enabled"),
        709 => (c"cudaErrorContextIsDestroyed", c"context is destroyed"),
        710 => (c"cudaErrorAssert", c"a device-side assertion failed"),
        719 => (c"cudaErrorLaunchFailure", c"a kernel failed"),
        720 => (c"cudaErrorCooperativeLaunchTooLarge", c"too many blocks in a cooperative launch"),
        801 => (c"cudaErrorNotSupported", c"operation is not supported by the simulated runtime"),
        900 => (
            c"cudaErrorStreamCaptureUnsupported",
            c"operation is not permitted while the stream is capturing",
        ),
        901 => (c"cudaErrorStreamCaptureInvalidated", c"an earlier error invalidated the capture"),
        902 => (c"cudaErrorStreamCaptureMerge", c"operation would merge two captures"),
        903 => (c"cudaErrorStreamCaptureUnmatched", c"capture was not begun in this stream"),
        905 => {
            (c"cudaErrorStreamCaptureIsolation", c"capturing stream would depend on work outside the capture")
        }
        907 => (c"cudaErrorCapturedEvent", c"event was last recorded in a capturing stream"),
        999 => (c"cudaErrorUnknown", c"unknown error"),
        _ => (c"unrecognized error code", c"unrecognized error code"),
    }
}
