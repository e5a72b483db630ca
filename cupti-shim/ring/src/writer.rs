//! The writing side: one writer at a time, never waiting.
//!
//! Enters: records and names. Leaves: published slots. Refuses: a second concurrent writer (the type is not
//! `Clone`, and pushing needs `&mut`), and to fail once it was created.
#![allow(unsafe_code, reason = "plain stores into the ring's own mapping")]

use core::ffi::c_char;
use core::sync::atomic::{AtomicU64, Ordering, fence};
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::SealFlags;
use rustix::time::{ClockId, clock_gettime};

use crate::layout::{
    FORMAT_VERSION, Header, MAX_NAME_BYTES, MAX_RING_BYTES, PAGE_BYTES, RING_MAGIC, RING_NAME, SLOT_BYTES,
};
use crate::map::Map;
use crate::names::{Names, Region};
use crate::record::{Payload, Record};

/// Size of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Number of slots, a power of two.
    pub slots: u32,
    /// Size of the names region, bytes; a multiple of 4096.
    pub names_bytes: u32,
}

impl Default for Geometry {
    /// 65,536 slots (6 MiB: 0.3 s at 200 k records/s) and 1 MiB of names.
    fn default() -> Self {
        Self { slots: 1 << 16, names_bytes: 1 << 20 }
    }
}

/// Why a ring could not be created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The geometry is not a power of two, not page-aligned, or too large.
    #[error(
        "ring geometry {0:?} is invalid: slots must be a power of two, names a multiple of 4096, the sum below 1 GiB"
    )]
    Geometry(Geometry),
    /// memfd_create, ftruncate, mmap or sealing failed.
    #[error("cannot create the shared memory of the ring: {0}")]
    Memory(#[from] io::Error),
}

/// What a ring says of its process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Identity {
    /// Random id that ties the ring to its control page.
    pub ring_id: u64,
    /// Pid in the process's own namespace.
    pub pid: u32,
    /// Start time, clock ticks since boot.
    pub start_time_ticks: u64,
    /// Whether the device is simulated.
    pub simulated: bool,
}

/// The writer of one ring.
#[derive(Debug)]
pub struct Writer {
    region: NamesRegion,
    names: Names,
    slots: *mut AtomicU64,
    mask: u64,
    head: u64,
    /// `None` once it was taken.
    fd: Option<OwnedFd>,
}

// SAFETY: the raw pointer leads into the writer's own mapping, which is not tied to a thread.
unsafe impl Send for Writer {}

#[derive(Debug)]
struct NamesRegion {
    map: Map,
    offset: usize,
    bytes: usize,
    len: usize,
}

impl Writer {
    /// Creates, maps, fills in and seals a ring.
    pub fn create(geometry: Geometry, identity: Identity) -> Result<Self, CreateError> {
        let names = geometry.names_bytes as usize;
        let bytes = PAGE_BYTES + names + geometry.slots as usize * SLOT_BYTES;
        let valid = geometry.slots.is_power_of_two()
            && names >= PAGE_BYTES
            && names.is_multiple_of(PAGE_BYTES)
            && bytes as u64 <= MAX_RING_BYTES;
        if !valid {
            return Err(CreateError::Geometry(geometry));
        }
        // FUTURE_WRITE needs Linux 5.1. It protects the writer; the reader insists on SHRINK and GROW only.
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL;
        let (fd, map) = Map::create(RING_NAME, bytes, seals)?;
        let slots_offset = PAGE_BYTES + names;
        if let Some(header) = map.header::<Header>() {
            let relaxed = Ordering::Relaxed;
            header.version.store(FORMAT_VERSION, relaxed);
            header.flags.store(if identity.simulated { crate::layout::flags::SIMULATED } else { 0 }, relaxed);
            header.file_bytes.store(bytes as u64, relaxed);
            header.names_offset.store(PAGE_BYTES as u64, relaxed);
            header.names_bytes.store(names as u64, relaxed);
            header.slots_offset.store(slots_offset as u64, relaxed);
            header.slot_bytes.store(SLOT_BYTES as u32, relaxed);
            header.slot_count.store(geometry.slots, relaxed);
            header.ring_id.store(identity.ring_id, relaxed);
            header.pid.store(identity.pid, relaxed);
            header.start_time_ticks.store(identity.start_time_ticks, relaxed);
            header.anchor_mono_ns.store(now_ns(ClockId::Monotonic), relaxed);
            header.anchor_unix_ns.store(now_ns(ClockId::Realtime), relaxed);
            header.names_len.store(8, relaxed);
            header.magic.store(RING_MAGIC, Ordering::Release);
        }
        // SAFETY: the slots begin inside the mapping, at a multiple of 4096 from its page-aligned start.
        let slots = unsafe { map.base().add(slots_offset) }.cast();
        let region = NamesRegion { map, offset: PAGE_BYTES, bytes: names, len: 8 };
        Ok(Self {
            region,
            names: Names::new(),
            slots,
            mask: u64::from(geometry.slots) - 1,
            head: 0,
            fd: Some(fd),
        })
    }

