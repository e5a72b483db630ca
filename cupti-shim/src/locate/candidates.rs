//! The places where a libcupti may be, in the order in which they are tried.
//!
//! Enters: the paths of the mapped libraries, the toolkits, the agent's choice, the driver's version. Leaves: a list
//! without doubles. Refuses: to look into a file; sonames of a CUDA major that is newer than the driver.
#![allow(unsafe_code, reason = "dl_iterate_phdr")]

use core::ffi::{CStr, c_int, c_void};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Mapped libraries that are looked at; a process with more has its first ones looked at.
const MOST_LIBRARIES: usize = 4096;

/// Sonames of libcupti by CUDA major, the newest first.
const SONAMES: [(u32, &str); 3] = [(13, "libcupti.so.13"), (12, "libcupti.so.12"), (11, "libcupti.so.11.8")];

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidate {
    /// A library that is mapped already, by soname or path.
    Loaded(PathBuf),
    /// A file.
    File(PathBuf),
    /// Whatever the dynamic linker finds under this name.
    Soname(&'static str),
}

impl Candidate {
    /// Whether the process has it already.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        matches!(self, Self::Loaded(_))
    }
}

/// What there is to choose from.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Paths of the mapped libraries.
    pub libraries: Vec<PathBuf>,
    /// `/usr/local/cuda` and its like, newest first.
    pub toolkits: Vec<PathBuf>,
    /// What the agent names.
    pub named: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn of_this_process(named: Option<PathBuf>) -> Self {
        let mut toolkits: Vec<PathBuf> = std::fs::read_dir("/usr/local")
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| file_name(path).starts_with(b"cuda"))
            .take(64)
            .collect();
        toolkits.sort_by_key(|path| core::cmp::Reverse(toolkit_version(path)));
        Self { libraries: mapped_libraries(), toolkits, named }
    }
}

/// Every place to try with a driver of this version.
pub(super) fn candidates(driver_version: u32, surroundings: &Surroundings) -> Vec<Candidate> {
    let libraries = &surroundings.libraries;
    let sonames = &sonames(driver_version, libraries);
    let mut all: Vec<Candidate> = sonames.iter().map(|name| Candidate::Loaded(PathBuf::from(name))).collect();
    let loaded = libraries.iter().filter(|library| is_cupti_for(driver_version, library));
    all.extend(loaded.cloned().map(Candidate::Loaded));
    let near = libraries.iter().flat_map(|library| folders_near(library)).collect();
    all.extend(files(sonames, near));
    let beside_driver = libraries.iter().filter(|library| is_driver(library)).filter_map(|path| folder(path));
    all.extend(files(sonames, beside_driver.collect()));
    all.extend(sonames.iter().copied().map(Candidate::Soname));
    let toolkits = surroundings
        .toolkits
        .iter()
        .filter(|path| toolkit_version(path).is_none_or(|version| version <= driver_version))
        .flat_map(|path| [path.join("extras/CUPTI/lib64"), path.join("lib64")]);
    all.extend(files(sonames, toolkits.collect()));
    all.extend(surroundings.named.clone().map(Candidate::File));
    let mut list = Vec::new();
    for candidate in all {
        if !list.contains(&candidate) {
            list.push(candidate);
        }
    }
    list
}

/// Each soname in each folder, all folders for the first soname first.
fn files(sonames: &[&str], folders: Vec<PathBuf>) -> Vec<Candidate> {
    let in_folders = |soname: &&str| {
        let soname = (*soname).to_owned();
        folders.iter().map(move |folder| Candidate::File(folder.join(&soname))).collect::<Vec<_>>()
    };
    sonames.iter().flat_map(in_folders).collect()
}

/// Whether a mapped library is a libcupti whose name does not say that it is newer than the driver. The toolkit's
/// files carry a year (`libcupti.so.2024.1.1`), which says nothing.
fn is_cupti_for(driver_version: u32, library: &Path) -> bool {
    let Some(version) = file_name(library).strip_prefix(b"libcupti.so") else { return false };
    let mut parts = version.split(|&byte| byte == b'.').skip(1);
    let major = parts.next().and_then(|part| core::str::from_utf8(part).ok()?.parse::<u32>().ok());
    major.is_none_or(|major| major <= driver_version / 1000 || major >= 2000)
}

/// Sonames of the CUPTIs that are no newer than the driver: those of a mapped runtime's CUDA major first, else the newest.
fn sonames(driver_version: u32, libraries: &[PathBuf]) -> Vec<&'static str> {
    let majors: Vec<u32> = libraries.iter().filter_map(|library| runtime_major(library)).collect();
    let mut sonames: Vec<_> =
        SONAMES.into_iter().filter(|(major, _)| *major <= driver_version / 1000).collect();
    sonames.sort_by_key(|(major, _)| !majors.contains(major));
    sonames.into_iter().map(|(_, soname)| soname).collect()
}

