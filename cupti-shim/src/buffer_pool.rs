//! Activity buffers: what CUPTI is given when it asks for one, and gets back when it is done.
//!
//! Enters: requests and completions, on whatever thread CUPTI makes them: often the one that launches a kernel.
//! Leaves: 8-byte aligned buffers of one size. Refuses: to wait, to lock, to call malloc; a buffer that is not its own
//! (another profiler's, left over in CUPTI), or that comes back twice; more buffers than [`LIMIT`].
//!
//! Buffers lie in chunks that are mapped when they are first needed and never unmapped, so that a late completion
//! always finds its memory. A buffer is known by its number; it is in one of three states:
//!
//! ```text
//!  free ── take ──► with CUPTI ── complete ──► completed ── release ──► free
//! ```
//!
//! The free list and the queue of completed buffers are stacks of numbers, linked through one table, each with a tag
//! in its head that changes with each operation, so that a compare-and-swap cannot mistake an old head for a new one.
//!
//! CUPTI below API version 27 may crash when it is refused a buffer (kineto found this), so [`BOUND`] holds from 27 on
//! only; below, up to [`LIMIT`] are handed out.
#![allow(unsafe_code, reason = "mmap and madvise of buffers that C writes to")]

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// Size of a buffer, bytes: about 290 kernel records. Not more, because CUPTI 13 keeps one for each thread, and
/// because CUPTI fills each with zeros first, on the thread that launches.
pub const BUFFER_BYTES: usize = 64 * 1024;
/// Buffers that are expected to suffice; those beyond are counted as extra.
pub const POOL: usize = CHUNK;
/// Most buffers where CUPTI can stand a refusal: 128 MiB of address space.
pub const BOUND: usize = 2048;
/// Most buffers at all: 256 MiB of address space.
pub const LIMIT: usize = CHUNKS * CHUNK;

/// Buffers mapped together.
const CHUNK: usize = 16;
const CHUNKS: usize = 256;
const CHUNK_BYTES: usize = CHUNK * BUFFER_BYTES;

const FREE: u8 = 0;
const WITH_CUPTI: u8 = 1;
const COMPLETED: u8 = 2;

/// A buffer's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer(u32);

/// A buffer that was just taken for CUPTI.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// Its memory, [`BUFFER_BYTES`] long.
    pub memory: NonNull<u8>,
    /// Whether it is a new one beyond [`POOL`].
    pub extra: bool,
}

/// All buffers of the process.
#[derive(Debug)]
pub struct Pool {
    chunks: [AtomicPtr<u8>; CHUNKS],
    entries: [Entry; LIMIT],
    /// Buffers ever used: the next new one's number.
    used: AtomicUsize,
    /// Buffers with CUPTI.
    outstanding: AtomicUsize,
    free: Stack,
    completed: Stack,
}

#[derive(Debug)]
struct Entry {
    /// Number + 1 of the next one in the same stack; 0 at its end.
    next: AtomicU32,
    /// Bytes of records in a completed buffer.
    valid_bytes: AtomicU32,
    state: AtomicU8,
}

/// Low half: number + 1 of the top, 0 if empty. High half: the tag.
#[derive(Debug)]
struct Stack(AtomicU64);

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}

