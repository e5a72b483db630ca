//! Sealed memfds and their mappings: the one place of this crate that talks to the kernel about memory.
//!
//! Enters: sizes and file descriptors. Leaves: mappings that unmap themselves, and atomic access to their
//! words. Refuses: plain references into memory that another process can change.
#![allow(unsafe_code, reason = "mmap and raw pointers into shared memory")]

use core::ffi::c_void;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A shared mapping of a whole memfd.
#[derive(Debug)]
pub struct Map {
    base: NonNull<c_void>,
    bytes: usize,
    writable: bool,
}

// SAFETY: the mapping is plain shared memory, reached through atomics only; it belongs to no thread.
unsafe impl Send for Map {}
// SAFETY: as above: every access is atomic.
unsafe impl Sync for Map {}

impl Map {
    /// Creates a memfd of `bytes` zero bytes, maps it for writing and then seals it with `seals`.
    ///
    /// `vm.memfd_noexec` of Linux 6.3+ is honoured by asking for a non-executable memfd; older kernels do not
    /// know that flag and are asked again without it.
    pub fn create(name: &str, bytes: usize, seals: SealFlags) -> io::Result<(OwnedFd, Self)> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL).or_else(|error| {
            if error == rustix::io::Errno::INVAL { memfd_create(name, flags) } else { Err(error) }
        })?;
        ftruncate(&fd, bytes as u64)?;
        let map = Self::open(&fd, bytes, true)?;
        fcntl_add_seals(&fd, seals)?;
        Ok((fd, map))
    }

    /// Maps the first `bytes` bytes of `fd`; the caller has checked that the file has them and cannot shrink.
    pub fn open(fd: impl AsFd, bytes: usize, writable: bool) -> io::Result<Self> {
        let protection = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing.
        let base =
            unsafe { mmap(core::ptr::null_mut(), bytes, protection, MapFlags::SHARED, fd.as_fd(), 0) }?;
        let base = NonNull::new(base).ok_or_else(|| io::Error::other("mmap returned address 0"))?;
        Ok(Self { base, bytes, writable })
    }

    /// Size, bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether the mapping is empty; the kernel makes no such mapping.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The start of the mapping, for the writer's own plain stores.
    pub(crate) fn base(&self) -> *mut u8 {
        self.base.as_ptr().cast()
    }

    /// The struct at offset 0, if the mapping is large enough for it.
    ///
    /// `T` must consist of atomics (and padding that nobody reads): shared memory changes at any time.
    pub(crate) fn header<T>(&self) -> Option<&T> {
        if size_of::<T>() > self.bytes || align_of::<T>() > 4096 {
            return None;
        }
        // SAFETY: in bounds, page-aligned, and made of atomics, whose interior may change under a shared
        // reference. A read-only map is only ever loaded from, which `Reader` alone does.
        Some(unsafe { self.base.cast::<T>().as_ref() })
    }

    /// Reads the 64-bit word at byte offset `offset`, if it lies in the mapping and is aligned.
    #[inline]
    pub fn load(&self, offset: usize, ordering: Ordering) -> Option<u64> {
        if !offset.is_multiple_of(8) || offset.checked_add(8)? > self.bytes {
            return None;
        }
        // SAFETY: in bounds and aligned; atomic, so a concurrent writer is no data race.
        let word = unsafe { &*self.base.as_ptr().cast::<u8>().add(offset).cast::<AtomicU64>() };
        Some(word.load(ordering))
    }

    /// Whether the mapping may be written.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Keeps the mapping out of children made by `fork`.
    pub fn dont_fork(&self) -> io::Result<()> {
        // SAFETY: advice on the very range that this value owns; it changes no content.
        unsafe { rustix::mm::madvise(self.base.as_ptr(), self.bytes, rustix::mm::Advice::LinuxDontFork) }?;
        Ok(())
    }

    /// Has Linux make all pages now, for writing, rather than one by one when each is first written (Linux 5.14).
    pub fn populate(&self) -> io::Result<()> {
        // SAFETY: as above.
        unsafe {
            rustix::mm::madvise(self.base.as_ptr(), self.bytes, rustix::mm::Advice::LinuxPopulateWrite)
        }?;
        Ok(())
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `open`, and nothing borrows it any longer.
        let _ = unsafe { munmap(self.base.as_ptr(), self.bytes) };
    }
}
