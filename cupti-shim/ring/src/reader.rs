//! The reading side: copies records out and counts exactly what it missed.
//!
//! Enters: a file descriptor of a ring that somebody else writes. Leaves: payloads in order, a loss count,
//! names. Refuses: files that are unsealed, cut short, too large, of another format or of another version; and
//! to believe anything in the mapping after it was checked once, save through bounds.

use core::sync::atomic::{Ordering, fence};
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{SealFlags, fcntl_get_seals, fstat, fstatfs};

use crate::layout::{
    FORMAT_VERSION, Header, MAX_NAME_BYTES, MAX_RING_BYTES, PAGE_BYTES, PAYLOAD_WORDS, RING_MAGIC,
    SLOT_BYTES, flags,
};
use crate::map::Map;
use crate::record::Payload;

/// Why a file is not a ring that can be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file could not be examined or mapped.
    #[error("cannot {operation} the ring: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Its seals do not keep it from shrinking.
    #[error(
        "the ring is not sealed against a change of size (seals {found:#x}); its process may not be running a gpu-agent shim"
    )]
    Unsealed {
        /// The seals it has, as `F_GET_SEALS` gives them.
        found: u32,
    },
    /// Not a memfd in ordinary memory: huge pages, for one, can be taken away under a reader.
    #[error(
        "the ring lies in a file system of type {found:#x} instead of shared memory (tmpfs, {TMPFS_MAGIC:#x})"
    )]
    FileSystem {
        /// `f_type` of `fstatfs`.
        found: u64,
    },
    /// Too small for a header, or larger than a ring may be.
    #[error("the ring has {bytes} bytes; between {PAGE_BYTES} and {MAX_RING_BYTES} are possible")]
    Size {
        /// Its size, bytes.
        bytes: u64,
    },
    /// The first 8 bytes are not the ring's magic.
    #[error("the ring begins with {found:#018x} instead of the magic {RING_MAGIC:#018x}")]
    Magic {
        /// What was there.
        found: u64,
    },
    /// The shim speaks another version of the format.
    #[error(
        "the ring has format version {found}, this agent reads version {FORMAT_VERSION}; use the shim that came with this agent, or the agent that came with the shim"
    )]
    Version {
        /// The shim's version.
        found: u32,
    },
    /// A size or an offset in the header contradicts the file.
    #[error("the ring's header is inconsistent: {field} is {value}")]
    Header {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
}

/// `f_type` of tmpfs, where memfds live (linux/magic.h).
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// Makes sure that `fd` is a memfd in ordinary memory whose size is fixed: a mapping of it cannot raise SIGBUS.
pub(crate) fn check_seals(fd: impl AsFd) -> Result<(), OpenError> {
    let io = |operation| move |error: rustix::io::Errno| OpenError::Io { operation, source: error.into() };
    let seals = fcntl_get_seals(&fd).map_err(io("read the seals of"))?;
    if !seals.contains(SealFlags::SHRINK | SealFlags::GROW) {
        return Err(OpenError::Unsealed { found: seals.bits() });
    }
    let found = fstatfs(&fd).map_err(io("find the file system of"))?.f_type as u64;
    if found == TMPFS_MAGIC { Ok(()) } else { Err(OpenError::FileSystem { found }) }
}

/// What the header says of the writer, copied once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writer {
    /// Random id; the control page carries the same.
    pub ring_id: u64,
    /// Pid in the process's own namespace.
    pub pid: u32,
    /// Start time of the process, clock ticks since boot.
    pub start_time_ticks: u64,
    /// Whether the device is simulated.
    pub simulated: bool,
    /// Clock anchor, CLOCK_MONOTONIC nanoseconds.
    pub anchor_mono_ns: u64,
    /// Clock anchor, CLOCK_REALTIME nanoseconds.
    pub anchor_unix_ns: u64,
}

/// What one call of [`Reader::poll`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Records handed to the sink.
    pub read: u64,
    /// Records overwritten (or made unreadable) before they could be copied.
    pub lost: u64,
    /// Records known to wait in the ring after the call.
    pub pending: u64,
}

