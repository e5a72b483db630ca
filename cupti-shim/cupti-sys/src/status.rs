//! In: a `CUptiResult`. Out: its name, or a `Result`. Refuses nothing: an unknown code stays a number.
//!
//! Numbers: `cupti_result.h` of CUPTI 13.5; none changed since 11.8.

use std::fmt;

use crate::open::open_newtype;

open_newtype! {
    /// `CUptiResult`: what a CUPTI call returned. As an error it stands for itself, with the header's name in it.
    pub struct Status(i32), prefix "CUPTI_ERROR_" {
        INVALID_PARAMETER = 1,
        INVALID_DEVICE = 2,
        INVALID_CONTEXT = 3,
        INVALID_EVENT_DOMAIN_ID = 4,
        INVALID_EVENT_ID = 5,
        INVALID_EVENT_NAME = 6,
        INVALID_OPERATION = 7,
        OUT_OF_MEMORY = 8,
        HARDWARE = 9,
        PARAMETER_SIZE_NOT_SUFFICIENT = 10,
        API_NOT_IMPLEMENTED = 11,
        MAX_LIMIT_REACHED = 12,
        NOT_READY = 13,
        NOT_COMPATIBLE = 14,
        NOT_INITIALIZED = 15,
        INVALID_METRIC_ID = 16,
        INVALID_METRIC_NAME = 17,
        QUEUE_EMPTY = 18,
        INVALID_HANDLE = 19,
        INVALID_STREAM = 20,
        INVALID_KIND = 21,
        INVALID_EVENT_VALUE = 22,
        DISABLED = 23,
        INVALID_MODULE = 24,
        INVALID_METRIC_VALUE = 25,
        HARDWARE_BUSY = 26,
        NOT_SUPPORTED = 27,
        UM_PROFILING_NOT_SUPPORTED = 28,
        UM_PROFILING_NOT_SUPPORTED_ON_DEVICE = 29,
        UM_PROFILING_NOT_SUPPORTED_ON_NON_P2P_DEVICES = 30,
        UM_PROFILING_NOT_SUPPORTED_WITH_MPS = 31,
        CDP_TRACING_NOT_SUPPORTED = 32,
        VIRTUALIZED_DEVICE_NOT_SUPPORTED = 33,
        CUDA_COMPILER_NOT_COMPATIBLE = 34,
        INSUFFICIENT_PRIVILEGES = 35,
        OLD_PROFILER_API_INITIALIZED = 36,
        OPENACC_UNDEFINED_ROUTINE = 37,
        LEGACY_PROFILER_NOT_SUPPORTED = 38,
        MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED = 39,
        VIRTUALIZED_DEVICE_INSUFFICIENT_PRIVILEGES = 40,
        CONFIDENTIAL_COMPUTING_NOT_SUPPORTED = 41,
        CMP_DEVICE_NOT_SUPPORTED = 42,
        MIG_DEVICE_NOT_SUPPORTED = 43,
        SLI_DEVICE_NOT_SUPPORTED = 44,
        WSL_DEVICE_NOT_SUPPORTED = 45,
        INVALID_CHIP_NAME = 46,
        HES_TRACE_NOT_SUPPORTED_ON_MPS = 47,
        UNKNOWN = 999,
    }
}

impl Status {
    /// `CUPTI_SUCCESS`, 0.
    pub const SUCCESS: Self = Self(0);

    /// `CUPTI_SUCCESS`.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 == Self::SUCCESS.0
    }

    /// # Errors
    /// Itself, unless it is success.
    pub const fn ok(self) -> Result<(), Self> {
        if self.is_success() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            _ if self.is_success() => f.write_str("CUPTI_SUCCESS"),
            Some(name) => write!(f, "CUPTI_ERROR_{name} ({})", self.0),
            None => write!(f, "CUPTI status {}, which has no name here", self.0),
        }
    }
}

impl std::error::Error for Status {}

#[cfg(test)]
mod tests {
    use super::Status;

    #[test]
    fn a_known_code_reads_as_the_header_names_it() {
        assert_eq!(
            Status::MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED.to_string(),
            "CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED (39)"
        );
        assert_eq!(Status::SUCCESS.to_string(), "CUPTI_SUCCESS");
    }

    #[test]
    fn an_unknown_code_survives_and_says_its_number() {
        let status = Status(4711);
        assert_eq!(status.ok(), Err(Status(4711)));
        assert_eq!(status.to_string(), "CUPTI status 4711, which has no name here");
    }

    #[test]
    fn only_success_is_ok() {
        assert_eq!(Status::SUCCESS.ok(), Ok(()));
        for &status in Status::NAMED {
            assert_eq!(status.ok(), Err(status));
        }
    }
}