/// The CUDA major in `libcudart.so.12` and `libcudart.so.12.4.127`.
fn runtime_major(library: &Path) -> Option<u32> {
    let version = file_name(library).strip_prefix(b"libcudart.so.")?;
    core::str::from_utf8(version).ok()?.split('.').next()?.parse().ok()
}

/// Where the libcupti lies that belongs to a mapped CUDA library; nothing for any other library.
fn folders_near(library: &Path) -> Vec<PathBuf> {
    let name = file_name(library);
    let mut folders = Vec::new();
    let Some(own) = folder(library) else { return folders };
    if [b"libcudart.".as_slice(), b"libcublas", b"libnvrtc", b"libcudnn"]
        .iter()
        .any(|start| name.starts_with(start))
    {
        folders.push(own.clone());
        // The toolkit: lib64 beside extras. Wheels of CUDA 12: nvidia/cuda_runtime/lib beside nvidia/cuda_cupti/lib.
        folders.extend(own.parent().map(|parent| parent.join("extras/CUPTI/lib64")));
        folders.extend(own.parent().and_then(Path::parent).map(|nvidia| nvidia.join("cuda_cupti/lib")));
    }
    if let Some(packages) = own.ancestors().find(|path| {
        let name = file_name(path);
        name == b"site-packages" || name == b"dist-packages"
    }) {
        folders.push(packages.join("nvidia/cuda_cupti/lib"));
        folders.push(packages.join("nvidia/cu13/lib"));
    }
    folders
}

fn is_driver(library: &Path) -> bool {
    file_name(library).starts_with(b"libcuda.so")
}

fn folder(library: &Path) -> Option<PathBuf> {
    library.parent().filter(|folder| folder.is_absolute()).map(Path::to_path_buf)
}

/// The version in `cuda-12.4`, as `cuDriverGetVersion` counts; `None` for `cuda` and `cuda-12`.
fn toolkit_version(path: &Path) -> Option<u32> {
    let name = core::str::from_utf8(file_name(path)).ok()?;
    let (major, minor) = name.strip_prefix("cuda-")?.split_once('.')?;
    let [major, minor] = [major, minor].map(|part| part.parse::<u32>().ok());
    major?.checked_mul(1000)?.checked_add(minor?.checked_mul(10)?)
}

fn file_name(path: &Path) -> &[u8] {
    path.file_name().map_or(b"", OsStr::as_bytes)
}