    /// Publishes one record; the oldest makes room if need be.
    #[inline]
    pub fn push(&mut self, record: &impl Record) {
        self.push_payload(&record.to_payload());
    }

    /// Publishes one payload.
    #[inline]
    pub fn push_payload(&mut self, payload: &Payload) {
        let index = (self.head & self.mask) as usize * (SLOT_BYTES / 8);
        // SAFETY: `index` is below slots × words a slot, so all 12 words lie in the mapping.
        let slot = unsafe { self.slots.add(index) };
        // SAFETY: as above; each word is only ever touched by atomics.
        let word = |number: usize| unsafe { &*slot.add(number) };
        word(0).store(0, Ordering::Relaxed);
        // The payload's stores must not be seen before the sequence word was cleared.
        fence(Ordering::Release);
        for (number, value) in payload.iter().enumerate() {
            word(number + 1).store(*value, Ordering::Relaxed);
        }
        self.head += 1;
        word(0).store(self.head, Ordering::Release);
        if let Some(header) = self.header() {
            header.head.store(self.head, Ordering::Release);
        }
    }

    /// Id of the C string at `name`; 0 if it is null or the names region is full.
    ///
    /// # Safety
    /// `name` is null or points to a NUL-terminated string that stays valid during the call.
    #[inline]
    pub unsafe fn intern(&mut self, name: *const c_char) -> u32 {
        // SAFETY: the caller's promise is handed on.
        unsafe { self.names.intern(name, &mut self.region) }
    }

    /// Id of `text`; 0 if the names region is full.
    pub fn intern_text(&mut self, text: &str) -> u32 {
        self.names.intern_text(text.as_bytes(), &mut self.region)
    }

    /// Records written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.head
    }

    /// Tells readers which CUPTI (`cuptiGetVersion`) and which driver (`cuDriverGetVersion`) feed the ring.
    pub fn set_versions(&self, cupti: u32, driver: u32) {
        if let Some(header) = self.header() {
            header.cupti_version.store(cupti, Ordering::Relaxed);
            header.driver_version.store(driver, Ordering::Relaxed);
        }
    }

    /// Has Linux make the ring's pages now; until then an untouched ring is address space only. Without it the first
    /// time around the ring costs a page fault every 42 records. Fails before Linux 5.14, which harms nothing.
    pub fn populate(&self) -> io::Result<()> {
        self.region.map.populate()
    }

    /// Keeps the ring out of children made by `fork`: a child that touched it would be a second writer.
    pub fn dont_fork(&self) -> io::Result<()> {
        self.region.map.dont_fork()
    }

    /// The ring's file, unless it was taken.
    #[must_use]
    pub fn file(&self) -> Option<&OwnedFd> {
        self.fd.as_ref()
    }

    /// Gives the ring's file away; the mapping stays.
    pub fn take_file(&mut self) -> Option<OwnedFd> {
        self.fd.take()
    }

    #[inline]
    fn header(&self) -> Option<&Header> {
        self.region.map.header()
    }
}

impl Region for NamesRegion {
    fn stored(&self, id: u32) -> Option<*const c_char> {
        let offset = id as usize * 8 + 8;
        if id == 0 || offset >= self.len {
            return None;
        }
        // SAFETY: inside the names region, which the check above and `append` guarantee.
        Some(unsafe { self.map.base().add(self.offset + offset) }.cast())
    }

    fn append(&mut self, name: &[u8]) -> Option<u32> {
        debug_assert!(name.len() <= MAX_NAME_BYTES);
        // One NUL at least, so that `stored` can be compared as a C string.
        let padded = (name.len() + 1).next_multiple_of(8);
        let end = self.len.checked_add(8 + padded)?;
        if end > self.bytes {
            return None;
        }
        let id = u32::try_from(self.len / 8).ok()?;
        // SAFETY: `len + 8 + padded <= bytes`, the region lies in the mapping, and readers look at it only
        // once `names_len` covers it; the bytes were zero before, so the padding is zero.
        unsafe {
            let entry = self.map.base().add(self.offset + self.len);
            entry.cast::<u32>().write(name.len() as u32);
            entry.add(8).copy_from_nonoverlapping(name.as_ptr(), name.len());
        }
        self.len = end;
        if let Some(header) = self.map.header::<Header>() {
            header.names_len.store(end as u64, Ordering::Release);
        }
        Some(id)
    }
}

fn now_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
