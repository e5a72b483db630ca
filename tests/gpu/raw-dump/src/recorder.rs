//! In: completed buffers, already walked. Out: the bytes of a file, no more than a limit. Refuses: buffers beyond the
//! limit, which it counts; device UUIDs, which it overwrites with zeros.

use std::collections::HashMap;

use cupti_sys::record::Device;
use cupti_sys::{ActivityKind, Status};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{I32, U32, U64};

use crate::format::{
    BufferHead, EndEntry, FORCED, FileHead, KindAsked, KindEntry, LeftOut, MAGIC, RecordEntry, SIMULATED,
    SectionHead, VERSION, tag,
};

/// Fields of a device record that identify somebody's hardware.
const IDENTIFYING: &[&str] = &["uuid", "migUuid"];

/// What a recording begins with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Origin<'a> {
    /// Answer of `cuptiGetVersion`; 0 where it was not asked.
    pub cupti_version: u32,
    /// Answer of `cuDriverGetVersion`; 0 where it was not asked.
    pub driver_version: u32,
    /// Whether the device is simulated.
    pub simulated: bool,
    /// File name of libcupti without its folder.
    pub library: &'a str,
}

/// One completed buffer.
#[derive(Debug, Clone, Default)]
pub struct Delivery<'a> {
    /// `CUcontext` that CUPTI named.
    pub context: u64,
    /// When it was completed, ns of `CLOCK_MONOTONIC`.
    pub completed_ns: u64,
    /// Stream id that CUPTI named.
    pub stream_id: u32,
    /// Thread that CUPTI completed it on.
    pub thread_id: u32,
    /// Whether it came with the forced flush at exit.
    pub forced: bool,
    /// Bytes that CUPTI was given.
    pub size_bytes: u32,
    /// The bytes that CUPTI called valid.
    pub valid: &'a [u8],
    /// What `cuptiActivityGetNextRecord` found in them.
    pub records: Vec<RecordEntry>,
    /// Status with which it ended.
    pub walk_end: i32,
    /// Addresses in those records, and the texts behind them.
    pub names: Vec<(u64, String)>,
}

/// A recording in the making.
#[derive(Debug)]
pub struct Recorder {
    file: Vec<u8>,
    limit_bytes: usize,
    names: HashMap<u64, String>,
    full: bool,
    left_out: LeftOut,
}

impl Recorder {
    /// Least limit.
    pub const LEAST_LIMIT_BYTES: usize = 4_096;
    /// Bytes that the `END ` section takes.
    const END_BYTES: usize = size_of::<SectionHead>() + size_of::<EndEntry>();
    /// Bytes that buffers leave free for what may still be noted: the failures of the last flush, and the end.
    const RESERVED_BYTES: usize = 1_024;

    /// Begins a recording of at most `limit_bytes`, which are at least [`Self::LEAST_LIMIT_BYTES`].
    #[must_use]
    pub fn new(origin: &Origin<'_>, limit_bytes: usize) -> Self {
        let head = FileHead {
            magic: MAGIC,
            version: U32::new(VERSION),
            cupti_version: U32::new(origin.cupti_version),
            driver_version: U32::new(origin.driver_version),
            flags: U32::new(if origin.simulated { SIMULATED } else { 0 }),
        };
        let mut recorder = Self {
            file: head.as_bytes().to_vec(),
            limit_bytes: limit_bytes.max(Self::LEAST_LIMIT_BYTES),
            names: HashMap::new(),
            full: false,
            left_out: LeftOut::default(),
        };
        recorder.add(Self::END_BYTES, tag::LIBRARY, &[origin.library.as_bytes()]);
        recorder
    }

    /// Notes a kind that was asked for.
    pub fn kind(&mut self, asked: KindAsked) {
        let entry = KindEntry {
            kind: U32::new(asked.kind.0),
            status: I32::new(asked.status.0),
            dumped: U32::new(u32::from(asked.dumped)),
        };
        self.add(Self::END_BYTES, tag::KIND, &[entry.as_bytes()]);
    }

    /// Notes a step that failed.
    pub fn failure(&mut self, step: &str, status: Status) {
        self.add(Self::END_BYTES, tag::FAILURE, &[I32::new(status.0).as_bytes(), step.as_bytes()]);
    }

