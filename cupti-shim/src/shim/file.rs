//! A file whose descriptor the program can see, and may have closed.
//!
//! Enters: a file that was just made. Leaves: its descriptor, closed when it is no longer needed. Refuses: to close a number
//! that the program has given to a file of its own.

use core::sync::atomic::{AtomicI32, Ordering};
use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd};

/// A descriptor, and what it led to when it was made: the program may have closed it, and given the number to another
/// file, like any number of its own.
#[derive(Debug)]
pub(super) struct File {
    /// -1 once it was closed.
    descriptor: AtomicI32,
    device: u64,
    inode: u64,
}

impl File {
    /// Keeps the descriptor of a file that was just made.
    pub(super) fn keep(file: Option<OwnedFd>) -> std::io::Result<Self> {
        let file = file.ok_or(rustix::io::Errno::BADF)?;
        let status = rustix::fs::fstat(&file)?;
        let (device, inode) = (status.st_dev, status.st_ino);
        Ok(Self { descriptor: AtomicI32::new(file.into_raw_fd()), device, inode })
    }

    /// Closes the descriptor, unless its number is another file's now. Does only what is allowed between `fork` and `exec`.
    #[allow(unsafe_code, reason = "a number, because the program may have closed it")]
    pub(super) fn close(&self) {
        let descriptor = self.descriptor.swap(-1, Ordering::AcqRel);
        if descriptor < 0 {
            return;
        }
        // SAFETY: only borrowed for the call below; a closed number gives an error.
        let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
        let same = rustix::fs::fstat(borrowed)
            .is_ok_and(|status| (status.st_dev, status.st_ino) == (self.device, self.inode));
        if same {
            // SAFETY: it leads to the file of which this value owns the descriptor, in a child its copy.
            unsafe { libc::close(descriptor) };
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.close();
    }
}
