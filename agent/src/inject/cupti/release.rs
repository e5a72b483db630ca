//! Releases of CUDA, and what tells them.
//!
//! Enters: versions of drivers, names of files, functions that a libcupti has. Leaves: [`Release`]s. Refuses: to guess: what no
//! table has is `None`, or the release that it cannot be newer than.

use std::fmt;
use std::path::Path;

use super::major;
use crate::inject::libraries;
use crate::root::Root;

/// A release of CUDA, as in 12.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    /// 12.
    pub major: u32,
    /// 4.
    pub minor: u32,
}

impl fmt::Display for Release {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.major, self.minor)
    }
}

/// From here on CUPTI may be switched on although there are CUDA graphs (pytorch#75504, #112507).
const SAFE_WITH_GRAPHS: Release = release(12, 6);

/// The first branch of the driver that knows each release (CUDA Toolkit release notes, "CUDA Toolkit and Corresponding Driver
/// Versions"; 565 was the driver's alone). A newer branch knows at least the last.
const DRIVERS: [(u32, Release); 15] = [
    (520, release(11, 8)),
    (525, release(12, 0)),
    (530, release(12, 1)),
    (535, release(12, 2)),
    (545, release(12, 3)),
    (550, release(12, 4)),
    (555, release(12, 5)),
    (560, release(12, 6)),
    (565, release(12, 7)),
    (570, release(12, 8)),
    (575, release(12, 9)),
    (580, release(13, 0)),
    (590, release(13, 1)),
    (595, release(13, 2)),
    (610, release(13, 3)),
];

/// What a libcupti of a toolkit has in its name, and the release that brought it.
const YEARS: [((u32, u32), Release); 11] = [
    ((2022, 3), release(11, 8)),
    ((2022, 4), release(12, 0)),
    ((2023, 1), release(12, 1)),
    ((2023, 2), release(12, 2)),
    ((2023, 3), release(12, 3)),
    ((2024, 1), release(12, 4)),
    ((2024, 2), release(12, 5)),
    ((2024, 3), release(12, 6)),
    ((2025, 1), release(12, 8)),
    ((2025, 2), release(12, 9)),
    ((2025, 3), release(13, 0)),
];

/// Functions that tell a libcupti's release, the oldest first, each with the newest release that lacks it (`nm` of
/// NVIDIA's own).
pub(super) const FUNCTIONS: [(&str, Release); 10] = [
    ("cuptiGetGlobalCallbackState", release(12, 0)),
    ("cuptiGetErrorMessage", release(12, 1)),
    ("cuptiGetGraphExecId", release(12, 2)),
    ("cuptiActivityEnableRuntimeApi", release(12, 4)),
    ("cuptiActivityEnableAllocationSource", release(12, 5)),
    ("cuptiActivityEnableHWTrace", release(12, 7)),
    ("cuptiSubscribe_v2", release(12, 9)),
    ("cuptiActivityEnable_v2", release(13, 1)),
    ("cuptiActivityGetNextRecord_v2", release(13, 2)),
    ("cuptiGetCudaEventId", release(13, 3)),
];

const fn release(major: u32, minor: u32) -> Release {
    Release { major, minor }
}

impl Release {
    /// The newest that a driver of this version knows, as far as the table goes.
    pub(super) fn of_driver(version: &str) -> Option<Self> {
        let branch: u32 = version.split('.').next()?.parse().ok()?;
        let known = DRIVERS.iter().rev().find(|(first, _)| *first <= branch);
        Some(known.map_or(release(11, 0), |(_, release)| *release))
    }

    /// That of a libcupti, by the year in its name, its toolkit's folder, or the Python package that brought it.
    pub(super) fn of_cupti(root: &Root, cupti: &Path) -> Option<Self> {
        // libcupti.so.2024.1.1; CUDA 11 has its release in the soname.
        let named = cupti.file_name()?.to_str()?.strip_prefix("libcupti.so.").and_then(numbers);
        match named {
            Some(year @ (2000.., _)) => {
                return YEARS.iter().find(|(known, _)| *known == year).map(|(_, release)| *release);
            }
            Some((major, minor)) => return Some(release(major, minor)),
            None => {}
        }
        if let Some((_, toolkit)) = cupti.to_str()?.split_once("/cuda-") {
            return numbers(toolkit).map(|(major, minor)| release(major, minor));
        }
        // The folder that has the package is the one that has `nvidia`, which need not be called `site-packages`.
        let packages = cupti.ancestors().find(|folder| folder.ends_with("nvidia"))?.parent()?;
        let package = match major(cupti)? {
            11 => "nvidia_cuda_cupti_cu11",
            12 => "nvidia_cuda_cupti_cu12",
            _ => "nvidia_cuda_cupti",
        };
        let version = libraries::package_version(root, packages, package)?;
        numbers(&version).map(|(major, minor)| release(major, minor))
    }

