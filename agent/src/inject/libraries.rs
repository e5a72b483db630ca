//! Where shared libraries lie, on a host or in a process's root.
//!
//! Enters: a root folder, names. Leaves: paths as they are in that root. Refuses: to leave the root by a link: what a link
//! leads to is not looked at, only that the name is there.

use std::fs;
use std::path::{Path, PathBuf};

/// Where Debian, Fedora, their relatives and NVIDIA's container toolkit put libraries.
const FOLDERS: [&str; 7] = [
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib64",
    "usr/lib",
    "lib64",
    "usr/local/nvidia/lib64",
    "usr/local/lib",
];
/// Where a toolkit has its libcupti.
const IN_TOOLKIT: [&str; 2] = ["extras/CUPTI/lib64", "lib64"];
/// Most entries of a folder that are looked at.
const MOST_ENTRIES: usize = 4096;

/// The library of this name, in one of the usual folders.
pub(crate) fn find(root: &Path, name: &str) -> Option<PathBuf> {
    let there = |folder: &&&str| root.join(folder).join(name).symlink_metadata().is_ok();
    FOLDERS.iter().find(there).map(|folder| Path::new("/").join(folder).join(name))
}

/// Every libcupti of a toolkit in `/usr/local`.
pub(crate) fn cupti_in_toolkits(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for toolkit in names(&root.join("usr/local")).into_iter().filter(|name| name.starts_with("cuda")) {
        for folder in IN_TOOLKIT {
            let folder = Path::new("usr/local").join(&toolkit).join(folder);
            let sonames = names(&root.join(&folder)).into_iter().filter(|name| is_soname(name));
            found.extend(sonames.map(|name| Path::new("/").join(&folder).join(name)));
        }
    }
    found
}

/// Every libcupti of a Python environment, whose `site-packages` this is.
pub(crate) fn cupti_in_packages(root: &Path, packages: &Path) -> Vec<PathBuf> {
    let inside = packages.strip_prefix("/").unwrap_or(packages);
    let mut found = Vec::new();
    for folder in ["nvidia/cuda_cupti/lib", "nvidia/cu13/lib"] {
        let sonames = names(&root.join(inside).join(folder)).into_iter().filter(|name| is_soname(name));
        found.extend(sonames.map(|name| packages.join(folder).join(name)));
    }
    found
}

/// Version of an installed Python package, by the name of the folder that pip keeps about it.
pub(crate) fn package_version(root: &Path, packages: &Path, package: &str) -> Option<String> {
    let inside = packages.strip_prefix("/").unwrap_or(packages);
    names(&root.join(inside)).into_iter().find_map(|name| {
        let version = name.strip_prefix(package)?.strip_prefix('-')?.strip_suffix(".dist-info")?;
        Some(version.to_owned())
    })
}

/// `libcupti.so.12` and its like; not the file with a year in its name that it is a link to.
fn is_soname(name: &str) -> bool {
    name.strip_prefix("libcupti.so.").is_some_and(|version| !version.starts_with("20"))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(MOST_ENTRIES);
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}
