//! What CUDA a process has, and which libcupti the shim would use there, by the names of files.
//!
//! Enters: mapped files, folders in the process's root. Leaves: driver, runtimes, libcuptis, other profilers. Refuses: to open
//! any of them: a name says less than a file, but cannot do harm.

use std::path::{Path, PathBuf};

use super::libraries;
use crate::event::Pid;
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
            cuda.take(Path::new(file.shown.trim_end_matches(" (deleted)")));
        }
        cuda
    }

    fn take(&mut self, path: &Path) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return };
        if name.starts_with("libcuda.so") {
            self.driver = Some(path.to_path_buf());
        } else if name.starts_with("libcudart.so") {
            self.runtimes.push(path.to_path_buf());
        } else if name.starts_with("libcupti.so") {
            self.cuptis.push(path.to_path_buf());
        } else if name.trim_start_matches("memfd:").starts_with("libgpu_agent_cupti") {
            self.has_shim = true;
        } else if let Some((_, owner)) = OWNERS.iter().find(|(start, _)| name.starts_with(start)) {
            self.owners.push(owner);
        }
        let packages = path
            .ancestors()
            .find(|folder| folder.ends_with("site-packages") || folder.ends_with("dist-packages"));
        if let Some(packages) =
            packages.filter(|packages| !self.packages.iter().any(|known| known == packages))
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
}

/// A libcupti that the shim may use, and why it is looked at there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// As the process sees it.
    pub path: PathBuf,
    /// Where that is, in words.
    pub place: &'static str,
    /// Older than 12.6, with which CUDA graphs that exist already are dangerous (pytorch#75504, #112507); `None` where neither
    /// its name nor its surroundings say.
    pub is_before_12_6: Option<bool>,
}

impl Cuda {
    /// The libcuptis of `pid`, in the order in which the shim tries them (its module `locate`).
    #[must_use]
    pub fn candidates(&self, pid: Pid) -> Vec<Candidate> {
        self.candidates_in(&PathBuf::from(format!("/proc/{pid}/root")))
    }

    fn candidates_in(&self, root: &Path) -> Vec<Candidate> {
        let beside = self.runtimes.iter().chain(&self.driver).filter_map(|path| beside(root, path));
        let packages = self.packages.iter().flat_map(|packages| libraries::cupti_in_packages(root, packages));
        let loaded = self.cuptis.iter().cloned().map(|path| (path, "loaded"));
        let others = beside
            .map(|path| (path, "beside its CUDA libraries"))
            .chain(packages.map(|path| (path, "in its Python environment")))
            .chain(libraries::cupti_in_toolkits(root).into_iter().map(|path| (path, "in a toolkit")))
            .filter(|(path, _)| major(path).is_none_or(|major| major <= self.newest_major()));
        let mut list: Vec<Candidate> = Vec::new();
        for (path, place) in loaded.chain(others) {
            if list.iter().all(|known| known.path != path) {
                let is_before_12_6 = is_before_12_6(root, &path);
                list.push(Candidate { path, place, is_before_12_6 });
            }
        }
        list
    }

    /// The newest CUDA that the driver knows, by its branch (CUDA compatibility guide); all where that is not known.
    fn newest_major(&self) -> u32 {
        let branch = self.driver_version().and_then(|version| version.split('.').next()?.parse::<u32>().ok());
        match branch {
            Some(..525) => 11,
            Some(525..580) => 12,
            Some(580..) | None => u32::MAX,
        }
    }
}

/// A libcupti in the folder of a CUDA library.
fn beside(root: &Path, library: &Path) -> Option<PathBuf> {
    let folder = library.parent()?;
    let inside = folder.strip_prefix("/").ok()?;
    let there = |name: &&&str| root.join(inside).join(name).symlink_metadata().is_ok();
    ["libcupti.so.13", "libcupti.so.12", "libcupti.so.11.8"].iter().find(there).map(|name| folder.join(name))
}