    /// The newest that a libcupti of this major can be, by which of [`FUNCTIONS`] it has.
    pub(super) fn at_most(major: u32, has: [bool; FUNCTIONS.len()]) -> Option<Self> {
        let lacking = FUNCTIONS.iter().zip(has).find(|(_, has)| !has);
        lacking.map(|((_, newest), _)| *newest).filter(|newest| newest.major == major)
    }
}

/// Whether a libcupti is older than 12.6, with which CUDA graphs that exist already are dangerous. Its major alone may say so.
pub(super) fn is_before_12_6(root: &Root, cupti: &Path) -> Option<bool> {
    match major(cupti) {
        Some(major) if major != 12 => Some(major < 12),
        _ => match Release::of_cupti(root, cupti) {
            Some(release) => Some(release < SAFE_WITH_GRAPHS),
            // A year that is in no table yet is a new one.
            None => year(cupti).map(|year| year < 2024),
        },
    }
}

fn year(cupti: &Path) -> Option<u32> {
    let (year, _) = numbers(cupti.file_name()?.to_str()?.strip_prefix("libcupti.so.")?)?;
    (year >= 2000).then_some(year)
}

/// The first two numbers of `12.4/lib64`, `2024.1.1`.
fn numbers(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(['.', '/']).map_while(|part| part.parse::<u32>().ok());
    Some((parts.next()?, parts.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_knows_the_release_that_came_with_its_branch_and_all_before() {
        let of = |version| Release::of_driver(version).map(|release| release.to_string());
        assert_eq!(of("535.161.08").as_deref(), Some("12.2"));
        assert_eq!(of("550.54.14").as_deref(), Some("12.4"));
        assert_eq!(of("549.1").as_deref(), Some("12.3"));
        assert_eq!(of("580.65.06").as_deref(), Some("13.0"));
        assert_eq!(of("999.1").as_deref(), Some("13.3"), "at least");
        assert_eq!(of("470.82.01").as_deref(), Some("11.0"), "too old for any CUPTI that is read");
        assert_eq!(of("x.1"), None);
    }

    #[test]
    fn the_tables_are_in_order() {
        assert!(DRIVERS.is_sorted() && YEARS.is_sorted());
        assert!(FUNCTIONS.is_sorted_by_key(|(_, newest)| *newest));
    }

    #[test]
    fn an_old_cupti_is_known_by_its_year_its_toolkit_or_its_package() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let is_old = |path| is_before_12_6(&root, Path::new(path));
        assert_eq!(is_old("/x/libcupti.so.2024.1.1"), Some(true));
        assert_eq!(is_old("/x/libcupti.so.2024.3.2"), Some(false));
        assert_eq!(is_old("/x/libcupti.so.2024.4"), Some(false));
        assert_eq!(is_old("/x/libcupti.so.2031.1"), Some(false));
        assert_eq!(is_old("/x/libcupti.so.11.8"), Some(true));
        assert_eq!(is_old("/usr/local/cuda-12.4/extras/CUPTI/lib64/libcupti.so.12"), Some(true));
        assert_eq!(is_old("/usr/local/cuda-13.0/lib64/libcupti.so.13"), Some(false));
        assert_eq!(is_old("/site-packages/nvidia/cuda_cupti/lib/libcupti.so.12"), None);
        std::fs::create_dir_all(
            folder.path().join("site-packages/nvidia_cuda_cupti_cu12-12.4.127.dist-info"),
        )
        .unwrap();
        assert_eq!(is_old("/site-packages/nvidia/cuda_cupti/lib/libcupti.so.12"), Some(true));
    }

    #[test]
    fn the_functions_of_a_cupti_say_what_it_cannot_be_newer_than() {
        let first = |count: usize| core::array::from_fn(|number| number < count);
        let at_most = |major, count| Release::at_most(major, first(count)).map(|release| release.to_string());
        assert_eq!(at_most(12, 0).as_deref(), Some("12.0"));
        assert_eq!(at_most(12, 3).as_deref(), Some("12.4"));
        assert_eq!(at_most(12, 6).as_deref(), Some("12.9"));
        assert_eq!(at_most(13, 7).as_deref(), Some("13.1"));
        assert_eq!(at_most(13, 10), None, "newer than what is known");
        assert_eq!(at_most(13, 2), None, "its name lies");
    }
}
