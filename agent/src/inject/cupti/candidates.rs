//! The libcuptis in a process's root, in the order in which the shim tries them (its module `locate`).
//!
//! Enters: what CUDA the process has, its root. Leaves: [`Candidate`]s. Refuses: a CUDA major that is newer than the driver; to know what
//! `LD_LIBRARY_PATH` adds.
//!
//! | step | where |
//! |---|---|
//! | 1 | loaded already |
//! | 2 | beside its CUDA runtime; in the `nvidia` packages of its Python environment |
//! | 3 | beside its driver |
//! | 4 | in a toolkit, the newest first that is no newer than the driver |
//! | 5 | what the agent carries ([`super::carried`]) |
//!
//! In each step, all places are tried for the CUDA major of a mapped libcudart first, then for the newest.

use std::path::{Path, PathBuf};

use super::release::{Release, is_before_12_6};
use super::{Cuda, major};
use crate::event::Pid;
use crate::inject::libraries;
use crate::root::Root;

/// Names of libcuptis by CUDA major, the newest first.
const SONAMES: [(u32, &str); 3] = [(13, "libcupti.so.13"), (12, "libcupti.so.12"), (11, "libcupti.so.11.8")];

/// A folder, and what it is called.
type Folder = (PathBuf, &'static str);

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
    /// The libcuptis of `pid`; none but those that are loaded where its root may not be looked into.
    #[must_use]
    pub fn candidates(&self, pid: Pid) -> Vec<Candidate> {
        match Root::open(&PathBuf::from(format!("/proc/{pid}/root"))) {
            Ok(root) => self.candidates_in(&root),
            Err(_) => self.loaded(|_| None).collect(),
        }
    }

    fn candidates_in(&self, root: &Root) -> Vec<Candidate> {
        let mut list: Vec<Candidate> = self.loaded(|path| is_before_12_6(root, path)).collect();
        for step in self.steps(root) {
            for (soname, (folder, place)) in
                self.sonames().flat_map(|soname| step.iter().map(move |folder| (soname, folder)))
            {
                let path = folder.join(soname);
                if list.iter().all(|known| known.path != path) && root.has_file(&path) {
                    let is_before_12_6 = is_before_12_6(root, &path);
                    list.push(Candidate { path, place, is_before_12_6 });
                }
            }
        }
        list
    }

    fn loaded(&self, is_before: impl Fn(&Path) -> Option<bool>) -> impl Iterator<Item = Candidate> {
        self.cuptis.iter().map(move |path| Candidate {
            path: path.clone(),
            place: "loaded",
            is_before_12_6: is_before(path),
        })
    }

    /// The folders of each step but the first and the last.
    fn steps(&self, root: &Root) -> [Vec<Folder>; 3] {
        let runtime = self.runtimes.iter().flat_map(|runtime| folders_near(runtime));
        let packages = self.packages.iter().flat_map(|packages| libraries::in_packages(packages));
        let driver = self.driver.iter().filter_map(|driver| driver.parent().map(Path::to_path_buf));
        let newest = self.newest();
        let is_older = |toolkit: &Option<(u32, u32)>| match (*toolkit, newest) {
            (Some((major, minor)), Some(newest)) => Release { major, minor } <= newest,
            _ => true,
        };
        let toolkits = libraries::toolkits(root).into_iter().filter(|(version, _)| is_older(version));
        let near =
            called("beside its CUDA runtime", runtime).chain(called("in its Python environment", packages));
        [
            near.collect(),
            called("beside its CUDA driver", driver).collect(),
            called("in a toolkit", toolkits.flat_map(|(_, folders)| folders)).collect(),
        ]
    }

    /// Those that are no newer than the driver: those of a mapped runtime's CUDA major first, else the newest.
    fn sonames(&self) -> impl Iterator<Item = &'static str> {
        let newest = self.newest().map_or(u32::MAX, |newest| newest.major);
        let majors: Vec<u32> = self.runtimes.iter().filter_map(|runtime| major(runtime)).collect();
        let mut sonames: Vec<_> = SONAMES.into_iter().filter(|(major, _)| *major <= newest).collect();
        sonames.sort_by_key(|(major, _)| !majors.contains(major));
        sonames.into_iter().map(|(_, soname)| soname)
    }
}

fn called(place: &'static str, folders: impl Iterator<Item = PathBuf>) -> impl Iterator<Item = Folder> {
    folders.map(move |folder| (folder, place))
}

/// Where the libcupti lies that belongs to a libcudart: beside it; in its toolkit, whose `lib64` is beside `extras`; and in the wheels of
/// CUDA 12, `nvidia/cuda_runtime/lib` beside `nvidia/cuda_cupti/lib`.
fn folders_near(runtime: &Path) -> Vec<PathBuf> {
    let Some(own) = runtime.parent() else { return Vec::new() };
    let mut folders = vec![own.to_path_buf()];
    folders.extend(own.parent().map(|toolkit| toolkit.join("extras/CUPTI/lib64")));
    folders.extend(own.parent().and_then(Path::parent).map(|nvidia| nvidia.join("cuda_cupti/lib")));
    folders
}

#[cfg(test)]
mod tests {
    use super::super::tests::cuda;
    use super::*;

    const PACKAGES: &str = "/env/lib/python3.12/site-packages";

    /// A root with these files.
    fn root(files: &[&str]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let root = Root::open(folder.path()).unwrap();
        (folder, root)
    }

