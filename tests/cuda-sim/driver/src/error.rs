//! CUDA driver status codes. Enters: a code. Leaves: its name and a sentence. Refuses: to invent codes: all numbers
//! and names are those of `CUresult` in CUDA 12.9's `cuda.h`; the sentences are this project's.

use core::ffi::CStr;

/// `CUresult`.
pub(crate) type Status = i32;

/// `CUDA_SUCCESS`.
pub(crate) const SUCCESS: Status = 0;

/// A status other than success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Error(pub(crate) Status);

/// What every driver function returns inside.
pub(crate) type Outcome<T = ()> = Result<T, Error>;

macro_rules! errors {
    ($($code:literal $short:ident $name:literal $sentence:literal)*) => {
        impl Error {
            $(#[doc = concat!("`CUDA_ERROR_", stringify!($short), "`.")] pub(crate) const $short: Self = Self($code);)*
        }

        /// Name and sentence of a status, NUL-terminated.
        pub(crate) fn describe(status: Status) -> Option<(&'static CStr, &'static CStr)> {
            match status {
                SUCCESS => Some((c"CUDA_SUCCESS", c"no error")),
                $($code => Some(($name, $sentence)),)*
                _ => describe_other(status),
            }
        }
    };
}

errors! {
    1 INVALID_VALUE c"CUDA_ERROR_INVALID_VALUE" c"invalid argument"
    2 OUT_OF_MEMORY c"CUDA_ERROR_OUT_OF_MEMORY" c"out of memory"
    3 NOT_INITIALIZED c"CUDA_ERROR_NOT_INITIALIZED" c"initialization error"
    100 NO_DEVICE c"CUDA_ERROR_NO_DEVICE" c"no simulated device is configured"
    101 INVALID_DEVICE c"CUDA_ERROR_INVALID_DEVICE" c"invalid device ordinal"
    200 INVALID_IMAGE c"CUDA_ERROR_INVALID_IMAGE" c"module image is invalid"
    201 INVALID_CONTEXT c"CUDA_ERROR_INVALID_CONTEXT" c"no valid context is current"
    209 NO_BINARY_FOR_GPU c"CUDA_ERROR_NO_BINARY_FOR_GPU" c"module image has no code for this device"
    215 UNSUPPORTED_LIMIT c"CUDA_ERROR_UNSUPPORTED_LIMIT" c"limit is not supported"
    218 INVALID_PTX c"CUDA_ERROR_INVALID_PTX" c"PTX text is invalid"
    301 FILE_NOT_FOUND c"CUDA_ERROR_FILE_NOT_FOUND" c"file not found"
    400 INVALID_HANDLE c"CUDA_ERROR_INVALID_HANDLE" c"invalid handle"
    401 ILLEGAL_STATE c"CUDA_ERROR_ILLEGAL_STATE" c"object is in the wrong state"
    500 NOT_FOUND c"CUDA_ERROR_NOT_FOUND" c"named symbol not found"
    600 NOT_READY c"CUDA_ERROR_NOT_READY" c"work has not completed"
    700 ILLEGAL_ADDRESS c"CUDA_ERROR_ILLEGAL_ADDRESS" c"an illegal memory address was used by a kernel"
    704 PEER_ACCESS_ALREADY_ENABLED c"CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED" c"peer access is already enabled"
    705 PEER_ACCESS_NOT_ENABLED c"CUDA_ERROR_PEER_ACCESS_NOT_ENABLED" c"peer access is not enabled"
    709 CONTEXT_IS_DESTROYED c"CUDA_ERROR_CONTEXT_IS_DESTROYED" c"the current context is destroyed"
    710 ASSERT c"CUDA_ERROR_ASSERT" c"a device-side assertion failed"
    712 HOST_MEMORY_ALREADY_REGISTERED c"CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED" c"host memory is already registered"
    713 HOST_MEMORY_NOT_REGISTERED c"CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED" c"host memory is not registered"
    719 LAUNCH_FAILED c"CUDA_ERROR_LAUNCH_FAILED" c"a kernel failed"
    720 COOPERATIVE_LAUNCH_TOO_LARGE c"CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE" c"too many blocks in a cooperative launch"
    801 NOT_SUPPORTED c"CUDA_ERROR_NOT_SUPPORTED" c"operation is not supported by the simulated driver"
    900 STREAM_CAPTURE_UNSUPPORTED c"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED" c"operation is not permitted while the stream is capturing"
    901 STREAM_CAPTURE_INVALIDATED c"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED" c"an earlier error invalidated the capture"
    902 STREAM_CAPTURE_MERGE c"CUDA_ERROR_STREAM_CAPTURE_MERGE" c"operation would merge two captures"
    903 STREAM_CAPTURE_UNMATCHED c"CUDA_ERROR_STREAM_CAPTURE_UNMATCHED" c"capture was not begun in this stream"
    905 STREAM_CAPTURE_ISOLATION c"CUDA_ERROR_STREAM_CAPTURE_ISOLATION" c"capturing stream would depend on work outside the capture"
    907 CAPTURED_EVENT c"CUDA_ERROR_CAPTURED_EVENT" c"operation is not permitted on an event last recorded in a capturing stream"
    999 UNKNOWN c"CUDA_ERROR_UNKNOWN" c"unknown error"
}

/// Statuses that only a `fail` rule returns.
fn describe_other(status: Status) -> Option<(&'static CStr, &'static CStr)> {
    match status {
        4 => Some((c"CUDA_ERROR_DEINITIALIZED", c"driver is shutting down")),
        34 => Some((c"CUDA_ERROR_STUB_LIBRARY", c"a stub library was loaded")),
        46 => Some((c"CUDA_ERROR_DEVICE_UNAVAILABLE", c"device is busy or unavailable")),
        205 => Some((c"CUDA_ERROR_MAP_FAILED", c"mapping failed")),
        214 => Some((c"CUDA_ERROR_ECC_UNCORRECTABLE", c"uncorrectable memory error")),
        217 => Some((c"CUDA_ERROR_PEER_ACCESS_UNSUPPORTED", c"peer access is not supported")),
        220 => Some((c"CUDA_ERROR_NVLINK_UNCORRECTABLE", c"uncorrectable NVLink error")),
        221 => Some((c"CUDA_ERROR_JIT_COMPILER_NOT_FOUND", c"PTX compiler not found")),
        222 => Some((c"CUDA_ERROR_UNSUPPORTED_PTX_VERSION", c"PTX version is not supported")),
        300 => Some((c"CUDA_ERROR_INVALID_SOURCE", c"source is invalid")),
        302 => Some((c"CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND", c"symbol of a shared object not found")),
        303 => Some((c"CUDA_ERROR_SHARED_OBJECT_INIT_FAILED", c"shared object failed to initialize")),
        304 => Some((c"CUDA_ERROR_OPERATING_SYSTEM", c"operating system call failed")),
        701 => Some((c"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", c"too many resources requested for launch")),
        702 => Some((c"CUDA_ERROR_LAUNCH_TIMEOUT", c"a kernel ran too long")),
        708 => Some((c"CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE", c"the primary context is active")),
        711 => Some((c"CUDA_ERROR_TOO_MANY_PEERS", c"too many peers")),
        714 => Some((c"CUDA_ERROR_HARDWARE_STACK_ERROR", c"hardware stack error")),
        715 => Some((c"CUDA_ERROR_ILLEGAL_INSTRUCTION", c"an illegal instruction was met")),
        716 => Some((c"CUDA_ERROR_MISALIGNED_ADDRESS", c"a misaligned address was used")),
        717 => Some((c"CUDA_ERROR_INVALID_ADDRESS_SPACE", c"operation on an address of another space")),
        718 => Some((c"CUDA_ERROR_INVALID_PC", c"invalid program counter")),
        800 => Some((c"CUDA_ERROR_NOT_PERMITTED", c"operation is not permitted")),
        802 => Some((c"CUDA_ERROR_SYSTEM_NOT_READY", c"system is not ready")),
        803 => Some((c"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", c"driver and library do not match")),
        904 => Some((c"CUDA_ERROR_STREAM_CAPTURE_UNJOINED", c"a captured stream was not joined")),
        906 => Some((
            c"CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
            c"implicit dependency of a capture on the default stream",
        )),
        908 => Some((c"CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD", c"capture was begun by another thread")),
        909 => Some((c"CUDA_ERROR_TIMEOUT", c"operation timed out")),
        910 => Some((c"CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE", c"executable graph cannot be updated so")),
        _ => None,
    }
}