impl Pool {
    /// No buffer is mapped yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            chunks: [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS],
            entries: [const {
                Entry { next: AtomicU32::new(0), valid_bytes: AtomicU32::new(0), state: AtomicU8::new(FREE) }
            }; LIMIT],
            used: AtomicUsize::new(0),
            outstanding: AtomicUsize::new(0),
            free: Stack(AtomicU64::new(0)),
            completed: Stack(AtomicU64::new(0)),
        }
    }

    /// A buffer for CUPTI; `None` beyond [`BOUND`] if CUPTI can stand that, beyond [`LIMIT`], or without memory.
    pub fn take(&self, may_refuse: bool) -> Option<Taken> {
        let (buffer, extra) = match self.free.pop(&self.entries) {
            Some(buffer) => (buffer, false),
            None => {
                let limit = if may_refuse { BOUND } else { LIMIT };
                let number = self
                    .used
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                        (used < limit).then_some(used + 1)
                    })
                    .ok()?;
                (Buffer(u32::try_from(number).ok()?), number >= POOL)
            }
        };
        let Some(memory) = self.memory(buffer, true) else {
            self.free.push(&self.entries, buffer);
            return None;
        };
        self.entry(buffer)?.state.store(WITH_CUPTI, Ordering::Relaxed);
        self.outstanding.fetch_add(1, Ordering::Relaxed);
        Some(Taken { memory, extra })
    }

    /// Queues a buffer that CUPTI gave back with `valid_bytes` bytes of records; `false` if it is not one that CUPTI
    /// has from here.
    pub fn complete(&self, memory: *const u8, valid_bytes: usize) -> bool {
        let Some(buffer) = self.find(memory) else { return false };
        let Some(entry) = self.entry(buffer) else { return false };
        let with_cupti =
            entry.state.compare_exchange(WITH_CUPTI, COMPLETED, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if with_cupti {
            entry.valid_bytes.store(valid_bytes.min(BUFFER_BYTES) as u32, Ordering::Relaxed);
            self.outstanding.fetch_sub(1, Ordering::Relaxed);
            self.completed.push(&self.entries, buffer);
        }
        with_cupti
    }

    /// Takes all queued buffers, newest first, and hands each to `sink`, which has to [`Self::release`] it some time.
    pub fn take_completed(&self, mut sink: impl FnMut(Buffer)) {
        let mut next = self.completed.take_all();
        while let Some(buffer) = next {
            // Before the sink may put the buffer into another list.
            next = self.entry(buffer).and_then(|entry| Stack::number(entry.next.load(Ordering::Relaxed)));
            sink(buffer);
        }
    }

    /// Whether any buffer is queued.
    #[must_use]
    pub fn has_completed(&self) -> bool {
        Stack::number(self.completed.0.load(Ordering::SeqCst) as u32).is_some()
    }

    /// The records in a completed buffer.
    #[must_use]
    pub fn records(&self, buffer: Buffer) -> &[u8] {
        let valid_bytes = self.entry(buffer).map_or(0, |entry| entry.valid_bytes.load(Ordering::Relaxed));
        match self.memory(buffer, false) {
            // SAFETY: mapped for good; CUPTI gave the buffer back, so nobody writes to it until it is released, which
            // its holder does after its last look.
            Some(memory) => unsafe { core::slice::from_raw_parts(memory.as_ptr(), valid_bytes as usize) },
            None => &[],
        }
    }

    /// Makes a completed buffer free again.
    pub fn release(&self, buffer: Buffer) {
        if let Some(entry) = self.entry(buffer) {
            entry.state.store(FREE, Ordering::Relaxed);
            self.free.push(&self.entries, buffer);
        }
    }

    /// Buffers that are with CUPTI.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// Gives the memory of all free buffers back to the system; they stay usable.
    pub fn trim(&self) {
        let kept = Stack(AtomicU64::new(0));
        while let Some(buffer) = self.free.pop(&self.entries) {
            if let Some(memory) = self.memory(buffer, false) {
                // SAFETY: the buffer is in no list and not with CUPTI, so its content is nobody's.
                let _ = unsafe { madvise(memory.as_ptr().cast(), BUFFER_BYTES, Advice::LinuxDontNeed) };
            }
            kept.push(&self.entries, buffer);
        }
        while let Some(buffer) = kept.pop(&self.entries) {
            self.free.push(&self.entries, buffer);
        }
    }

    fn entry(&self, buffer: Buffer) -> Option<&Entry> {
        self.entries.get(buffer.0 as usize)
    }

    /// The buffer's memory; maps its chunk if `map` says so.
    fn memory(&self, buffer: Buffer, map: bool) -> Option<NonNull<u8>> {
        let number = buffer.0 as usize;
        let chunk = self.chunks.get(number / CHUNK)?;
        let base = match NonNull::new(chunk.load(Ordering::Acquire)) {
            Some(base) => base,
            None if map => map_chunk(chunk)?,
            None => return None,
        };
        // SAFETY: within the chunk.
        Some(unsafe { base.add(number % CHUNK * BUFFER_BYTES) })
    }

    fn find(&self, memory: *const u8) -> Option<Buffer> {
        let chunks = self.used.load(Ordering::Acquire).div_ceil(CHUNK);
        for (chunk, base) in self.chunks.iter().take(chunks).enumerate() {
            let base = base.load(Ordering::Acquire);
            let offset = memory.addr().wrapping_sub(base.addr());
            if !base.is_null() && offset < CHUNK_BYTES {
                let whole = offset.is_multiple_of(BUFFER_BYTES);
                return whole.then_some(Buffer((chunk * CHUNK + offset / BUFFER_BYTES) as u32));
            }
        }
        None
    }
}

/// Maps a chunk, unless another thread was faster.
fn map_chunk(chunk: &AtomicPtr<u8>) -> Option<NonNull<u8>> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a fresh anonymous mapping at an address of Linux's choice.
    let base =
        unsafe { mmap_anonymous(ptr::null_mut(), CHUNK_BYTES, ProtFlags::READ | ProtFlags::WRITE, flags) }
            .ok()?;
    match chunk.compare_exchange(ptr::null_mut(), base.cast(), Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => NonNull::new(base.cast()),
        Err(winner) => {
            // SAFETY: our own mapping, which nobody else has seen.
            let _ = unsafe { munmap(base, CHUNK_BYTES) };
            NonNull::new(winner)
        }
    }
}

impl Stack {
    fn number(link: u32) -> Option<Buffer> {
        link.checked_sub(1).map(Buffer)
    }

    fn head(old: u64, link: u32) -> u64 {
        ((old >> 32).wrapping_add(1) << 32) | u64::from(link)
    }

    fn push(&self, entries: &[Entry], buffer: Buffer) {
        let Some(entry) = entries.get(buffer.0 as usize) else { return };
        let mut old = self.0.load(Ordering::Relaxed);
        loop {
            entry.next.store(old as u32, Ordering::Relaxed);
            let new = Self::head(old, buffer.0 + 1);
            match self.0.compare_exchange_weak(old, new, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return,
                Err(current) => old = current,
            }
        }
    }

    fn pop(&self, entries: &[Entry]) -> Option<Buffer> {
        let mut old = self.0.load(Ordering::Acquire);
        loop {
            let top = Self::number(old as u32)?;
            let next = entries.get(top.0 as usize)?.next.load(Ordering::Relaxed);
            match self.0.compare_exchange_weak(
                old,
                Self::head(old, next),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(top),
                Err(current) => old = current,
            }
        }
    }

    /// Empties the stack; the buffers stay linked to each other.
    fn take_all(&self) -> Option<Buffer> {
        let mut old = self.0.load(Ordering::Acquire);
        loop {
            match self.0.compare_exchange_weak(old, Self::head(old, 0), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Self::number(old as u32),
                Err(current) => old = current,
            }
        }
    }
}

#[cfg(test)]
mod tests;
