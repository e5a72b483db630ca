//! Numbers of `CUpti_ActivityKind` and of the enumerations inside records (`cupti_activity.h`, 13.5).
//!
//! Enters: nothing. Leaves: constants. Refuses: any logic beyond arithmetic on them.

/// Host ↔ device, host ↔ host and device-local copies.
pub const MEMCPY: u32 = 1;
/// Memsets.
pub const MEMSET: u32 = 2;
/// Kernels, serialised.
pub const KERNEL: u32 = 3;
/// Driver API calls.
pub const DRIVER: u32 = 4;
/// Runtime API calls.
pub const RUNTIME: u32 = 5;
/// Devices.
pub const DEVICE: u32 = 8;
/// Contexts.
pub const CONTEXT: u32 = 9;
/// Kernels, running side by side.
pub const CONCURRENT_KERNEL: u32 = 10;
/// NVTX markers.
pub const MARKER: u32 = 12;
/// CUPTI's own overhead.
pub const OVERHEAD: u32 = 17;
/// Copies between devices.
pub const MEMCPY2: u32 = 22;
/// Streams.
pub const STREAM: u32 = 37;
/// Synchronisation calls.
pub const SYNCHRONIZATION: u32 = 38;
/// Ties an API call to an id of the client's.
pub const EXTERNAL_CORRELATION: u32 = 39;
/// Allocations and frees.
pub const MEMORY2: u32 = 49;
/// Whole graph launches.
pub const GRAPH_TRACE: u32 = 51;
/// Not a kind of any CUPTI: what the fault `unknown_kind` puts between true records.
pub const UNKNOWN_TO_ALL: u32 = 200;

/// `CUPTI_ACTIVITY_OVERHEAD_CUPTI_BUFFER_FLUSH`
pub(crate) const OVERHEAD_BUFFER_FLUSH: u32 = 1 << 16;
/// `CUPTI_ACTIVITY_OVERHEAD_ACTIVITY_BUFFER_REQUEST`, from API version 24 (12.6) on.
pub(crate) const OVERHEAD_BUFFER_REQUEST: u32 = 7 << 16;
/// `CUPTI_ACTIVITY_OBJECT_THREAD`
pub(crate) const OBJECT_THREAD: u32 = 2;
/// `CUPTI_CHANNEL_TYPE_COMPUTE`
pub(crate) const CHANNEL_COMPUTE: u32 = 1;
/// `CUPTI_CHANNEL_TYPE_ASYNC_MEMCPY`
pub(crate) const CHANNEL_COPY: u32 = 2;
/// `CUPTI_ACTIVITY_COMPUTE_API_CUDA`
pub(crate) const COMPUTE_API_CUDA: u16 = 1;
/// `CUPTI_ACTIVITY_STREAM_CREATE_FLAG_DEFAULT`
pub(crate) const STREAM_FLAG_DEFAULT: u32 = 1;
/// `CUPTI_ACTIVITY_STREAM_CREATE_FLAG_NULL`
pub(crate) const STREAM_FLAG_NULL: u32 = 3;
/// `CUPTI_SYNCHRONIZATION_INVALID_VALUE`: the field does not apply.
pub(crate) const SYNC_NOT_APPLICABLE: u32 = u32::MAX;
/// `CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_CONTEXT_SYNCHRONIZE`
pub(crate) const SYNC_CONTEXT: u32 = 4;
/// `CUPTI_INVALID_STREAM_ID`
pub(crate) const NO_STREAM: u32 = 0;
