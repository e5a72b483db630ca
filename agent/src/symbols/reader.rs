//! The bytes of one file that a hostile process may own.
//!
//! Enters: a path. Leaves: bytes, by positioned reads: a mapping of a file that shrinks would end this process with SIGBUS.
//! Refuses: what is no regular file (a FIFO would block, a device might do anything), reads past [`Reader::size_bytes`].

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags};

use super::Problem;
use crate::root::Root;

const NS_PER_S: i128 = 1_000_000_000;

/// A file, or a part of one that was unpacked into memory.
#[derive(Debug)]
pub(super) struct Reader {
    bytes: Bytes,
    size_bytes: u64,
}

#[derive(Debug)]
enum Bytes {
    File(File, Inode),
    Memory(Arc<[u8]>),
}

/// Which file, and in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inode {
    pub(super) device: u64,
    pub(super) number: u64,
    pub(super) size_bytes: u64,
    /// Time of the last change of content.
    pub(super) modified_unix_ns: i128,
    /// Time of the last change of anything, which no owner can set.
    pub(super) changed_unix_ns: i128,
}

impl Reader {
    /// Opens a regular file.
    pub(super) fn open(path: &Path) -> Result<Self, Problem> {
        let place = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        Self::open_place(&place.map_err(|error| Problem::Open { source: error.into() })?)
    }

    /// Opens a regular file by its path in another root, whose links lead nowhere else.
    pub(super) fn open_under(root: &Path, path: &Path) -> Result<Self, Problem> {
        let place = Root::open(root).and_then(|root| root.place(path));
        Self::open_place(&place.map_err(|source| Problem::Open { source })?)
    }

    /// What it is, is asked before it is opened for reading: that alone can block, or have effects.
    fn open_place(place: &OwnedFd) -> Result<Self, Problem> {
        let failed = |error: rustix::io::Errno| Problem::Open { source: error.into() };
        let kind = FileType::from_raw_mode(rustix::fs::fstat(place).map_err(failed)?.st_mode);
        if kind != FileType::RegularFile {
            return Err(Problem::NotRegular { kind });
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let file = rustix::fs::open(format!("/proc/self/fd/{}", place.as_raw_fd()), flags, Mode::empty());
        let file = File::from(file.map_err(failed)?);
        let metadata = file.metadata().map_err(|source| Problem::Open { source })?;
        let inode = Inode {
            device: metadata.dev(),
            number: metadata.ino(),
            size_bytes: metadata.len(),
            modified_unix_ns: i128::from(metadata.mtime()) * NS_PER_S + i128::from(metadata.mtime_nsec()),
            changed_unix_ns: i128::from(metadata.ctime()) * NS_PER_S + i128::from(metadata.ctime_nsec()),
        };
        Ok(Self { size_bytes: inode.size_bytes, bytes: Bytes::File(file, inode) })
    }

    /// Bytes in memory.
    pub(super) fn memory(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self { size_bytes: bytes.len() as u64, bytes: Bytes::Memory(bytes) }
    }

    /// Which file it is; `None` for bytes in memory.
    pub(super) fn inode(&self) -> Option<&Inode> {
        match &self.bytes {
            Bytes::File(_, inode) => Some(inode),
            Bytes::Memory(_) => None,
        }
    }

    /// Size when it was opened.
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Fills `buffer` from `offset` on, all of it.
    pub(super) fn fill(&self, offset: u64, buffer: &mut [u8], what: &'static str) -> Result<(), Problem> {
        let wanted_bytes = buffer.len() as u64;
        let truncated = || Problem::Truncated { what, offset, wanted_bytes, size_bytes: self.size_bytes };
        let end = offset.checked_add(wanted_bytes).filter(|end| *end <= self.size_bytes);
        let end = end.ok_or_else(truncated)?;
        match &self.bytes {
            Bytes::File(file, _) => {
                file.read_exact_at(buffer, offset).map_err(|source| match source.kind() {
                    io::ErrorKind::UnexpectedEof => truncated(),
                    _ => Problem::Read { what, offset, source },
                })
            }
            Bytes::Memory(bytes) => {
                let range = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
                let part = range.and_then(|(start, end)| bytes.get(start..end)).ok_or_else(truncated)?;
                buffer.copy_from_slice(part);
                Ok(())
            }
        }
    }

    /// `size_bytes` bytes from `offset` on, if they are no more than `limit_bytes`.
    pub(super) fn read(
        &self,
        offset: u64,
        size_bytes: u64,
        limit_bytes: u64,
        what: &'static str,
    ) -> Result<Vec<u8>, Problem> {
        if size_bytes > limit_bytes {
            return Err(Problem::TooLarge { what, found: size_bytes, limit: limit_bytes });
        }
        // Before any memory is set aside: a header that lies about sizes costs nothing.
        if offset.checked_add(size_bytes).is_none_or(|end| end > self.size_bytes) {
            return Err(Problem::Truncated {
                what,
                offset,
                wanted_bytes: size_bytes,
                size_bytes: self.size_bytes,
            });
        }
        let mut bytes = vec![0; usize::try_from(size_bytes).unwrap_or(usize::MAX)];
        self.fill(offset, &mut bytes, what)?;
        Ok(bytes)
    }
}
