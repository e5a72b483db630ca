//! The numbers of the format: magics, versions, offsets, and the two shared structs.
//!
//! Enters and leaves: nothing; constants and `#[repr(C)]` types, each with its size asserted. Refuses: logic.

use core::sync::atomic::{AtomicU32, AtomicU64};

/// Name of the ring's memfd; `/proc/PID/maps` shows it as `/memfd:gpu-agent-ring`.
pub const RING_NAME: &str = "gpu-agent-ring";
/// Name of the control page's memfd.
pub const CONTROL_NAME: &str = "gpu-agent-control";

/// First 8 bytes of the ring.
pub const RING_MAGIC: u64 = u64::from_le_bytes(*b"GPUARING");
/// First 8 bytes of the control page.
pub const CONTROL_MAGIC: u64 = u64::from_le_bytes(*b"GPUACTRL");
/// Version of both formats. A change of any offset, size or meaning changes it; readers refuse another.
pub const FORMAT_VERSION: u32 = 2;

/// Size of the ring's header and of the control page, bytes.
pub const PAGE_BYTES: usize = 4096;
/// Size of a slot, bytes: sequence word and payload.
pub const SLOT_BYTES: usize = 96;
/// Size of a record's payload, bytes.
pub const PAYLOAD_BYTES: usize = SLOT_BYTES - 8;
/// Words of a payload.
pub const PAYLOAD_WORDS: usize = PAYLOAD_BYTES / 8;
/// Longest name stored, bytes; longer ones are cut at a character boundary.
pub const MAX_NAME_BYTES: usize = 8192;
/// Largest ring file a reader accepts, bytes.
pub const MAX_RING_BYTES: u64 = 1 << 30;

/// Bits of [`Header::flags`].
pub mod flags {
    /// The device is simulated: no number in this ring was measured on a GPU.
    pub const SIMULATED: u32 = 1 << 0;
}

/// The ring's first page.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Header {
    /// [`RING_MAGIC`], stored last: a reader that sees it sees the rest.
    pub magic: AtomicU64,
    /// [`FORMAT_VERSION`].
    pub version: AtomicU32,
    /// Bits of [`flags`].
    pub flags: AtomicU32,
    /// File size, bytes.
    pub file_bytes: AtomicU64,
    /// Offset of the names region, bytes.
    pub names_offset: AtomicU64,
    /// Size of the names region, bytes.
    pub names_bytes: AtomicU64,
    /// Offset of the first slot, bytes.
    pub slots_offset: AtomicU64,
    /// [`SLOT_BYTES`].
    pub slot_bytes: AtomicU32,
    /// Number of slots, a power of two.
    pub slot_count: AtomicU32,
    /// Random id; the control page of the same shim carries it too.
    pub ring_id: AtomicU64,
    /// Process id in the process's own pid namespace.
    pub pid: AtomicU32,
    /// Explicit padding, 0.
    pub reserved0: AtomicU32,
    /// Start time of the process, clock ticks since boot.
    pub start_time_ticks: AtomicU64,
    /// Clock anchor, CLOCK_MONOTONIC nanoseconds.
    pub anchor_mono_ns: AtomicU64,
    /// Clock anchor, CLOCK_REALTIME nanoseconds.
    pub anchor_unix_ns: AtomicU64,
    /// `cuptiGetVersion`, 0 until known.
    pub cupti_version: AtomicU32,
    /// `cuDriverGetVersion`, 0 until known.
    pub driver_version: AtomicU32,
    /// Explicit padding.
    pub reserved1: [AtomicU64; 115],
    /// Records ever written; alone in its cache line.
    pub head: AtomicU64,
    /// Explicit padding.
    pub reserved2: [AtomicU64; 7],
    /// Bytes of the names region in use.
    pub names_len: AtomicU64,
    /// Explicit padding.
    pub reserved3: [AtomicU64; 375],
}

const _: () = {
    assert!(size_of::<Header>() == PAGE_BYTES);
    assert!(core::mem::offset_of!(Header, start_time_ticks) == 72);
    assert!(core::mem::offset_of!(Header, cupti_version) == 96);
    assert!(core::mem::offset_of!(Header, head) == 1024);
    assert!(core::mem::offset_of!(Header, names_len) == 1088);
};

/// The control page: the only memory that both sides write.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Control {
    /// [`CONTROL_MAGIC`].
    pub magic: AtomicU64,
    /// [`FORMAT_VERSION`].
    pub version: AtomicU32,
    /// Explicit padding, 0.
    pub reserved0: AtomicU32,
    /// The ring's id.
    pub ring_id: AtomicU64,
    /// Explicit padding.
    pub reserved1: [AtomicU64; 5],
    /// What the agent wants.
    pub request: Request,
    /// Explicit padding.
    pub reserved2: [AtomicU64; 48],
    /// What the shim says.
    pub report: Report,
}