/// A reader of one ring.
#[derive(Debug)]
pub struct Reader {
    map: Map,
    writer: Writer,
    names_offset: usize,
    names_bytes: usize,
    slots_offset: usize,
    slot_count: u64,
    position: u64,
}

impl Reader {
    /// Checks and maps the ring behind `fd`, positioned at record 0.
    pub fn open(fd: impl AsFd) -> Result<Self, OpenError> {
        let io =
            |operation| move |error: rustix::io::Errno| OpenError::Io { operation, source: error.into() };
        check_seals(&fd)?;
        let bytes = u64::try_from(fstat(&fd).map_err(io("stat"))?.st_size).unwrap_or(0);
        if bytes < PAGE_BYTES as u64 || bytes > MAX_RING_BYTES {
            return Err(OpenError::Size { bytes });
        }
        let map = Map::open(&fd, bytes as usize, false)
            .map_err(|source| OpenError::Io { operation: "map", source })?;
        Self::check(map, bytes)
    }

    fn check(map: Map, bytes: u64) -> Result<Self, OpenError> {
        let header = map.header::<Header>().ok_or(OpenError::Size { bytes })?;
        let magic = header.magic.load(Ordering::Acquire);
        if magic != RING_MAGIC {
            return Err(OpenError::Magic { found: magic });
        }
        let version = header.version.load(Ordering::Relaxed);
        if version != FORMAT_VERSION {
            return Err(OpenError::Version { found: version });
        }
        let expect = |field, value: u64, right: bool| {
            if right { Ok(value as usize) } else { Err(OpenError::Header { field, value }) }
        };
        let file_bytes = header.file_bytes.load(Ordering::Relaxed);
        expect("file size", file_bytes, file_bytes == bytes)?;
        let slot_bytes = u64::from(header.slot_bytes.load(Ordering::Relaxed));
        expect("slot size", slot_bytes, slot_bytes == SLOT_BYTES as u64)?;
        let slot_count = u64::from(header.slot_count.load(Ordering::Relaxed));
        expect("slot count", slot_count, slot_count.is_power_of_two())?;
        let names_offset = header.names_offset.load(Ordering::Relaxed);
        let names_offset = expect(
            "names offset",
            names_offset,
            names_offset.is_multiple_of(8) && names_offset >= PAGE_BYTES as u64,
        )?;
        let names_bytes = header.names_bytes.load(Ordering::Relaxed);
        let slots_offset = header.slots_offset.load(Ordering::Relaxed);
        let names_end = (names_offset as u64).checked_add(names_bytes);
        let names_bytes = expect(
            "names size",
            names_bytes,
            names_end.is_some_and(|end| end <= slots_offset && end <= bytes),
        )?;
        let slots_end = slots_offset.checked_add(slot_count * SLOT_BYTES as u64);
        let slots_offset = expect(
            "slots offset",
            slots_offset,
            slots_offset.is_multiple_of(8) && slots_end.is_some_and(|end| end <= bytes),
        )?;
        let writer = Writer {
            ring_id: header.ring_id.load(Ordering::Relaxed),
            pid: header.pid.load(Ordering::Relaxed),
            start_time_ticks: header.start_time_ticks.load(Ordering::Relaxed),
            simulated: header.flags.load(Ordering::Relaxed) & flags::SIMULATED != 0,
            anchor_mono_ns: header.anchor_mono_ns.load(Ordering::Relaxed),
            anchor_unix_ns: header.anchor_unix_ns.load(Ordering::Relaxed),
        };
        Ok(Self { writer, names_offset, names_bytes, slots_offset, slot_count, position: 0, map })
    }

    /// What the header says of the writer.
    #[must_use]
    pub fn writer(&self) -> Writer {
        self.writer
    }

