//! What CUDA a process has, and which libcupti the shim would use there.
//!
//! Enters: mapped files, folders in the process's root, a folder of the agent's own. Leaves: driver, runtimes, libcuptis, other
//! profilers. Refuses: to open any file of the process: a name says less than a file, but cannot do harm.

mod candidates;
mod carried;
mod release;

use std::path::{Path, PathBuf};

pub use self::candidates::Candidate;
pub use self::carried::{Carried, NotCarried, carried};
pub use self::release::Release;
use crate::symbols::process::Mapped;

/// Libraries of tools that own CUPTI where they are, and whose they are.
const OWNERS: [(&str, &str); 6] = [
    ("libToolsInjection", "Nsight Systems"),
    ("libcuda-injection", "Nsight Compute"),
    ("libsanitizer-", "Compute Sanitizer"),
    ("libcudadebugger", "cuda-gdb"),
    ("libparcagpucupti", "parcagpu"),
    ("libnvperf_host", "a tool that measures hardware counters"),
];

/// Most Python environments, each of which is looked into. A process has one; its files can name thousands.
const MOST_PACKAGES: usize = 16;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cuda {
    /// libcuda.so.1, by the name of its file: it carries the version of the driver.
    pub driver: Option<PathBuf>,
    /// Mapped libcudarts.
    pub runtimes: Vec<PathBuf>,
    /// Mapped libcuptis.
    pub cuptis: Vec<PathBuf>,
    /// Other tools that are mapped.
    pub owners: Vec<&'static str>,
    /// The shim is mapped.
    pub has_shim: bool,
    /// `site-packages` of Python environments.
    pub packages: Vec<PathBuf>,
}

impl Cuda {
    /// By the files that a process maps.
    #[must_use]
    pub fn of(files: &[Mapped]) -> Self {
        let mut cuda = Self::default();
        for file in files {
            cuda.take(Path::new(file.shown.trim_end_matches(" (deleted)")), file.has_start);
        }
        cuda
    }

    /// One file; `has_start` if it is mapped from its first byte on.
    fn take(&mut self, path: &Path, has_start: bool) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return };
        if name.starts_with("libcuda.so") {
            self.driver = Some(path.to_path_buf());
        } else if name.starts_with("libcudart.so") {
            self.runtimes.push(path.to_path_buf());
        } else if name.starts_with("libcupti.so") {
            self.cuptis.push(path.to_path_buf());
        } else if name.trim_start_matches("memfd:").starts_with("libgpu_agent_cupti") {
            // The loader's code is a later page of the same file, and an agent that was killed leaves it behind.
            self.has_shim |= has_start;
        } else if let Some((_, owner)) = OWNERS.iter().find(|(start, _)| name.starts_with(start)) {
            self.owners.push(owner);
        }
        let mut folders = path.ancestors();
        let packages =
            folders.find(|folder| folder.ends_with("site-packages") || folder.ends_with("dist-packages"));
        if let Some(packages) = packages
            && self.packages.len() < MOST_PACKAGES
            && self.packages.iter().all(|known| known != packages)
        {
            self.packages.push(packages.to_path_buf());
        }
    }

    /// Version of the driver, as in `535.161.08`; `None` where the file's name has none.
    #[must_use]
    pub fn driver_version(&self) -> Option<&str> {
        let version = self.driver.as_ref()?.file_name()?.to_str()?.strip_prefix("libcuda.so.")?;
        version.contains('.').then_some(version)
    }

    /// CUDA major, by the mapped runtimes, else by the mapped libcuptis.
    #[must_use]
    pub fn major(&self) -> Option<u32> {
        self.runtimes.iter().chain(&self.cuptis).find_map(|path| major(path))
    }

    /// The newest CUDA that the driver knows; `None` where its version is not known.
    fn newest(&self) -> Option<Release> {
        self.driver_version().and_then(Release::of_driver)
    }
}

/// The major in `libcudart.so.12`, `libcudart.so.12.4.127`, `libcupti.so.13`; none in a file with a year in its name.
fn major(path: &Path) -> Option<u32> {
    let (_, version) = path.file_name()?.to_str()?.split_once(".so.")?;
    version.split('.').next()?.parse().ok().filter(|major| *major < 2000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a process has that maps these.
    pub(super) fn cuda(paths: &[&str]) -> Cuda {
        let mut cuda = Cuda::default();
        for path in paths {
            cuda.take(Path::new(path), true);
        }
        cuda
    }

    #[test]
    fn a_pytorch_process_is_read_off_its_files() {
        let cuda = cuda(&[
            "/usr/lib/x86_64-linux-gnu/libcuda.so.535.161.08",
            "/env/lib/python3.12/site-packages/nvidia/cuda_runtime/lib/libcudart.so.12",
            "/env/lib/python3.12/site-packages/nvidia/cuda_cupti/lib/libcupti.so.12",
            "/env/lib/python3.12/site-packages/torch/lib/libtorch_cuda.so",
        ]);
        assert_eq!((cuda.driver_version(), cuda.major()), (Some("535.161.08"), Some(12)));
        assert_eq!(cuda.packages, [PathBuf::from("/env/lib/python3.12/site-packages")]);
        assert!(cuda.owners.is_empty() && !cuda.has_shim);
    }

    #[test]
    fn tools_that_own_cupti_and_the_shim_are_seen() {
        let cuda = cuda(&["/opt/nsys/libToolsInjection64.so", "/memfd:libgpu_agent_cupti.so"]);
        assert_eq!((cuda.owners.as_slice(), cuda.has_shim), (["Nsight Systems"].as_slice(), true));
    }

    #[test]
    fn a_page_of_the_loader_that_a_killed_agent_left_is_not_the_shim() {
        let mut cuda = Cuda::default();
        cuda.take(Path::new("/memfd:libgpu_agent_cupti.so"), false);
        assert!(!cuda.has_shim);
    }

    #[test]
    fn a_stand_in_without_versions_has_none() {
        let cuda = cuda(&["/sim/libcuda.so.1"]);
        assert_eq!((cuda.driver_version(), cuda.major()), (None, None));
    }
}
