//! Which libcupti to use: the one that the process has, or would have, and never one newer than its driver.
//!
//! Enters: the libraries mapped into the process, the driver's version, the path that an agent named. Leaves: a
//! [`Source`]. Refuses: to call any CUPTI function, or load any CUPTI, in a process without libcuda: some versions
//! crash there.
//!
//! | step | where | why there |
//! |---|---|---|
//! | 1 | a libcupti that is loaded, by soname or as any mapped `libcupti.so*` | two CUPTIs in one process fight |
//! | 2 | beside libcudart and the other CUDA libraries; in `site-packages/nvidia` | what PyTorch would load |
//! | 3 | beside libcuda.so.1; by soname on the linker's search path | `LD_LIBRARY_PATH`, the distribution |
//! | 4 | `/usr/local/cuda*` | the toolkit |
//! | 5 | what `GPU_AGENT_CUPTI` names | the agent's own copy |
//!
//! In each step the CUDA major of a mapped libcudart comes first, then the newest that the driver knows: a driver that knows
//! CUDA 13 runs programs of CUDA 12 too, and wheels of both may lie side by side. A copy that the process has loaded is used whatever
//! its minor version: the process chose it, and another would not replace it. A copy that the shim had to load to ask for
//! its version, and refused, stays loaded; it is refused again.
#![allow(unsafe_code, reason = "the dynamic linker's functions")]

mod candidates;
mod driver;

use core::sync::atomic::{AtomicBool, Ordering};
use std::path::PathBuf;

use cupti_sys::{ApiVersion, CallError, Cupti, RecordSizes};

pub use self::candidates::{Candidate, Surroundings};
pub use self::driver::Driver;
use crate::activity::Source;
use crate::graphs::GRAPHS;

/// Whether the shim has loaded a libcupti: from then on, one that is loaded need not be the process's choice.
static LOADED_ONE: AtomicBool = AtomicBool::new(false);

/// Why no libcupti can be used.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// libcuda.so.1 is not mapped, or does not tell its version.
    #[error("the process has no CUDA driver loaded, so its CUPTI cannot be chosen")]
    NoDriver,
    /// No candidate could be loaded.
    #[error("no libcupti was found for CUDA driver {driver_version}")]
    NotFound {
        /// `cuDriverGetVersion`.
        driver_version: u32,
    },
    /// The only copies found belong to a newer CUDA than the driver.
    #[error("libcupti (version {cupti_version}) is newer than CUDA driver {driver_version}")]
    TooNew {
        /// `cuDriverGetVersion`.
        driver_version: u32,
        /// `cuptiGetVersion`.
        cupti_version: u32,
    },
    /// A copy was found, and did not tell its version.
    #[error("libcupti does not tell its version")]
    Version(#[source] CallError),
}

/// Finds and loads the libcupti of this process.
///
/// # Errors
/// None can be used; see [`LocateError`].
pub fn locate(named: Option<PathBuf>) -> Result<Source, LocateError> {
    let driver_version =
        Driver::of_this_process().and_then(|driver| driver.version()).ok_or(LocateError::NoDriver)?;
    let surroundings = Surroundings::of_this_process(named);
    let mut outcome = LocateError::NotFound { driver_version };
    for candidate in candidates::candidates(driver_version, &surroundings) {
        let Some(cupti) = load(&candidate) else { continue };
        let is_loaded = candidate.is_loaded();
        let is_chosen = is_loaded && !LOADED_ONE.load(Ordering::Relaxed);
        LOADED_ONE.fetch_or(!is_loaded, Ordering::Relaxed);
        match examine(cupti, driver_version, is_chosen) {
            Ok(source) => return Ok(source),
            Err(error) => outcome = error,
        }
    }
    Err(outcome)
}

fn load(candidate: &Candidate) -> Option<Cupti> {
    // SAFETY: the name is one that only NVIDIA's libcupti has, and libcuda is mapped: `locate` asked it for its
    // version, and the process got here through `cuInit`, or through an injector that waited for it.
    unsafe {
        match candidate {
            Candidate::Loaded(name) => Cupti::already_loaded(name),
            Candidate::File(path) => path.is_file().then(|| Cupti::open(path).ok())?,
            Candidate::Soname(name) => Cupti::open(name).ok(),
        }
    }
}

fn examine(cupti: Cupti, driver_version: u32, is_chosen: bool) -> Result<Source, LocateError> {
    let version = cupti.version().map_err(LocateError::Version)?;
    let too_new = LocateError::TooNew { driver_version, cupti_version: version.0 };
    if !is_chosen && cuda_of(version) > driver_version {
        return Err(too_new);
    }
    // Older than 11.8.
    let not_found = LocateError::NotFound { driver_version };
    let sizes = RecordSizes::for_version(version).ok_or(not_found)?;
    Ok(Source { cupti, version, sizes, driver_version, graphs: &GRAPHS })
}

/// The oldest CUDA version, as `cuDriverGetVersion` counts, whose CUPTI answers `version`.
fn cuda_of(version: ApiVersion) -> u32 {
    match version.0 {
        0..=19 => 11_080,
        minor @ 20..=24 => 12_000 + (minor - 18) * 10,
        25 => 12_060,
        26 => 12_080,
        27..130_000 => 12_090,
        since_13 => since_13 / 10_000 * 1_000 + since_13 / 100 % 100 * 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_belongs_to_the_cuda_that_brought_it() {
        let table = [
            (18, 11_080),
            (20, 12_020),
            (22, 12_040),
            (23, 12_050),
            (24, 12_060),
            (26, 12_080),
            (28, 12_090),
            (130_001, 13_000),
            (130_101, 13_010),
            (130_401, 13_040),
        ];
        for (version, cuda) in table {
            assert_eq!(cuda_of(ApiVersion(version)), cuda, "{version}");
        }
    }

    #[test]
    fn without_a_driver_nothing_is_loaded() {
        assert!(matches!(locate(None), Err(LocateError::NoDriver)));
    }
}
