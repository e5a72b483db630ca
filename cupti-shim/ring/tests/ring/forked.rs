//! Child processes by `fork`.
//!
//! Enters: a function that neither allocates nor locks (the child of a process with threads may do neither).
//! Leaves: its exit status. Refuses: to leave a child behind: a dropped one is killed and reaped.

use core::ptr::NonNull;
use core::sync::atomic::AtomicU64;

/// A forked child.
pub(crate) struct Child(libc::pid_t);

impl Child {
    /// Runs `body` in a child; what it returns is the exit status.
    pub(crate) fn spawn(body: impl FnOnce() -> i32) -> Self {
        // SAFETY: the child runs `body`, which only touches memory that exists already, and leaves by `_exit`.
        match unsafe { libc::fork() } {
            -1 => panic!("fork: {}", std::io::Error::last_os_error()),
            0 => {
                let status = body();
                // SAFETY: ends this process without running anything of the parent's.
                unsafe { libc::_exit(status) }
            }
            pid => Self(pid),
        }
    }

    /// Waits for the child's own end, and gives its exit status; -1 if a signal ended it.
    pub(crate) fn join(self) -> i32 {
        let status = self.reap();
        core::mem::forget(self);
        if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -1 }
    }

    /// Ends the child wherever it is.
    pub(crate) fn kill(self) {
        drop(self);
    }

    fn reap(&self) -> i32 {
        let mut status = 0;
        // SAFETY: waits for a child that this value owns.
        unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        status
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: the pid is that of a child not yet reaped.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
        self.reap();
    }
}

/// Words that a process shares with the children it forks afterwards.
pub(crate) struct SharedWords(NonNull<AtomicU64>);

impl SharedWords {
    pub(crate) const COUNT: usize = 512;

    pub(crate) fn new() -> Self {
        // SAFETY: a fresh anonymous mapping of one page.
        let base = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                Self::COUNT * 8,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(base, libc::MAP_FAILED);
        Self(NonNull::new(base.cast()).unwrap())
    }

    pub(crate) fn get(&self, index: usize) -> &AtomicU64 {
        assert!(index < Self::COUNT);
        // SAFETY: in bounds of the page, aligned, zeroed by Linux.
        unsafe { self.0.add(index).as_ref() }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new`.
        unsafe { libc::munmap(self.0.as_ptr().cast(), Self::COUNT * 8) };
    }
}
