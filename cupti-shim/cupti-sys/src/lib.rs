//! CUPTI 11.8 to 13.5 without its headers: kinds, cbids, record offsets and a run-time loader.
//!
//! In: a libcupti that the process has loaded or that somebody names, and the activity buffers which it fills.
//! Out: its functions, each present or named as missing, and the fields of its records. Refuses: a function that
//! the library lacks ([`CallError::Absent`]), a record that is too short (`None`), a CUPTI before 11.8.
//!
//! One binary has to work with every CUPTI that a process may bring, so nothing here is decided at build time:
//!
//! * [`Cupti`] looks each function up by name, and calls none while it does so;
//! * every C enum is an open newtype ([`ActivityKind`], [`Status`], [`DriverCbid`] …): a number that no header had
//!   yet is kept, not undefined behaviour;
//! * the views in [`record`] read by offsets that hold in all these versions, and [`RecordSizes`] says how long a
//!   record surely is.
//!
//! ```text
//!  bufferCompleted(buffer, valid) ─► Cupti::records ─► Record { kind, rest }
//!                                                        │ RecordSizes::cut(kind, rest)
//!                                                        ▼
//!                                      Kernel::new · Memcpy::new · Api::new · … ─► start_ns(), correlation_id() …
//! ```
//!
//! Numbers come from NVIDIA's headers of 30 releases; the tests hold them against those releases' libraries.

mod cbid;
mod kind;
mod library;
mod open;
pub mod record;
mod sizes;
mod status;
mod version;

pub use cbid::{
    ALLOC_DRIVER, ALLOC_RUNTIME, CallbackDomain, DriverCbid, LAUNCH_DRIVER, LAUNCH_RUNTIME, MEMCPY_DRIVER,
    MEMCPY_RUNTIME, MEMSET_DRIVER, MEMSET_RUNTIME, MODULE_DRIVER, MODULE_RUNTIME, ResourceCbid, RuntimeCbid,
    SYNC_DRIVER, SYNC_RUNTIME,
};
pub use kind::ActivityKind;
pub use library::{
    ActivityAttribute, AttributeValue, BufferCompleted, BufferRequested, CallError, Callback, CallbackData,
    CallbackSite, ContextHandle, Cupti, FUNCTIONS, Flush, Function, GraphData, GraphExecHandle, OpenError,
    Record, Records, ResourceData, SubscriberHandle, SubscriberParams, ThreadIdType, TimestampCallback,
};
pub use sizes::RecordSizes;
pub use status::Status;
pub use version::ApiVersion;
