//! The bytes of one file that a hostile process may own.
//!
//! Enters: a path. Leaves: bytes, by positioned reads: a mapping of a file that shrinks would end this process with SIGBUS.
//! Refuses: what is no regular file (a FIFO would block, a device might do anything), reads past [`Reader::size_bytes`].

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::Problem;

/// A file.
#[derive(Debug)]
pub(super) struct Reader {
    file: File,
    size_bytes: u64,
}

impl Reader {
    /// Opens a regular file. What it is, is asked before it is opened for reading: that alone can block, or have effects.
    pub(super) fn open(path: &Path) -> Result<Self, Problem> {
        let failed = |error: rustix::io::Errno| Problem::Open { source: error.into() };
        let place = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&place).map_err(failed)?.st_mode);
        if kind != rustix::fs::FileType::RegularFile {
            return Err(Problem::NotRegular { kind });
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let file = rustix::fs::open(format!("/proc/self/fd/{}", place.as_raw_fd()), flags, Mode::empty());
        let file = File::from(file.map_err(failed)?);
        let metadata = file.metadata().map_err(|source| Problem::Open { source })?;
        Ok(Self { size_bytes: metadata.len(), file })
    }

    /// Fills `buffer` from `offset` on, all of it.
    pub(super) fn fill(&self, offset: u64, buffer: &mut [u8], what: &'static str) -> Result<(), Problem> {
        let wanted_bytes = buffer.len() as u64;
        let truncated = || Problem::Truncated { what, offset, wanted_bytes, size_bytes: self.size_bytes };
        if offset.checked_add(wanted_bytes).is_none_or(|end| end > self.size_bytes) {
            return Err(truncated());
        }
        self.file.read_exact_at(buffer, offset).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => truncated(),
            _ => Problem::Read { what, offset, source },
        })
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
