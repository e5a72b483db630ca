//! What can go wrong between this process and a CUDA device, in words that say what to do.

use cudarc::driver::DriverError;

/// A failed launch, or a failed step on the way to one.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// libcuda is not there.
    #[error(
        "the CUDA driver library (libcuda.so.1) cannot be loaded: install the NVIDIA driver, or put the folder of \
         the simulated libcuda.so.1 first in LD_LIBRARY_PATH"
    )]
    NoLibrary,
    /// cuInit found no device, or fewer than asked for.
    #[error(
        "CUDA device {ordinal} does not exist: the driver reports {count}; check `nvidia-smi -L`, \
         CUDA_VISIBLE_DEVICES and the container's GPU request"
    )]
    NoDevice {
        /// The device asked for.
        ordinal: u32,
        /// How many there are.
        count: u32,
    },
    /// A driver function returned an error.
    #[error("{call} failed with CUDA error {}", .source.0 as u32)]
    Driver {
        /// The function.
        call: &'static str,
        /// What it returned.
        #[source]
        source: DriverError,
    },
    /// An entry point was asked for something that no kernel here does.
    #[error("{entry}: {reason}")]
    Unsupported {
        /// The entry point.
        entry: &'static str,
        /// What it cannot do.
        reason: String,
    },
    /// A buffer is too small for the shape it is used with.
    #[error("{what}: {needed} elements are needed, the buffer has {available}")]
    Shape {
        /// The operation and the buffer.
        what: &'static str,
        /// Elements the shape needs.
        needed: usize,
        /// Elements there are.
        available: usize,
    },
}

impl LaunchError {
    /// For `map_err` on a driver call.
    pub(crate) fn driver(call: &'static str) -> impl Fn(DriverError) -> Self {
        move |source| Self::Driver { call, source }
    }

    /// The CUDA status this error came with, or the nearest one.
    #[must_use]
    pub fn status(&self) -> u32 {
        match self {
            Self::NoLibrary => 999,
            Self::NoDevice { .. } => 100,
            Self::Driver { source, .. } => source.0 as u32,
            Self::Unsupported { .. } => 801,
            Self::Shape { .. } => 1,
        }
    }
}