    fn found(mapped: &[&str], root: &Root) -> Vec<(String, &'static str)> {
        let list = cuda(mapped).candidates_in(root);
        list.into_iter().map(|found| (found.path.display().to_string(), found.place)).collect()
    }

    #[test]
    fn candidates_have_the_order_of_the_table() {
        let torch = format!("{PACKAGES}/torch/lib/libtorch_cuda.so");
        let wheel = format!("{PACKAGES}/nvidia/cuda_cupti/lib/libcupti.so.12");
        let files = [
            "/usr/lib/libcupti.so.12",
            &wheel,
            "/usr/local/cuda-12.2/extras/CUPTI/lib64/libcupti.so.12",
            "/usr/local/cuda-12.4/extras/CUPTI/lib64/libcupti.so.12",
            "/opt/cuda/lib64/libcupti.so.12",
        ];
        let (_folder, root) = root(&files);
        let mapped = [
            "/x/libcupti.so.2024.1.1",
            "/opt/cuda/lib64/libcudart.so.12",
            &torch,
            "/usr/lib/libcuda.so.550.54.14",
        ];
        let expected = [
            ("/x/libcupti.so.2024.1.1", "loaded"),
            ("/opt/cuda/lib64/libcupti.so.12", "beside its CUDA runtime"),
            (&wheel, "in its Python environment"),
            ("/usr/lib/libcupti.so.12", "beside its CUDA driver"),
            ("/usr/local/cuda-12.4/extras/CUPTI/lib64/libcupti.so.12", "in a toolkit"),
            ("/usr/local/cuda-12.2/extras/CUPTI/lib64/libcupti.so.12", "in a toolkit"),
        ];
        assert_eq!(found(&mapped, &root), expected.map(|(path, place)| (path.to_owned(), place)));
    }

    #[test]
    fn nothing_newer_than_the_driver_is_a_candidate_but_what_is_loaded() {
        let files = [
            "/usr/lib/libcupti.so.13",
            "/usr/lib/libcupti.so.12",
            "/usr/local/cuda-12.8/lib64/libcupti.so.12",
            "/usr/local/cuda-13.0/lib64/libcupti.so.13",
        ];
        let (_folder, root) = root(&files);
        let paths = |driver: &str| {
            found(&["/x/libcupti.so.13", driver], &root).into_iter().map(|(path, _)| path).collect::<Vec<_>>()
        };
        assert_eq!(paths("/usr/lib/libcuda.so.550.54.14"), ["/x/libcupti.so.13", "/usr/lib/libcupti.so.12"]);
        assert_eq!(paths("/usr/lib/libcuda.so.580.65.06").len(), 5);
        assert_eq!(paths("/usr/lib/libcuda.so.1").len(), 5, "a driver that does not tell its version");
    }

    #[test]
    fn the_major_of_the_mapped_runtime_is_preferred_in_each_step() {
        let thirteen = format!("{PACKAGES}/nvidia/cu13/lib/libcupti.so.13");
        let twelve = format!("{PACKAGES}/nvidia/cuda_cupti/lib/libcupti.so.12");
        let (_folder, root) = root(&[&thirteen, &twelve]);
        let first = |runtimes: &[&str]| {
            let torch = format!("{PACKAGES}/torch/lib/libtorch_cuda.so");
            let mapped = [runtimes, &[torch.as_str(), "/usr/lib/libcuda.so.580.65.06"]].concat();
            let found = found(&mapped, &root);
            assert_eq!(found.len(), 2, "{found:?}");
            if found[0].0 == thirteen { 13 } else { 12 }
        };
        assert_eq!(first(&["/x/libcudart.so.12"]), 12);
        assert_eq!(first(&["/x/libcudart.so.12.4.127"]), 12);
        assert_eq!(first(&["/x/libcudart.so.13"]), 13);
        assert_eq!(first(&["/x/libcudart.so.12", "/x/libcudart.so.13"]), 13, "runtimes of both");
        assert_eq!(first(&["/x/libcudart.so.11.0"]), 13, "no libcupti of that major");
        assert_eq!(first(&[]), 13, "no runtime");
    }

    #[test]
    fn a_toolkits_cupti_is_found_from_its_runtime() {
        let (_folder, root) = root(&["/opt/cuda/extras/CUPTI/lib64/libcupti.so.12"]);
        let found = found(&["/opt/cuda/lib64/libcudart.so.12.4.127"], &root);
        assert_eq!(
            found,
            [("/opt/cuda/extras/CUPTI/lib64/libcupti.so.12".to_owned(), "beside its CUDA runtime")]
        );
    }

    #[test]
    fn what_is_no_file_inside_of_the_root_is_no_candidate() {
        let (folder, root) = root(&["/usr/lib/libcupti.so.2024.1.1"]);
        let lib = folder.path().join("usr/lib");
        let outside = tempfile::NamedTempFile::new().unwrap();
        let found = || found(&["/usr/lib/libcuda.so.550.54.14"], &root).len();
        for target in [outside.path(), Path::new("/nowhere"), Path::new("libcupti.so.12"), Path::new("/usr")]
        {
            std::os::unix::fs::symlink(target, lib.join("libcupti.so.12")).unwrap();
            assert_eq!(found(), 0, "{}", target.display());
            std::fs::remove_file(lib.join("libcupti.so.12")).unwrap();
        }
        std::os::unix::fs::symlink("/usr/lib/libcupti.so.2024.1.1", lib.join("libcupti.so.12")).unwrap();
        assert_eq!(found(), 1, "a link that stays inside");
    }
}
