//! The files whose code a process can execute.
//!
//! Enters: a pid. Leaves: its executable mappings, by file, each with a path that opens the very file: it may be deleted, a
//! memfd, or in a mount namespace where its path means another. Refuses: to open any; more files than [`MAX_FILES`].
//!
//! A pid alone is no process for long: whoever asks holds an [`identity`](crate::identity), and looks after the answer whether
//! that process still lives.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::fstat;

use crate::event::Pid;
use crate::maps::{self, Mapping};
use crate::root::Root;

use super::{Image, ImageError, Problem};

/// Most files of one process.
pub const MAX_FILES: usize = 4096;
/// Most executable mappings of one file.
const MAX_RANGES: usize = 256;

/// Why the mappings of a process are not known.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// Its maps cannot be read.
    #[error("cannot read {path}: {source}")]
    Maps {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It maps more files than are looked at.
    #[error("{path} names more than {MAX_FILES} files with code")]
    TooMany {
        /// The file.
        path: String,
    },
}

/// A file whose code a process can execute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    /// Opens the very file, if the agent may.
    pub path: PathBuf,
    /// Its path as the process sees it, for people.
    pub shown: Arc<str>,
    /// The root of the process, in which that path and its debug file lie.
    pub root: PathBuf,
    /// Where byte 0 of the file would lie, by the first of [`ranges`](Self::ranges).
    pub load_bias: u64,
    /// Its executable mappings.
    pub ranges: Vec<Range>,
    /// Device of the file, major and minor, as the mapping has it.
    pub device: (u32, u32),
    /// Inode of the file.
    pub inode: u64,
    /// It has no path any more.
    pub is_deleted: bool,
    /// It never had one.
    pub is_memfd: bool,
    /// Its first byte is mapped too, as by who loads it as a whole.
    pub has_start: bool,
}

/// One mapping of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub start: u64,
    /// The address after the last.
    pub end: u64,
    /// Where in the file it starts.
    pub offset: u64,
}

impl Mapped {
    /// Opens it, and makes sure that it is the very file: a path in the process's root may mean another by now.
    pub fn open(&self) -> Result<Image, ImageError> {
        let image = Image::open_under(&self.path, Arc::clone(&self.shown), &self.root)?;
        if self.path.starts_with(&self.root) && !image.is_inode(self.inode, self.device) {
            return Err(Problem::Replaced.of(&self.shown));
        }
        Ok(image)
    }

    /// The address of a byte of the file, if it is in an executable mapping.
    #[must_use]
    pub fn address_of(&self, file_offset: u64) -> Option<u64> {
        self.ranges.iter().find_map(|range| {
            let address = range.start.checked_add(file_offset.checked_sub(range.offset)?)?;
            (address < range.end).then_some(address)
        })
    }
}

/// The files whose code `pid` can execute, in the order of their addresses.
pub fn mapped(pid: Pid) -> Result<Vec<Mapped>, ProcessError> {
    let path = format!("/proc/{pid}/maps");
    let failed = |source| ProcessError::Maps { path: path.clone(), source };
    let text = BufReader::new(File::open(&path).map_err(failed)?);
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    let files = collect(text, &root, |mapping| open_path(pid, &root, mapping)).map_err(failed)?;
    files.ok_or_else(|| ProcessError::TooMany { path: path.clone() })
}

/// `None` if there are too many.
fn collect(
    text: impl io::BufRead,
    root: &Path,
    path: impl Fn(&Mapping<'_>) -> PathBuf,
) -> io::Result<Option<Vec<Mapped>>> {
    let mut files: Vec<Mapped> = Vec::new();
    let mut is_full = false;
    // The parts of a library lie side by side, its first bytes before its code.
    let mut start = None;
    maps::for_each(text, |mapping| {
        let identity = Some((mapping.inode, mapping.device));
        if mapping.offset == 0 {
            start = identity;
        }
        if !mapping.executable || mapping.inode == 0 || mapping.start >= mapping.end {
            return;
        }
        let range = Range { start: mapping.start, end: mapping.end, offset: mapping.offset };
        let same = |file: &&mut Mapped| file.inode == mapping.inode && file.device == mapping.device;
        if let Some(known) = files.iter_mut().find(same) {
            known.has_start |= start == identity;
            if known.ranges.len() < MAX_RANGES {
                known.ranges.push(range);
            }
        } else if files.len() == MAX_FILES {
            is_full = true;
        } else {
            files.push(Mapped {
                path: path(&mapping),
                shown: String::from_utf8_lossy(mapping.path).into(),
                root: root.to_owned(),
                load_bias: mapping.start.wrapping_sub(mapping.offset),
                ranges: vec![range],
                device: mapping.device,
                inode: mapping.inode,
                is_deleted: mapping.path.ends_with(b" (deleted)"),
                is_memfd: mapping.path.starts_with(b"/memfd:"),
                has_start: start == identity,
            });
        }
    })?;
    Ok((!is_full).then_some(files))
}

/// A path that opens the file of a mapping.
fn open_path(pid: Pid, root: &Path, mapping: &Mapping<'_>) -> PathBuf {
    // By the mapping itself: needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN (Linux 5.9).
    let exact = PathBuf::from(format!("/proc/{pid}/map_files/{}", mapping.entry_name()));
    if exact.metadata().is_ok() {
        return exact;
    }
    // By its path, as the process sees it, if that still means the same file.
    let path = Path::new(OsStr::from_bytes(mapping.path.strip_prefix(b"/").unwrap_or(mapping.path)));
    let seen = root.join(path);
    let place = Root::open(root).and_then(|root| Ok(fstat(root.place(path)?)?));
    let is_same = place.is_ok_and(|place| {
        let device = (rustix::fs::major(place.st_dev), rustix::fs::minor(place.st_dev));
        place.st_ino == mapping.inode && device == mapping.device
    });
    // If not, whoever opens the first is told why that cannot be.
    if is_same { seen } else { exact }
}
