//! A sealed memfd that its maker can still write: what a hostile process has.
//!
//! Enters: a size and bytes. Leaves: a file that passes the checks of seals and size. Refuses: access out of bounds.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// The file and its maker's mapping.
pub(crate) struct SharedFile {
    pub(crate) file: OwnedFd,
    base: *mut AtomicU64,
    words: usize,
}

impl SharedFile {
    /// A file of `words` 64-bit words, all 0.
    pub(crate) fn new(words: usize) -> Self {
        let file = memfd_create("gpu-agent-ring", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&file, words as u64 * 8).unwrap();
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address of Linux's choice.
        let base = unsafe { mmap(core::ptr::null_mut(), words * 8, protection, MapFlags::SHARED, &file, 0) }
            .unwrap();
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW).unwrap();
        Self { file, base: base.cast(), words }
    }

    pub(crate) fn words(&self) -> usize {
        self.words
    }

    /// Writes one word; out of bounds it wraps around.
    pub(crate) fn store(&self, word: usize, value: u64) {
        // SAFETY: in bounds of the mapping by the remainder, and aligned.
        unsafe { &*self.base.add(word % self.words) }.store(value, Ordering::Relaxed);
    }

    /// Writes all words.
    pub(crate) fn store_all(&self, words: &[u64]) {
        for (word, value) in words.iter().enumerate() {
            self.store(word, *value);
        }
    }
}

impl Drop for SharedFile {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new`, and nothing borrows it any longer.
        unsafe { munmap(self.base.cast(), self.words * 8) }.unwrap();
    }
}
