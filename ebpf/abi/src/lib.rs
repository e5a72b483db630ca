//! What the BPF programs and the agent share: fetch programs, which the agent writes, and records, which it reads.
//!
//! Enters: nothing. Leaves: the layouts, with their sizes asserted. Refuses: meaning. A fetch program says where bytes lie,
//! never what they are; names, types and tensors are the agent's (`agent/src/probes`).
//!
//! # From a hit to a record
//!
//! ```text
//!  hit ─► attach cookie ─► slot ─► FetchProgram ─┬─ read 0: register 5            ─► payload[0..8]
//!                                                ├─ read 1: *(read 0 + 64)        ─► payload[8..16]
//!                                                └─ read 2: 8-byte array, read 1 long ─► payload[16..80]
//!  record in the ring buffer:  Header (48 bytes) │ payload (FetchProgram::payload_bytes)
//! ```
//!
//! A cookie holds two slots: the low half is run where the probe is hit, the high half where a uprobe session returns; see
//! [`cookie`]. Linux before 5.15 has no cookies; there the slot is looked up by process and instruction address
//! ([`SiteKey`]).
//!
//! # What a read does
//!
//! It starts from a base (a register, a constant, or the value of an earlier read) and makes [`Read::steps`] loads. Each
//! load adds its offset and dereferences; all but the last load 8 bytes. What the last one loads is the kind's business:
//!
//! | kind | the last load | payload |
//! |---|---|---|
//! | [`kind::SCALAR`] | `size` bytes, zero-extended; without steps, the base itself cut to `size` bytes | 8 bytes |
//! | [`kind::ARRAY`] | `min(count, capacity)` elements of `size` bytes each | `capacity × size` bytes |
//! | [`kind::STRING`] | bytes up to and without a NUL, `capacity` at most | 1 byte of length, `capacity` bytes |
//! | [`kind::BYTES`] | `min(count, capacity)` bytes | 1 byte of length, `capacity` bytes |
//!
//! A read whose condition does not hold is left out. A read that meets an address which cannot be read is left out too, and
//! said to be faulted; so is every read that starts from it. What was left out has no value: the header's masks say
//! which reads have one, and the payload of the others is not to be looked at.
//!
//! Registers have their DWARF numbers (System V x86-64 psABI, figure 3.36; DWARF for AArch64, section 4.1). Numbers are
//! little-endian; both sides run on one machine.

#![no_std]

#[cfg(feature = "zerocopy")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Version of all of this: an object with another one is refused.
pub const VERSION: u32 = 1;
/// Reads of one fetch program.
pub const MAX_READS: usize = 32;
/// Loads of one read.
pub const MAX_STEPS: usize = 6;
/// Capacity of [`kind::ARRAY`], elements.
pub const MAX_ELEMENTS: usize = 8;
/// Capacity of [`kind::STRING`] and [`kind::BYTES`], bytes.
pub const MAX_STRING: usize = 64;
/// Payload of one record, bytes.
pub const MAX_PAYLOAD: usize = 1024;
/// Payload, bytes, up to which a record takes less of the ring buffer. Nothing but numbers may be in it.
pub const NUMBERS_PAYLOAD: u16 = 64;
/// Fetch programs loaded at once, at most.
pub const MAX_SLOTS: u32 = 8192;
/// Size of the ring buffer, unless the agent chooses another one.
pub const RING_BYTES: u32 = 4 << 20;
/// The agent looks for records by itself. It is woken where this many bytes wait for it, and again at each multiple; a power
/// of two. To wake it for each record would cost the probed thread more than all the rest.
pub const WAKE_BYTES: u64 = 256 << 10;
/// Past such a point, so many bytes of records wake the agent: several records, since those that another CPU reserves at the
/// same time may be counted before the one that reaches the point looks.
pub const WAKE_WINDOW_BYTES: u64 = 8 << 10;
/// The slot that means nothing.
pub const NO_SLOT: u32 = u32::MAX;
/// Registers by DWARF number: 0 to 16 on x86-64 (7 is the stack pointer, 16 the instruction pointer), 0 to 31 on AArch64
/// (31 is the stack pointer).
pub const REGISTERS: usize = 33;

/// Values of [`Read::base`].
pub mod base {
    /// The register with the DWARF number [`super::Read::index`], as it was at the hit.
    pub const REGISTER: u8 = 0;
    /// [`super::Read::immediate`].
    pub const IMMEDIATE: u8 = 1;
    /// The value of the earlier [`super::kind::SCALAR`] read number [`super::Read::index`].
    pub const READ: u8 = 2;
}

/// Values of [`Read::kind`]; see the table above.
pub mod kind {
    /// A number of up to 8 bytes.
    pub const SCALAR: u8 = 0;
    /// Several numbers.
    pub const ARRAY: u8 = 1;
    /// Bytes that end with a NUL.
    pub const STRING: u8 = 2;
    /// Bytes of a given number.
    pub const BYTES: u8 = 3;
}

/// Values of [`Read::condition`]: how the value of the read [`Read::condition_read`] compares, unsigned, with
/// [`Read::condition_value`]. Each is a set of [`LESS`], [`EQUAL`] and [`MORE_THAN`](condition::MORE_THAN); the empty one is
/// no condition.
///
/// [`LESS`]: condition::LESS
/// [`EQUAL`]: condition::EQUAL
pub mod condition {
    /// No condition.
    pub const ALWAYS: u8 = 0;
    /// Less than.
    pub const LESS: u8 = 1;
    /// Equal.
    pub const EQUAL: u8 = 2;
    /// More than.
    pub const MORE_THAN: u8 = 4;
    /// At most.
    pub const AT_MOST: u8 = LESS | EQUAL;
    /// At least.
    pub const AT_LEAST: u8 = MORE_THAN | EQUAL;
    /// Not equal.
    pub const NOT_EQUAL: u8 = LESS | MORE_THAN;
}

