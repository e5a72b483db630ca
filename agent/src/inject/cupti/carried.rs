//! A libcupti that the agent brings along, for a process that has none.
//!
//! Enters: what CUDA the process has, a folder of the agent's own. Leaves: the copy to load, or why there is none. Refuses: a copy
//! of another processor or CUDA major, one that may be newer than the driver (it would fail there: hpctoolkit#375), one whose
//! release nothing tells.
//!
//! The folder is the administrator's, and may be laid out as NVIDIA ships it: an unpacked wheel
//! (`nvidia/cuda_cupti/lib/libcupti.so.12` beside `nvidia_cuda_cupti_cu12-12.4.127.dist-info`), a toolkit
//! (`cuda-12.4/extras/CUPTI/lib64/libcupti.so.2024.1.1`), or the bare files, each by any of its names.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::release::{FUNCTIONS, Release};
use super::{Cuda, major};
use crate::root::Root;
use crate::symbols::{Cache, Image, Machine, Pattern};

/// Deepest folder below the agent's own that is looked into: `site-packages` of an environment.
const MOST_DEPTH: u32 = 8;
/// Most files and folders below it that are looked at.
const MOST_ENTRIES: usize = 10_000;

/// A copy that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// As the agent sees it.
    pub path: PathBuf,
    /// Its release, or where only its functions tell, the newest that it can be.
    pub release: Release,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum NotCarried {
    /// The folder cannot be looked into.
    #[error("the agent's folder of libcuptis {folder} cannot be read: {source}")]
    Folder {
        /// Which.
        folder: String,
        /// Why.
        source: io::Error,
    },
    /// It has none.
    #[error("there is no libcupti for this processor in the agent's folder {folder}")]
    None {
        /// Which.
        folder: String,
    },
    /// Which would fit is not known.
    #[error(
        "neither the driver's file nor a CUDA runtime tells which CUDA the process has, so that none of the agent's libcuptis can be chosen"
    )]
    UnknownCuda,
    /// None of them fits.
    #[error("none of the agent's libcuptis ({found}) is {wanted}; put such a one into {folder}")]
    Unfit {
        /// Those that there are.
        found: String,
        /// What would do.
        wanted: String,
        /// Where.
        folder: String,
    },
}

/// The newest libcupti below `folder` for a process with this CUDA: of its major, and not newer than its driver. It is for a
/// process without [candidates](Cuda::candidates) of its own.
///
/// # Errors
/// See [`NotCarried`].
pub fn carried(cuda: &Cuda, folder: &Path, machine: Machine) -> Result<Carried, NotCarried> {
    let shown = || folder.display().to_string();
    let copies = copies(folder, machine).map_err(|source| NotCarried::Folder { folder: shown(), source })?;
    if copies.is_empty() {
        return Err(NotCarried::None { folder: shown() });
    }
    let (major, newest) = (cuda.major(), cuda.newest());
    if major.is_none() && newest.is_none() {
        return Err(NotCarried::UnknownCuda);
    }
    choose(&copies, major, newest).cloned().ok_or_else(|| NotCarried::Unfit {
        found: copies.iter().map(|copy| copy.release.to_string()).collect::<Vec<_>>().join(", "),
        wanted: wanted(major, newest),
        folder: shown(),
    })
}

/// By what is known of the process: its CUDA major, the newest release that its driver knows.
fn choose(copies: &[Carried], major: Option<u32>, newest: Option<Release>) -> Option<&Carried> {
    let fits = |copy: &&Carried| {
        major.is_none_or(|major| copy.release.major == major)
            && newest.is_none_or(|newest| copy.release <= newest)
    };
    copies.iter().filter(fits).max_by_key(|copy| copy.release)
}

fn wanted(major: Option<u32>, newest: Option<Release>) -> String {
    match (major, newest) {
        (Some(major), Some(newest)) => format!("of CUDA {major} and no newer than the driver's {newest}"),
        (Some(major), None) => format!("of CUDA {major}"),
        (None, Some(newest)) => format!("no newer than the driver's {newest}"),
        (None, None) => "known to fit".to_owned(),
    }
}

/// Every libcupti below `folder` whose release is known, each file once, in the order of their paths.
fn copies(folder: &Path, machine: Machine) -> io::Result<Vec<Carried>> {
    let root = Root::open(Path::new("/"))?;
    let mut files = BTreeMap::new();
    let mut left = MOST_ENTRIES;
    walk(&folder.canonicalize()?, MOST_DEPTH, &mut left, &mut files)?;
    Ok(files.into_iter().filter_map(|(path, major)| copy(&root, path, major, machine)).collect())
}

/// Adds the libcuptis in `folder` and below, with the major that one of their names has. A folder further down that cannot be read
/// is passed over.
fn walk(
    folder: &Path,
    depth: u32,
    left: &mut usize,
    files: &mut BTreeMap<PathBuf, Option<u32>>,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)?.flatten() {
        if *left == 0 {
            break;
        }
        *left -= 1;
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if depth > 0 {
                let _ = walk(&path, depth - 1, left, files);
            }
        } else if entry.file_name().as_encoded_bytes().starts_with(b"libcupti.so")
            && let Ok(file) = path.canonicalize()
        {
            // All names of one file but one are links to it.
            let known = files.entry(file).or_default();
            *known = known.or(major(&path));
        }
    }
    Ok(())
}

fn copy(root: &Root, path: PathBuf, major: Option<u32>, machine: Machine) -> Option<Carried> {
    let image = Image::open(&path, path.display().to_string()).ok()?;
    if image.machine() != machine {
        return None;
    }
    let release = Release::of_cupti(root, &path).or_else(|| by_functions(&image, major?))?;
    Some(Carried { path, release })
}

/// By the functions that it exports; `None` for a library that is no CUPTI, whatever its name.
fn by_functions(image: &Image, major: u32) -> Option<Release> {
    let names = FUNCTIONS.iter().map(|(name, _)| *name).chain(["cuptiGetVersion"]);
    let patterns: Vec<Pattern> = names.map(|name| Pattern::Exact(name.to_owned())).collect();
    let answers = image.lookup(&Cache::disabled(), &patterns).ok()?;
    let found: Vec<bool> =
        answers.iter().map(|answer| answer.as_ref().is_ok_and(|found| !found.is_empty())).collect();
    let (is_cupti, has) = found.split_last()?;
    is_cupti.then(|| Release::at_most(major, has.try_into().ok()?)).flatten()
}

#[cfg(test)]
mod tests;
