//! Where shared libraries lie, on a host or in a process's root.
//!
//! Enters: a [`Root`], names. Leaves: paths as they are in that root. Refuses: what the root refuses, and to open a library.

use core::cmp::Reverse;
use std::path::{Path, PathBuf};

use crate::root::Root;

/// Where Debian, Fedora, their relatives and NVIDIA's container toolkit put libraries.
const FOLDERS: [&str; 7] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/lib64",
    "/usr/local/nvidia/lib64",
    "/usr/local/lib",
];
/// Where a toolkit has its libcupti.
const IN_TOOLKIT: [&str; 2] = ["extras/CUPTI/lib64", "lib64"];

/// A toolkit: its version, where its name has one, and its folders of libraries.
pub(crate) type Toolkit = (Option<(u32, u32)>, [PathBuf; 2]);

/// The library of this name, in one of the usual folders.
pub(crate) fn find(root: &Root, name: &str) -> Option<PathBuf> {
    FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| root.has_file(path))
}

/// The toolkits in `/usr/local`, the newest first; those without a version in their name last.
pub(crate) fn toolkits(root: &Root) -> Vec<Toolkit> {
    let local = Path::new("/usr/local");
    let names = root.names(local).into_iter().filter(|name| name.starts_with("cuda"));
    let toolkit = |name: String| {
        let version = name.strip_prefix("cuda-").and_then(|version| version.split_once('.'));
        let version = version.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        (version, IN_TOOLKIT.map(|folder| local.join(&name).join(folder)))
    };
    let mut toolkits: Vec<Toolkit> = names.map(toolkit).collect();
    toolkits.sort_by_key(|(version, _)| Reverse(*version));
    toolkits
}

/// Every libcupti of a toolkit in `/usr/local`.
pub(crate) fn cupti_in_toolkits(root: &Root) -> Vec<PathBuf> {
    let folders = toolkits(root).into_iter().flat_map(|(_, folders)| folders);
    folders
        .flat_map(|folder| {
            let sonames = root.names(&folder).into_iter().filter(|name| is_soname(name));
            sonames.map(|name| folder.join(name)).filter(|path| root.has_file(path)).collect::<Vec<_>>()
        })
        .collect()
}

/// Where NVIDIA's wheels of CUDA 12 and 13 have their libcupti, below `site-packages`.
pub(crate) fn in_packages(packages: &Path) -> [PathBuf; 2] {
    ["nvidia/cuda_cupti/lib", "nvidia/cu13/lib"].map(|folder| packages.join(folder))
}

/// Version of an installed Python package, by the name of the folder that pip keeps about it.
pub(crate) fn package_version(root: &Root, packages: &Path, package: &str) -> Option<String> {
    root.names(packages).into_iter().find_map(|name| {
        let version = name.strip_prefix(package)?.strip_prefix('-')?.strip_suffix(".dist-info")?;
        Some(version.to_owned())
    })
}

/// `libcupti.so.12` and its like; not the file with a year in its name that it is a link to.
fn is_soname(name: &str) -> bool {
    name.strip_prefix("libcupti.so.").is_some_and(|version| !version.starts_with("20"))
}