    /// `(cuptiGetVersion, cuDriverGetVersion)`, 0 while unknown.
    #[must_use]
    pub fn versions(&self) -> (u32, u32) {
        self.map.header::<Header>().map_or((0, 0), |header| {
            (header.cupti_version.load(Ordering::Relaxed), header.driver_version.load(Ordering::Relaxed))
        })
    }

    /// Number of slots.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.slot_count
    }

    /// Records ever written, as the writer says.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.map.header::<Header>().map_or(0, |header| header.head.load(Ordering::Acquire))
    }

    /// Number of the next record to read.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Goes to record number `position`: [`Reader::head`] to see only what comes, or where an earlier reader
    /// stopped.
    pub fn seek(&mut self, position: u64) {
        self.position = position;
    }

    /// Hands up to `max` records to `sink`, oldest first, each with its number.
    ///
    /// Work is bounded by `max`, whatever the writer does. A head that went backwards is nothing new. `lost` is as
    /// large as a lying head makes it: sums of it must saturate.
    pub fn poll(&mut self, max: u64, mut sink: impl FnMut(u64, &Payload)) -> Progress {
        let mut head = self.head();
        let mut progress = Progress::default();
        if head < self.position {
            return progress;
        }
        progress.lost += self.skip_overwritten(head, 0);
        for _ in 0..max {
            if self.position >= head {
                break;
            }
            match self.copy(self.position) {
                Some(payload) => {
                    progress.read += 1;
                    sink(self.position, &payload);
                    self.position += 1;
                }
                None => {
                    progress.lost += 1;
                    self.position += 1;
                    // The writer is on the reader's heels: leave it an eighth of the ring as a lead.
                    head = self.head().max(head);
                    progress.lost += self.skip_overwritten(head, self.slot_count / 8);
                }
            }
        }
        progress.pending = head - self.position;
        progress
    }

    /// Passes over the records that the writer has overwritten; if there are any, over `lead` more.
    fn skip_overwritten(&mut self, head: u64, lead: u64) -> u64 {
        let overwritten = (head - self.position).saturating_sub(self.slot_count);
        let skip = if overwritten > 0 { overwritten + lead } else { 0 };
        self.position += skip;
        skip
    }

    /// A private copy of record `number`, if the slot still (and wholly) holds it.
    #[inline]
    fn copy(&self, number: u64) -> Option<Payload> {
        let slot = self.slots_offset + (number & (self.slot_count - 1)) as usize * SLOT_BYTES;
        if self.map.load(slot, Ordering::Acquire)? != number.wrapping_add(1) {
            return None;
        }
        let mut payload = [0; PAYLOAD_WORDS];
        for (word, value) in payload.iter_mut().enumerate() {
            *value = self.map.load(slot + 8 + word * 8, Ordering::Relaxed)?;
        }
        // The payload's loads must not move behind the second look at the sequence word.
        fence(Ordering::Acquire);
        (self.map.load(slot, Ordering::Relaxed)? == number.wrapping_add(1)).then_some(payload)
    }

    /// The name with id `id`; `None` for id 0 and for ids that lead nowhere.
    ///
    /// Invalid UTF-8 is replaced; the length is bounded by [`MAX_NAME_BYTES`].
    #[must_use]
    pub fn name(&self, id: u32) -> Option<String> {
        if id == 0 {
            return None;
        }
        let used = self.map.header::<Header>()?.names_len.load(Ordering::Acquire);
        let used = usize::try_from(used).ok()?.min(self.names_bytes);
        let entry = id as usize * 8;
        let text = entry.checked_add(8)?;
        if text > used {
            return None;
        }
        let length = (self.map.load(self.names_offset + entry, Ordering::Relaxed)? & 0xFFFF_FFFF) as usize;
        if length > MAX_NAME_BYTES || length > used - text {
            return None;
        }
        let mut bytes = Vec::with_capacity(length.next_multiple_of(8));
        for offset in (0..length).step_by(8) {
            let word = self.map.load(self.names_offset + text + offset, Ordering::Relaxed)?;
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.truncate(length);
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}