    /// Takes one buffer, or counts it where it, or one before it, does not fit: what is recorded has no gap.
    pub fn buffer(&mut self, delivery: &Delivery<'_>) {
        let before = self.file.len();
        let mut fits = !self.full;
        if fits {
            let new_names = self.new_names(delivery);
            fits = new_names.iter().all(|(address, text)| {
                self.add(Self::RESERVED_BYTES, tag::NAME, &[U64::new(*address).as_bytes(), text.as_bytes()])
            }) && self.add_buffer(delivery);
            if fits {
                self.names.extend(new_names);
            }
        }
        if !fits {
            self.file.truncate(before);
            self.full = true;
            self.count_left_out(delivery);
        }
    }

    /// Ends the recording: the bytes of the file. `dropped` is what CUPTI says that it lost.
    #[must_use]
    pub fn finish(mut self, dropped: u64) -> Vec<u8> {
        let entry = EndEntry {
            buffers: U64::new(self.left_out.buffers),
            bytes: U64::new(self.left_out.bytes),
            records: U64::new(self.left_out.records),
            api_records: U64::new(self.left_out.api_records),
            dropped: U64::new(dropped),
        };
        self.add(0, tag::END, &[entry.as_bytes()]);
        self.file
    }

    fn new_names(&self, delivery: &Delivery<'_>) -> HashMap<u64, String> {
        let changed = |(address, text): &&(u64, String)| self.names.get(address) != Some(text);
        delivery.names.iter().filter(changed).cloned().collect()
    }

    fn add_buffer(&mut self, delivery: &Delivery<'_>) -> bool {
        let (Ok(valid_bytes), Ok(records)) =
            (u32::try_from(delivery.valid.len()), u32::try_from(delivery.records.len()))
        else {
            return false;
        };
        let head = BufferHead {
            context: U64::new(delivery.context),
            completed_ns: U64::new(delivery.completed_ns),
            stream_id: U32::new(delivery.stream_id),
            thread_id: U32::new(delivery.thread_id),
            flags: U32::new(if delivery.forced { FORCED } else { 0 }),
            walk_end: I32::new(delivery.walk_end),
            size_bytes: U32::new(delivery.size_bytes),
            valid_bytes: U32::new(valid_bytes),
            records: U32::new(records),
            reserved: U32::ZERO,
        };
        let valid = without_identity(delivery);
        self.add(Self::RESERVED_BYTES, tag::BUFFER, &[head.as_bytes(), delivery.records.as_bytes(), &valid])
    }

    fn count_left_out(&mut self, delivery: &Delivery<'_>) {
        let api = |record: &&RecordEntry| {
            matches!(ActivityKind(record.kind.get()), ActivityKind::DRIVER | ActivityKind::RUNTIME)
        };
        self.left_out.buffers += 1;
        self.left_out.bytes += delivery.valid.len() as u64;
        self.left_out.records += delivery.records.len() as u64;
        self.left_out.api_records += delivery.records.iter().filter(api).count() as u64;
    }

    /// Adds a section, if that leaves `free_bytes` below the limit; whether it did.
    fn add(&mut self, free_bytes: usize, tag: [u8; 4], parts: &[&[u8]]) -> bool {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let taken = self.file.len() + size_of::<SectionHead>() + free_bytes;
        let room = self.limit_bytes.saturating_sub(taken);
        let Some(length) = u32::try_from(length).ok().filter(|_| length <= room) else { return false };
        self.file.extend(SectionHead { tag, length: U32::new(length) }.as_bytes());
        self.file.extend(parts.iter().copied().flatten());
        true
    }
}

/// The valid bytes, with zeros for what identifies a device.
fn without_identity(delivery: &Delivery<'_>) -> Vec<u8> {
    let mut valid = delivery.valid.to_vec();
    let devices = delivery.records.iter().filter(|record| record.kind.get() == ActivityKind::DEVICE.0);
    for device in devices {
        for field in Device::LAYOUT.fields.iter().filter(|field| IDENTIFYING.contains(&field.name)) {
            let from = device.offset.get() as usize + field.offset;
            let to = (from + field.size).min(valid.len());
            if let Some(identity) = valid.get_mut(from..to) {
                identity.fill(0);
            }
        }
    }
    valid
}
