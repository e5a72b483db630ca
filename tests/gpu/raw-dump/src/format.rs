//! The file format: its fixed-size pieces, and its reader.
//!
//! In: the bytes of a file. Out: [`Recording`], which borrows from them. Refuses: everything that is not exactly the
//! format told in the crate's documentation ([`FormatError`]); never panics and never allocates more than a small
//! multiple of the file.

mod error;
mod read;

pub use error::FormatError;
pub use read::{Buffer, Failure, KindAsked, LeftOut, Name, Recording};

use zerocopy::little_endian::{I32, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First 8 bytes of a file.
pub const MAGIC: [u8; 8] = *b"CUPTIRAW";
/// The one version of the format.
pub const VERSION: u32 = 1;

/// Bit of [`FileHead::flags`]: the device was simulated.
pub const SIMULATED: u32 = 1;
/// Bit of [`BufferHead::flags`]: completed during the forced flush at exit.
pub const FORCED: u32 = 1;

/// Tags of sections.
pub mod tag {
    /// File name of libcupti.
    pub const LIBRARY: [u8; 4] = *b"LIBR";
    /// [`super::KindEntry`].
    pub const KIND: [u8; 4] = *b"KIND";
    /// A step that failed: status, text.
    pub const FAILURE: [u8; 4] = *b"FAIL";
    /// A name: address, text.
    pub const NAME: [u8; 4] = *b"NAME";
    /// [`super::BufferHead`], records, bytes.
    pub const BUFFER: [u8; 4] = *b"BUFF";
    /// [`super::EndEntry`].
    pub const END: [u8; 4] = *b"END ";
}

/// How the file begins.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FileHead {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: U32,
    /// Answer of `cuptiGetVersion`; 0 where it was not asked.
    pub cupti_version: U32,
    /// Answer of `cuDriverGetVersion`; 0 where it was not asked.
    pub driver_version: U32,
    /// [`SIMULATED`] or 0.
    pub flags: U32,
}

/// How a section begins.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SectionHead {
    /// One of [`tag`].
    pub tag: [u8; 4],
    /// Bytes that follow.
    pub length: U32,
}

/// Payload of [`tag::KIND`].
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct KindEntry {
    /// Activity kind.
    pub kind: U32,
    /// What the call returned.
    pub status: I32,
    /// 1 for `cuptiActivityEnableAndDump`, 0 for `cuptiActivityEnable`.
    pub dumped: U32,
}

/// How the payload of [`tag::BUFFER`] begins.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct BufferHead {
    /// `CUcontext` that CUPTI named.
    pub context: U64,
    /// When the buffer was completed, ns of `CLOCK_MONOTONIC`.
    pub completed_ns: U64,
    /// Stream id that CUPTI named.
    pub stream_id: U32,
    /// Thread that CUPTI completed the buffer on.
    pub thread_id: U32,
    /// [`FORCED`] or 0.
    pub flags: U32,
    /// Status with which the walk ended.
    pub walk_end: I32,
    /// Bytes that CUPTI was given.
    pub size_bytes: U32,
    /// Bytes that CUPTI called valid.
    pub valid_bytes: U32,
    /// Records that the walk found.
    pub records: U32,
    /// 0.
    pub reserved: U32,
}

/// One record as `cuptiActivityGetNextRecord` named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RecordEntry {
    /// Distance from the buffer's start, in bytes.
    pub offset: U32,
    /// Activity kind.
    pub kind: U32,
}

impl RecordEntry {
    /// A record of `kind`, `offset` bytes into its buffer.
    #[must_use]
    pub const fn new(offset: u32, kind: u32) -> Self {
        Self { offset: U32::new(offset), kind: U32::new(kind) }
    }
}

/// Payload of [`tag::END`]: what is missing.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct EndEntry {
    /// Buffers beyond the limit.
    pub buffers: U64,
    /// Valid bytes in them.
    pub bytes: U64,
    /// Records in them.
    pub records: U64,
    /// Records of API calls among those.
    pub api_records: U64,
    /// Records that CUPTI found no buffer for.
    pub dropped: U64,
}

const _: () = {
    assert!(size_of::<FileHead>() == 24);
    assert!(size_of::<SectionHead>() == 8);
    assert!(size_of::<KindEntry>() == 12);
    assert!(size_of::<BufferHead>() == 48);
    assert!(size_of::<RecordEntry>() == 8);
    assert!(size_of::<EndEntry>() == 40);
};