/// The paths that the dynamic linker has; the program itself has none there.
fn mapped_libraries() -> Vec<PathBuf> {
    unsafe extern "C" fn note(info: *mut libc::dl_phdr_info, _size: usize, data: *mut c_void) -> c_int {
        // SAFETY: `data` is the vector below, which nobody else touches during the call; `info` is live in it.
        let (libraries, info) = unsafe { (&mut *data.cast::<Vec<PathBuf>>(), &*info) };
        if !info.dlpi_name.is_null() {
            // SAFETY: not null, so a NUL-terminated string, as dl_iterate_phdr(3) says.
            let name = unsafe { CStr::from_ptr(info.dlpi_name) }.to_bytes();
            if !name.is_empty() {
                libraries.push(PathBuf::from(OsStr::from_bytes(name)));
            }
        }
        c_int::from(libraries.len() >= MOST_LIBRARIES)
    }
    let mut libraries = Vec::new();
    // SAFETY: the callback gets the vector back as what it is, and does not unwind: it only allocates.
    unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut libraries).cast()) };
    libraries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(libraries: &[&str]) -> Surroundings {
        Surroundings {
            libraries: libraries.iter().map(PathBuf::from).collect(),
            toolkits: ["/usr/local/cuda-13.0", "/usr/local/cuda-12.4", "/usr/local/cuda"]
                .map(PathBuf::from)
                .to_vec(),
            named: Some(PathBuf::from("/opt/agent/libcupti.so.12")),
        }
    }

    fn position(list: &[Candidate], candidate: &Candidate) -> usize {
        list.iter().position(|have| have == candidate).unwrap_or_else(|| panic!("{candidate:?} in {list:#?}"))
    }

    #[test]
    fn places_are_tried_in_the_order_of_the_table() {
        let libraries = [
            "/opt/trace/libcupti.so.2024.1.1",
            "/env/lib/python3.12/site-packages/nvidia/cuda_runtime/lib/libcudart.so.12",
            "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
        ];
        let list = candidates(12_040, &surroundings(&libraries));
        let file = |path: &str| Candidate::File(PathBuf::from(path));
        let order = [
            Candidate::Loaded("libcupti.so.12".into()),
            Candidate::Loaded("/opt/trace/libcupti.so.2024.1.1".into()),
            file("/env/lib/python3.12/site-packages/nvidia/cuda_runtime/lib/libcupti.so.12"),
            file("/env/lib/python3.12/site-packages/nvidia/cuda_cupti/lib/libcupti.so.12"),
            file("/usr/lib/x86_64-linux-gnu/libcupti.so.12"),
            Candidate::Soname("libcupti.so.12"),
            file("/usr/local/cuda-12.4/extras/CUPTI/lib64/libcupti.so.12"),
            file("/opt/agent/libcupti.so.12"),
        ];
        let positions: Vec<_> = order.iter().map(|candidate| position(&list, candidate)).collect();
        assert!(positions.is_sorted(), "{positions:?} in {list:#?}");
        assert_eq!(positions.last(), Some(&(list.len() - 1)));
    }

    #[test]
    fn nothing_newer_than_the_driver_is_tried() {
        let list = candidates(12_040, &surroundings(&["/x/libcupti.so.13", "/x/libcuda.so.1"]));
        assert!(list.iter().all(|candidate| !format!("{candidate:?}").contains("so.13")), "{list:#?}");
        assert!(list.iter().all(|candidate| !format!("{candidate:?}").contains("cuda-13")), "{list:#?}");
    }

    #[test]
    fn a_newer_driver_prefers_its_own_major_and_takes_an_older_one() {
        let list = candidates(13_000, &surroundings(&["/x/libcuda.so.1"]));
        let [thirteen, twelve] = ["/x/libcupti.so.13", "/x/libcupti.so.12"]
            .map(|path| position(&list, &Candidate::File(path.into())));
        assert!(thirteen < twelve);
    }

    #[test]
    fn the_major_of_the_mapped_runtime_is_preferred_in_each_step() {
        const PACKAGES: &str = "/env/lib/python3.12/site-packages";
        let first = |runtimes: &[&str]| {
            let mut libraries: Vec<String> =
                runtimes.iter().map(|name| format!("{PACKAGES}/x/{name}")).collect();
            libraries.push("/x/libcuda.so.1".to_owned());
            let list =
                candidates(13_000, &surroundings(&libraries.iter().map(String::as_str).collect::<Vec<_>>()));
            let [thirteen, twelve] = ["cu13/lib/libcupti.so.13", "cuda_cupti/lib/libcupti.so.12"]
                .map(|path| position(&list, &Candidate::File(format!("{PACKAGES}/nvidia/{path}").into())));
            let [named_thirteen, named_twelve] =
                ["libcupti.so.13", "libcupti.so.12"].map(|name| position(&list, &Candidate::Soname(name)));
            assert_eq!(thirteen < twelve, named_thirteen < named_twelve);
            if thirteen < twelve { 13 } else { 12 }
        };
        assert_eq!(first(&["libcudart.so.12"]), 12);
        assert_eq!(first(&["libcudart.so.12.4.127"]), 12);
        assert_eq!(first(&["libcudart.so.13"]), 13);
        assert_eq!(first(&["libcudart.so.12", "libcudart.so.13"]), 13, "runtimes of both");
        assert_eq!(first(&["libcudart.so.11.0"]), 13, "after 11.8, which is of neither");
        assert_eq!(first(&["libcublas.so.12"]), 13, "no runtime");
    }

    #[test]
    fn a_runtime_that_is_newer_than_the_driver_brings_no_newer_cupti() {
        let list = candidates(12_040, &surroundings(&["/x/libcudart.so.13", "/x/libcuda.so.1"]));
        assert!(list.iter().all(|candidate| !format!("{candidate:?}").contains("so.13")), "{list:#?}");
    }

    #[test]
    fn wheels_of_both_majors_are_found_from_torch() {
        let list = candidates(
            13_000,
            &surroundings(&["/env/lib/python3.12/site-packages/torch/lib/libtorch_cuda.so"]),
        );
        position(
            &list,
            &Candidate::File("/env/lib/python3.12/site-packages/nvidia/cu13/lib/libcupti.so.13".into()),
        );
        position(
            &list,
            &Candidate::File("/env/lib/python3.12/site-packages/nvidia/cuda_cupti/lib/libcupti.so.12".into()),
        );
    }

    #[test]
    fn no_place_is_tried_twice() {
        let list = candidates(
            12_040,
            &surroundings(&["/a/libcudart.so.12", "/a/libcublas.so.12", "/a/libcuda.so.1"]),
        );
        let distinct: std::collections::HashSet<_> =
            list.iter().map(|candidate| format!("{candidate:?}")).collect();
        assert_eq!(distinct.len(), list.len());
    }

    #[test]
    fn a_toolkit_without_a_version_is_not_ruled_out() {
        assert_eq!(toolkit_version(Path::new("/usr/local/cuda-12.4")), Some(12_040));
        assert_eq!(toolkit_version(Path::new("/usr/local/cuda")), None);
        assert_eq!(toolkit_version(Path::new("/usr/local/cuda-12")), None);
        assert_eq!(toolkit_version(Path::new("/usr/local/cuda-99999999.1")), None);
    }

    #[test]
    fn the_libraries_of_this_process_are_seen() {
        assert!(mapped_libraries().iter().any(|path| file_name(path).starts_with(b"libc.so")));
    }
}