/// The major in `libcudart.so.12`, `libcudart.so.12.4.127`, `libcupti.so.13`; none in a file with a year in its name.
fn major(path: &Path) -> Option<u32> {
    let (_, version) = path.file_name()?.to_str()?.split_once(".so.")?;
    version.split('.').next()?.parse().ok().filter(|major| *major < 2000)
}

/// By the year in its name, the version of its toolkit, or that of its Python package.
fn is_before_12_6(root: &Path, cupti: &Path) -> Option<bool> {
    let numbers = |text: &str| {
        let mut parts = text.split(['.', '/']).map_while(|part| part.parse::<u32>().ok());
        Some((parts.next()?, parts.next()?))
    };
    let is_old = |version: Option<(u32, u32)>| version.map(|version| version < (12, 6));
    // 12.6 has 2024.3.
    let year = cupti.file_name()?.to_str()?.strip_prefix("libcupti.so.").and_then(numbers);
    if let Some(year) = year.filter(|(year, _)| *year >= 2000) {
        return Some(year < (2024, 3));
    }
    if major(cupti).is_some_and(|major| major > 12) {
        return Some(false);
    }
    if let Some((_, toolkit)) = cupti.to_str()?.split_once("/cuda-") {
        return is_old(numbers(toolkit));
    }
    let packages = cupti.ancestors().find(|folder| folder.ends_with("site-packages"))?;
    is_old(libraries::package_version(root, packages, "nvidia_cuda_cupti_cu12").as_deref().and_then(numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuda(paths: &[&str]) -> Cuda {
        let mut cuda = Cuda::default();
        for path in paths {
            cuda.take(Path::new(path));
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
    fn an_old_cupti_is_known_by_its_year_or_its_toolkit() {
        let nowhere = Path::new("/nonexistent");
        let is_old = |path| is_before_12_6(nowhere, Path::new(path));
        assert_eq!(is_old("/x/libcupti.so.2024.1.1"), Some(true));
        assert_eq!(is_old("/x/libcupti.so.2024.3.2"), Some(false));
        assert_eq!(is_old("/x/libcupti.so.2025.1"), Some(false));
        assert_eq!(is_old("/usr/local/cuda-12.4/extras/CUPTI/lib64/libcupti.so.12"), Some(true));
        assert_eq!(is_old("/usr/local/cuda-13.0/lib64/libcupti.so.13"), Some(false));
        assert_eq!(is_old("/site-packages/nvidia/cuda_cupti/lib/libcupti.so.12"), None);
    }

    #[test]
    fn candidates_have_the_shims_order_and_are_no_newer_than_the_driver() {
        let root = tempfile::tempdir().unwrap();
        let packages = "env/lib/python3.12/site-packages";
        for file in [
            "usr/lib/libcupti.so.12".to_owned(),
            format!("{packages}/nvidia/cuda_cupti/lib/libcupti.so.12"),
            format!("{packages}/nvidia/cu13/lib/libcupti.so.13"),
            format!("{packages}/nvidia_cuda_cupti_cu12-12.4.127.dist-info/METADATA"),
            "usr/local/cuda-12.8/extras/CUPTI/lib64/libcupti.so.12".to_owned(),
        ] {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = |driver: &str| {
            let paths = [driver, "/env/lib/python3.12/site-packages/torch/lib/libtorch_cuda.so"];
            let candidates = cuda(&paths).candidates_in(root.path());
            candidates.into_iter().map(|found| (found.place, found.is_before_12_6)).collect::<Vec<_>>()
        };
        let older = [
            ("beside its CUDA libraries", None),
            ("in its Python environment", Some(true)),
            ("in a toolkit", Some(false)),
        ];
        assert_eq!(found("/usr/lib/libcuda.so.550.54.14"), older);
        assert_eq!(found("/usr/lib/libcuda.so.580.65.06").len(), 4, "and that of CUDA 13");
    }

    #[test]
    fn a_stand_in_without_versions_has_none() {
        let cuda = cuda(&["/sim/libcuda.so.1"]);
        assert_eq!((cuda.driver_version(), cuda.major()), (None, None));
    }
}
