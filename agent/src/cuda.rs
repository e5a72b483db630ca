//! Names of CUDA's numbers: API functions and error codes.
//!
//! Enters: callback ids and status codes. Leaves: the names of CUDA's own headers. Refuses: to invent; a number that is
//! not known stays a number.
//!
//! Sources: `cupti_driver_cbid.h`, `cupti_runtime_cbid.h` (through cupti-sys), `cuda.h` and `driver_types.h` of 13.5.

mod errors;

use cupti_sys::{DriverCbid, RuntimeCbid};

/// Name of the API, as in the attribute `api`.
#[must_use]
pub fn api_name(is_runtime: bool) -> &'static str {
    if is_runtime { "runtime" } else { "driver" }
}

/// Name of an API function; `None` for one that this agent does not know.
#[must_use]
pub fn function_name(is_runtime: bool, cbid: u32) -> Option<&'static str> {
    if is_runtime { RuntimeCbid(cbid).name() } else { DriverCbid(cbid).name() }
}

/// Name of a status code that is not success. Both APIs use the same numbers from CUDA 10.1 on.
#[must_use]
pub fn error_name(is_runtime: bool, status: u32) -> String {
    let known = errors::ERRORS.iter().find(|(number, _, _)| *number == status);
    match known {
        Some((_, _, runtime)) if is_runtime && !runtime.is_empty() => (*runtime).to_owned(),
        Some((_, driver, _)) if !is_runtime && !driver.is_empty() => (*driver).to_owned(),
        _ if is_runtime => format!("cudaError_{status}"),
        _ => format!("CUDA_ERROR_{status}"),
    }
}

/// Whether a status answers a query ("not ready") and is no error.
#[must_use]
pub fn is_answer(status: u32) -> bool {
    const NOT_READY: u32 = 600;
    status == NOT_READY
}

#[cfg(test)]
mod tests {
    use super::{error_name, errors, function_name};

    #[test]
    fn functions_have_the_headers_names() {
        assert_eq!(function_name(false, 307), Some("cuLaunchKernel"));
        assert_eq!(function_name(true, 211), Some("cudaLaunchKernel_v7000"));
        assert_eq!(function_name(true, 1 << 30), None);
    }

    #[test]
    fn errors_have_the_headers_names_and_unknown_ones_stay_numbers() {
        assert_eq!(error_name(false, 2), "CUDA_ERROR_OUT_OF_MEMORY");
        assert_eq!(error_name(true, 2), "cudaErrorMemoryAllocation");
        assert_eq!(error_name(true, 700), "cudaErrorIllegalAddress");
        assert_eq!(error_name(false, 123_456), "CUDA_ERROR_123456");
    }

    #[test]
    fn each_number_is_named_once() {
        assert!(errors::ERRORS.is_sorted_by(|left, right| left.0 < right.0));
    }
}
