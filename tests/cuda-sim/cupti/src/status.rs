//! `CUptiResult` as an open newtype, and the names of its values.
//!
//! Enters: numbers of `cupti_result.h` (13.5). Leaves: [`Status`] and NUL-terminated names. Refuses: nothing; a value
//! without a name is still a value.

use core::ffi::CStr;

/// One `CUptiResult`.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(pub u32);

impl Status {
    /// `CUPTI_SUCCESS`
    pub const SUCCESS: Self = Self(0);
    /// `CUPTI_ERROR_INVALID_PARAMETER`
    pub const INVALID_PARAMETER: Self = Self(1);
    /// `CUPTI_ERROR_INVALID_DEVICE`
    pub const INVALID_DEVICE: Self = Self(2);
    /// `CUPTI_ERROR_INVALID_CONTEXT`
    pub const INVALID_CONTEXT: Self = Self(3);
    /// `CUPTI_ERROR_INVALID_OPERATION`
    pub const INVALID_OPERATION: Self = Self(7);
    /// `CUPTI_ERROR_OUT_OF_MEMORY`
    pub const OUT_OF_MEMORY: Self = Self(8);
    /// `CUPTI_ERROR_PARAMETER_SIZE_NOT_SUFFICIENT`
    pub const PARAMETER_SIZE_NOT_SUFFICIENT: Self = Self(10);
    /// `CUPTI_ERROR_MAX_LIMIT_REACHED`
    pub const MAX_LIMIT_REACHED: Self = Self(12);
    /// `CUPTI_ERROR_NOT_INITIALIZED`
    pub const NOT_INITIALIZED: Self = Self(15);
    /// `CUPTI_ERROR_QUEUE_EMPTY`
    pub const QUEUE_EMPTY: Self = Self(18);
    /// `CUPTI_ERROR_INVALID_STREAM`
    pub const INVALID_STREAM: Self = Self(20);
    /// `CUPTI_ERROR_INVALID_KIND`
    pub const INVALID_KIND: Self = Self(21);
    /// `CUPTI_ERROR_NOT_SUPPORTED`
    pub const NOT_SUPPORTED: Self = Self(27);
    /// `CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED`
    pub const MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED: Self = Self(39);
    /// `CUPTI_ERROR_UNKNOWN`
    pub const UNKNOWN: Self = Self(999);

    /// The enumerator's name, if the value has one.
    pub(crate) fn name(self) -> Option<&'static CStr> {
        NAMES.iter().find(|(value, _)| *value == self.0).map(|(_, name)| *name)
    }
}

const NAMES: &[(u32, &CStr)] = &[
    (0, c"CUPTI_SUCCESS"),
    (1, c"CUPTI_ERROR_INVALID_PARAMETER"),
    (2, c"CUPTI_ERROR_INVALID_DEVICE"),
    (3, c"CUPTI_ERROR_INVALID_CONTEXT"),
    (7, c"CUPTI_ERROR_INVALID_OPERATION"),
    (8, c"CUPTI_ERROR_OUT_OF_MEMORY"),
    (9, c"CUPTI_ERROR_HARDWARE"),
    (10, c"CUPTI_ERROR_PARAMETER_SIZE_NOT_SUFFICIENT"),
    (11, c"CUPTI_ERROR_API_NOT_IMPLEMENTED"),
    (12, c"CUPTI_ERROR_MAX_LIMIT_REACHED"),
    (13, c"CUPTI_ERROR_NOT_READY"),
    (14, c"CUPTI_ERROR_NOT_COMPATIBLE"),
    (15, c"CUPTI_ERROR_NOT_INITIALIZED"),
    (18, c"CUPTI_ERROR_QUEUE_EMPTY"),
    (19, c"CUPTI_ERROR_INVALID_HANDLE"),
    (20, c"CUPTI_ERROR_INVALID_STREAM"),
    (21, c"CUPTI_ERROR_INVALID_KIND"),
    (23, c"CUPTI_ERROR_DISABLED"),
    (26, c"CUPTI_ERROR_HARDWARE_BUSY"),
    (27, c"CUPTI_ERROR_NOT_SUPPORTED"),
    (33, c"CUPTI_ERROR_VIRTUALIZED_DEVICE_NOT_SUPPORTED"),
    (35, c"CUPTI_ERROR_INSUFFICIENT_PRIVILEGES"),
    (36, c"CUPTI_ERROR_OLD_PROFILER_API_INITIALIZED"),
    (38, c"CUPTI_ERROR_LEGACY_PROFILER_NOT_SUPPORTED"),
    (39, c"CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED"),
    (40, c"CUPTI_ERROR_VIRTUALIZED_DEVICE_INSUFFICIENT_PRIVILEGES"),
    (41, c"CUPTI_ERROR_CONFIDENTIAL_COMPUTING_NOT_SUPPORTED"),
    (42, c"CUPTI_ERROR_CMP_DEVICE_NOT_SUPPORTED"),
    (43, c"CUPTI_ERROR_MIG_DEVICE_NOT_SUPPORTED"),
    (44, c"CUPTI_ERROR_SLI_DEVICE_NOT_SUPPORTED"),
    (45, c"CUPTI_ERROR_WSL_DEVICE_NOT_SUPPORTED"),
    (999, c"CUPTI_ERROR_UNKNOWN"),
];