/// The value of [`Read::count_read`] that means: the count is the capacity.
pub const FIXED: u8 = u8::MAX;

/// One read. Every bit pattern is legal; what makes no sense reads nothing.
#[repr(C)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Read {
    /// Where it starts: [`base`].
    pub base: u8,
    /// Register or earlier read, by `base`.
    pub index: u8,
    /// Loads, [`MAX_STEPS`] at most.
    pub steps: u8,
    /// What is loaded last: [`kind`].
    pub kind: u8,
    /// Bytes of a number: 1, 2, 4 or 8.
    pub size: u8,
    /// Most elements or bytes: [`MAX_ELEMENTS`], [`MAX_STRING`] at most.
    pub capacity: u8,
    /// The earlier read whose value is the count, or [`FIXED`].
    pub count_read: u8,
    /// When to read at all: [`condition`].
    pub condition: u8,
    /// The earlier read that the condition looks at. A read that has no value meets no condition but `ALWAYS`.
    pub condition_read: u8,
    /// Zero.
    pub reserved: u8,
    /// Where its value lies in the payload, bytes.
    pub output: u16,
    /// Zero. The BPF side takes its zeros from here: of these, the verifier does not know that they are zero, and so does
    /// not try what would follow from that.
    pub reserved2: u32,
    /// What the condition compares with.
    pub condition_value: u64,
    /// The base of [`base::IMMEDIATE`].
    pub immediate: u64,
    /// Added before each load.
    pub offsets: [i32; MAX_STEPS],
}

/// What is read at one place.
#[repr(C)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchProgram {
    /// [`phase`] of the records it makes.
    pub phase: u8,
    /// Reads, [`MAX_READS`] at most.
    pub reads: u8,
    /// Bytes of payload, a multiple of 8, [`MAX_PAYLOAD`] at most; more than [`NUMBERS_PAYLOAD`] if any read is no number.
    pub payload_bytes: u16,
    /// Copied into each record: tells this program from one that had its slot before.
    pub generation: u32,
    /// The reads, in their order.
    pub read: [Read; MAX_READS],
}

impl Default for FetchProgram {
    fn default() -> Self {
        Self {
            phase: phase::ENTRY,
            reads: 0,
            payload_bytes: 0,
            generation: 0,
            read: [Read::default(); MAX_READS],
        }
    }
}

/// Values of [`Header::phase`] and [`FetchProgram::phase`].
pub mod phase {
    /// A function was entered; the stack pointer is at its return address (x86-64).
    pub const ENTRY: u8 = 1;
    /// A function is about to execute a return instruction: the stack pointer is what it was at the entry.
    pub const RETURN: u8 = 2;
    /// A function has returned (uretprobe): the stack pointer is past the return address, on x86-64 8 more than at the entry.
    pub const RETURNED: u8 = 3;
    /// The dynamic linker has changed its list of libraries. No payload.
    pub const LIBRARIES: u8 = 4;
}

/// What every record begins with.
#[repr(C)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// When, CLOCK_MONOTONIC.
    pub ktime_ns: u64,
    /// Stack pointer at the hit: pairs a return with its entry, also in recursion.
    pub stack_pointer: u64,
    /// Process (tgid), in the initial pid namespace.
    pub process: u32,
    /// Thread (pid), in the initial pid namespace.
    pub thread: u32,
    /// Slot of the fetch program.
    pub slot: u32,
    /// Bit n: read n has a value.
    pub present: u32,
    /// Bit n: read n met an address that cannot be read.
    pub faulted: u32,
    /// [`phase`].
    pub phase: u8,
    /// Zero.
    pub reserved: u8,
    /// Bytes of payload that follow.
    pub payload_bytes: u16,
    /// [`FetchProgram::generation`].
    pub generation: u32,
    /// Zero.
    pub reserved2: u32,
}

/// The cookie that runs `entry` at the hit, and `exit` where the same link is a session's return.
#[must_use]
pub const fn cookie(entry: u32, exit: u32) -> u64 {
    entry as u64 | (exit as u64) << 32
}

/// The slots of a cookie: at the hit, at a session's return.
#[must_use]
pub const fn slots(cookie: u64) -> (u32, u32) {
    (cookie as u32, (cookie >> 32) as u32)
}

/// Where Linux has no cookies: the place of a hit.
#[repr(C)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SiteKey {
    /// Process (tgid).
    pub process: u32,
    /// Zero.
    pub reserved: u32,
    /// Address of the instruction in that process.
    pub address: u64,
}

/// Counters, one set a CPU. `hits = filtered + unknown + emitted + lost`.
#[repr(C)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Times a program ran.
    pub hits: u64,
    /// In processes that are no targets.
    pub filtered: u64,
    /// Without a fetch program: the probe was being taken away.
    pub unknown: u64,
    /// Records in the ring buffer.
    pub emitted: u64,
    /// Records for which the ring buffer had no room.
    pub lost: u64,
    /// Reads that met an address which cannot be read; their records are emitted.
    pub faulted_reads: u64,
}

const _: () = assert!(size_of::<Read>() == 56 && align_of::<Read>() == 8);
const _: () = assert!(size_of::<FetchProgram>() == 8 + 56 * MAX_READS);
const _: () = assert!(size_of::<Header>() == 48 && align_of::<Header>() == 8);
const _: () = assert!(size_of::<SiteKey>() == 16);
const _: () = assert!(size_of::<Counters>() == 48);
const _: () = assert!(WAKE_BYTES.is_power_of_two() && WAKE_WINDOW_BYTES < WAKE_BYTES);
const _: () = assert!(MAX_READS <= 32, "the masks of the header have 32 bits");
