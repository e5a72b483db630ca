//! In: the bytes of one activity record. Out: its fields, by name. Refuses: a record shorter than any supported
//! CUPTI makes it. Never allocates, never panics, never reads past the slice.
//!
//! CUPTI's record structs grow with its versions, but only at the end: a field that 11.8 has lies at the same offset
//! in 13.5 (`tests/layouts.rs` proves every offset here against the layouts of 16 versions). So one view serves all
//! versions:
//!
//! * a field that every supported version has is read from a fixed-size array: one load, no check;
//! * a *late* field, which came after the view's `MIN_LEN` bytes, is an `Option` that the slice's length decides, so
//!   cut the slice with [`crate::RecordSizes`] first: the bytes behind a record belong to the next record;
//! * a field that took the place of padding *inside* a struct asks for the CUPTI version, because no length tells.
//!
//! Numbers are little-endian, as on every CUDA host. Times are nanoseconds of the clock that CUPTI was given
//! (`cuptiActivityRegisterTimestampCallback`), by default `CLOCK_REALTIME`. Pointers are returned as numbers.
//! The views do not check the record's kind: the caller chose the view by it.

mod api;
mod codes;
mod context;
mod device;
mod external_correlation;
mod graph_trace;
mod kernel;
mod layout;
mod memcpy;
mod memory;
mod memset;
mod overhead;
mod scalar;
mod stream;
mod synchronization;
mod view;

pub use api::Api;
pub use codes::{
    ChannelType, ExternalCorrelationKind, LaunchType, MemcpyKind, MemoryKind, MemoryOperation,
    MemoryPoolType, OverheadKind, StreamFlag, SynchronizationType,
};
pub use context::Context;
pub use device::Device;
pub use external_correlation::ExternalCorrelation;
pub use graph_trace::GraphTrace;
pub use kernel::Kernel;
pub use layout::{Field, Layout, Presence};
pub use memcpy::{Memcpy, MemcpyPtoP};
pub use memory::Memory;
pub use memset::Memset;
pub use overhead::Overhead;
pub(crate) use scalar::Scalar;
pub use stream::Stream;
pub use synchronization::Synchronization;

/// The layout of every view, for tests that hold them against CUPTI's structs.
pub const LAYOUTS: &[Layout] = &[
    Api::LAYOUT,
    Context::LAYOUT,
    Device::LAYOUT,
    ExternalCorrelation::LAYOUT,
    GraphTrace::LAYOUT,
    Kernel::LAYOUT,
    Memcpy::LAYOUT,
    MemcpyPtoP::LAYOUT,
    Memory::LAYOUT,
    Memset::LAYOUT,
    Overhead::LAYOUT,
    Stream::LAYOUT,
    Synchronization::LAYOUT,
];