/// The agent's part of the control page (offset 64).
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Request {
    /// The lease's end, CLOCK_MONOTONIC nanoseconds, and the lock by which agents agree on its holder; in the past
    /// = no lease. The lowest bit ([`GRANTED`]) marks a lease that no agent holds yet.
    pub lease_deadline_ns: AtomicU64,
    /// Pid of the holder in the agent's own namespace, for messages only.
    pub lease_pid: AtomicU32,
    /// Bumped after every change; the shim's thread waits on it as a futex.
    pub generation: AtomicU32,
    /// Bits of [`kinds`] to collect.
    pub kinds: AtomicU32,
    /// Time between flushes, ms.
    pub flush_period_ms: AtomicU32,
    /// Share of one core that the shim may spend on copying records, parts per million; 0 = no limit.
    pub budget_ppm: AtomicU32,
    /// A [`crate::control::HandOver`]: whether the shim is to let go of CUPTI, lease or not.
    pub hand_over: AtomicU32,
    /// Bits of [`ending`].
    pub ending: AtomicU32,
    /// Explicit padding, 0.
    pub reserved0: AtomicU32,
    /// Explicit padding.
    pub reserved: [AtomicU64; 11],
}

/// Bit of [`Request::lease_deadline_ns`]: the shim granted the lease to itself, and any agent may take it over.
pub const GRANTED: u64 = 1;

/// Bits of [`Request::ending`]: what to do when the lease ends, or when CUPTI is handed over for good.
pub mod ending {
    /// Take CUPTI out of the process (`cuptiFinalize`); at the end of a lease only.
    pub const FINALIZE: u32 = 1 << 0;
    /// Close the descriptors of ring and control page: whoever set this bit opens them through `/proc/PID/map_files`.
    pub const CLOSE_FILES: u32 = 1 << 1;
}

/// Bits of [`Request::kinds`].
pub mod kinds {
    /// Kernel executions.
    pub const KERNEL: u32 = 1 << 0;
    /// Copies, between devices too.
    pub const MEMCPY: u32 = 1 << 1;
    /// Memsets.
    pub const MEMSET: u32 = 1 << 2;
    /// Allocations and frees.
    pub const MEMORY: u32 = 1 << 3;
    /// Launch, copy and memset API calls, for correlation and error codes.
    pub const API: u32 = 1 << 4;
    /// Synchronisation calls.
    pub const SYNC: u32 = 1 << 5;
    /// CUPTI's own overhead.
    pub const OVERHEAD: u32 = 1 << 6;
    /// Whole graph launches instead of their nodes.
    pub const GRAPH: u32 = 1 << 7;
}

/// The shim's part of the control page (offset 576).
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Report {
    /// A [`crate::control::ShimState`].
    pub state: AtomicU32,
    /// The CUPTI status that led to the state `Busy` or `Failed`, else 0.
    pub status: AtomicU32,
    /// Name id (in the ring) of the CUPTI function that gave it, else 0.
    pub function: AtomicU32,
    /// The [`Request::generation`] that the state answers.
    pub generation: AtomicU32,
    /// Bits of [`kinds`] that are really enabled.
    pub kinds: AtomicU32,
    /// How often it was armed.
    pub armed: AtomicU32,
    /// A [`crate::control::Finalized`]: how the latest wish to finalise CUPTI ended.
    pub finalized: AtomicU32,
    /// Explicit padding, 0.
    pub reserved0: AtomicU32,
    /// Counters, each only ever counted up.
    pub counters: [AtomicU64; Counter::COUNT],
    /// Explicit padding.
    pub reserved: [AtomicU64; 39],
}

/// The shim's counters, by index into [`Report::counters`].
///
/// *seen = emitted + unknown + malformed + over_budget*; CUPTI's own drops come on top and were never seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    /// Records that CUPTI handed over.
    Seen = 0,
    /// Records written to the ring.
    Emitted,
    /// Records of a kind that this shim does not know.
    Unknown,
    /// Records too short for their kind.
    Malformed,
    /// Records left out because the budget was spent.
    OverBudget,
    /// Records handed out incomplete by a forced flush; they are in `Emitted` too.
    Incomplete,
    /// Records that CUPTI says it dropped (`cuptiActivityGetNumDroppedRecords`).
    CuptiDropped,
    /// Names that no longer fitted into the names region.
    NamesFull,
    /// Activity buffers handed to CUPTI.
    BuffersRequested,
    /// Activity buffers that came back.
    BuffersCompleted,
    /// Buffers allocated beyond the pool because all were with CUPTI.
    BuffersExtra,
    /// Flushes.
    Flushes,
    /// Time spent copying records, ns.
    CopyNs,
    /// Errors from CUPTI calls.
    CuptiErrors,
    /// Ring records that describe devices, contexts and the session itself; not in `Seen`.
    Metadata,
}

impl Counter {
    /// Number of counters.
    pub const COUNT: usize = 15;
}

const _: () = {
    assert!(core::mem::offset_of!(Control, request) == 64);
    assert!(size_of::<Request>() == 128);
    assert!(core::mem::offset_of!(Control, report) == 576);
    assert!(size_of::<Control>() <= PAGE_BYTES);
    assert!(Counter::Metadata as usize + 1 == Counter::COUNT);
};
