//! The private contract between the simulated `libcuda`, `libcudart` and `libcupti`.
//!
//! NVIDIA's libraries talk through undocumented tables of `libcuda`; the simulated ones talk through the
//! two structs of this file. Enters: nothing. Leaves: `#[repr(C)]` types only. Refuses: any logic
//! but the parser of the configuration that all three read ([`config`]).
//!
//! ```text
//!  program ──► libcudart ──► libcuda ──── Hooks ────► libcupti ──► shim
//!                  │            ▲  Driver table           ▲
//!                  └── api_enter/api_exit (runtime) ──────┘
//! ```
//!
//! `libcuda` exports [`DRIVER_SYMBOL`]; `libcupti` finds it with `dlsym` on the loaded `libcuda.so.1`,
//! checks [`ABI_VERSION`], and installs its [`Hooks`] once. Until then, and whenever the matching bit of
//! [`Hooks::wanted`] is clear, the driver does no work for CUPTI: one relaxed load on the launch path.

pub mod config;

use core::ffi::{c_char, c_void};
use core::sync::atomic::AtomicU64;

/// Version of this contract; both sides refuse another.
pub const ABI_VERSION: u32 = 1;

/// Name of the symbol that `libcuda` exports: `extern "C" fn() -> *const Driver`.
/// Its presence is also how the shim knows that the device is simulated.
pub const DRIVER_SYMBOL: &core::ffi::CStr = c"gpu_agent_cuda_sim_driver";

/// API domain of a callback id, numbered as `CUpti_CallbackDomain`.
pub mod domain {
    /// CUDA driver API.
    pub const DRIVER: u32 = 1;
    /// CUDA runtime API.
    pub const RUNTIME: u32 = 2;
}

/// Bits of [`Hooks::wanted`].
pub mod wanted {
    /// Call [`super::Hooks::api`] at the exit of every driver API call.
    pub const DRIVER_API: u64 = 1 << 0;
    /// Call [`super::Hooks::api`] at the exit of every runtime API call.
    pub const RUNTIME_API: u64 = 1 << 1;
    /// Call [`super::Hooks::activity`] for kernels.
    pub const KERNEL: u64 = 1 << 2;
    /// … for copies.
    pub const MEMCPY: u64 = 1 << 3;
    /// … for memsets.
    pub const MEMSET: u64 = 1 << 4;
    /// … for allocations and frees.
    pub const MEMORY: u64 = 1 << 5;
    /// … for synchronisation calls.
    pub const SYNC: u64 = 1 << 6;
    /// … for whole graph launches (graph-level tracing; node records are then not made).
    pub const GRAPH: u64 = 1 << 7;
    /// Call [`super::Hooks::api_enter`] too (callback API, not activity API).
    pub const CALLBACKS: u64 = 1 << 8;
    /// Call [`super::Hooks::resource`] when contexts, streams and graphs come and go.
    pub const RESOURCE: u64 = 1 << 9;
}

/// What `libcuda` offers to `libcupti` and `libcudart`. Lives as long as the process.
#[repr(C)]
pub struct Driver {
    /// [`ABI_VERSION`].
    pub abi_version: u32,
    /// `cuDriverGetVersion` of this simulated driver, e.g. 12040.
    pub driver_version: i32,
    /// Installs the hooks (once; a second call replaces the first). `hooks` must live as long as the process.
    pub set_hooks: unsafe extern "C" fn(hooks: *const Hooks),
    /// The runtime announces that an API call begins on this thread, so that nested driver calls and the
    /// device work they enqueue carry its correlation id. Returns that id (unique in the process, never 0).
    pub runtime_enter: unsafe extern "C" fn(cbid: u32) -> u32,
    /// The runtime announces the end of the call begun with [`Driver::runtime_enter`].
    pub runtime_exit: unsafe extern "C" fn(cbid: u32, correlation_id: u32, start_ns: u64, status: i32),
    /// Number of simulated devices.
    pub device_count: unsafe extern "C" fn() -> u32,
    /// Describes device `ordinal`; returns 0, or a CUDA error code for an ordinal out of range.
    pub describe_device: unsafe extern "C" fn(ordinal: u32, out: *mut DeviceInfo) -> i32,
    /// Calls `visit` for each live context, oldest first.
    pub visit_contexts: unsafe extern "C" fn(
        visit: unsafe extern "C" fn(data: *mut c_void, info: *const ContextInfo),
        data: *mut c_void,
    ),
    /// Waits until all work enqueued so far on every device has run.
    pub drain: unsafe extern "C" fn(),
}

/// What `libcupti` gives to `libcuda`. All functions may be called from any thread, must not call back
/// into the CUDA API, and must return fast: some run on the launching thread.
#[repr(C)]
pub struct Hooks {
    /// [`ABI_VERSION`].
    pub abi_version: u32,
    /// Explicit padding.
    pub reserved: u32,
    /// Which hooks to call: bits of [`wanted`]; read with relaxed ordering before each call.
    pub wanted: AtomicU64,
    /// One API call has ended (activity API: driver and runtime records).
    pub api: unsafe extern "C" fn(call: *const ApiCall),
    /// One API call begins (callback API). `correlation_id` as in the later [`ApiCall`].
    pub api_enter: unsafe extern "C" fn(domain: u32, cbid: u32, correlation_id: u32),
    /// One piece of device work has completed, or a host-side memory or synchronisation event took place.
    pub activity: unsafe extern "C" fn(activity: *const Activity),
    /// Device work was enqueued but has not completed: lets CUPTI know what is in flight, so that a forced
    /// flush can hand out incomplete records. Followed by [`Hooks::activity`] with the same `sequence`.
    pub enqueued: unsafe extern "C" fn(activity: *const Activity),
    /// A context, stream or graph came or went.
    pub resource: unsafe extern "C" fn(resource: *const Resource),
}

/// One finished API call.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ApiCall {
    /// [`domain::DRIVER`] or [`domain::RUNTIME`].
    pub domain: u32,
    /// Callback id as in CUPTI's headers.
    pub cbid: u32,
    /// Correlation id of the call.
    pub correlation_id: u32,
    /// The call's return value (`CUresult` or `cudaError_t`).
    pub status: i32,
    /// Entry, CLOCK_MONOTONIC nanoseconds.
    pub start_ns: u64,
    /// Return, CLOCK_MONOTONIC nanoseconds.
    pub end_ns: u64,
}

/// Discriminant of [`Activity::kind`].
pub mod activity {
    /// A kernel execution.
    pub const KERNEL: u32 = 1;
    /// A copy; between devices when `peer_device_id != device_id`.
    pub const MEMCPY: u32 = 2;
    /// A memset.
    pub const MEMSET: u32 = 3;
    /// An allocation or a free.
    pub const MEMORY: u32 = 4;
    /// A synchronisation call or a stream wait.
    pub const SYNC: u32 = 5;
    /// A whole graph launch.
    pub const GRAPH: u32 = 6;
}

/// One piece of work. Fields that do not belong to `kind` are zero. Times are CLOCK_MONOTONIC nanoseconds.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Activity {
    /// One of [`activity`].
    pub kind: u32,
    /// Correlation id of the API call that enqueued it (for graph nodes: of the graph launch).
    pub correlation_id: u32,
    /// Process-wide number of this piece of work, counted up at enqueue.
    pub sequence: u64,
    /// Start of execution.
    pub start_ns: u64,
    /// End of execution.
    pub end_ns: u64,
    /// Device ordinal.
    pub device_id: u32,
    /// Context id, from 1.
    pub context_id: u32,
    /// Stream id; the legacy default stream is 7, as CUPTI numbers it; others follow.
    pub stream_id: u32,
    /// Graph (executable) id, 0 outside graphs.
    pub graph_id: u32,
    /// Graph node id, stable over replays, 0 outside graphs.
    pub graph_node_id: u64,
    /// Kernel name, NUL-terminated, valid as long as its module is loaded (modules are never really freed).
    pub name: *const c_char,
    /// Grid.
    pub grid: [u32; 3],
    /// Block.
    pub block: [u32; 3],
    /// Registers per thread.
    pub registers: u32,
    /// Static shared memory, bytes.
    pub static_shared_bytes: u32,
    /// Dynamic shared memory, bytes.
    pub dynamic_shared_bytes: u32,
    /// For kernels 1 when the simulator really computed it, 0 when it only took its configured time.
    pub computed: u32,
    /// Bytes copied, set, allocated or freed.
    pub bytes: u64,
    /// Memory address (kind MEMORY), or memset value.
    pub address: u64,
    /// `CUpti_ActivityMemcpyKind`, or `CUpti_ActivityMemoryOperationType`, or `CUpti_ActivitySynchronizationType`.
    pub operation: u32,
    /// `CUpti_ActivityMemoryKind` of the source (copies) or of the memory.
    pub source_kind: u32,
    /// `CUpti_ActivityMemoryKind` of the destination.
    pub destination_kind: u32,
    /// 1 for asynchronous copies, memsets and stream-ordered allocations.
    pub is_async: u32,
    /// Destination device of a copy between devices, else `device_id`.
    pub peer_device_id: u32,
    /// Destination context of a copy between devices, else `context_id`.
    pub peer_context_id: u32,
}

/// One simulated device.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct DeviceInfo {
    /// Name, NUL-terminated; always contains the word "Simulated".
    pub name: *const c_char,
    /// 16-byte UUID, derived from the ordinal alone.
    pub uuid: [u8; 16],
    /// Total memory, bytes.
    pub total_memory_bytes: u64,
    /// Peak memory bandwidth, kB/s (as CUPTI's device record counts it).
    pub memory_bandwidth_kb_s: u64,
    /// Compute capability.
    pub compute_major: u32,
    /// Compute capability.
    pub compute_minor: u32,
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Resident warps per multiprocessor.
    pub max_warps_per_multiprocessor: u32,
    /// Resident blocks per multiprocessor.
    pub max_blocks_per_multiprocessor: u32,
    /// Registers per multiprocessor.
    pub registers_per_multiprocessor: u32,
    /// Shared memory per multiprocessor, bytes.
    pub shared_bytes_per_multiprocessor: u32,
    /// Threads per block.
    pub max_threads_per_block: u32,
    /// Core clock, kHz.
    pub core_clock_khz: u32,
    /// L2 cache, bytes.
    pub l2_cache_bytes: u32,
}

/// One live context.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ContextInfo {
    /// Context id, from 1.
    pub context_id: u32,
    /// Device ordinal.
    pub device_id: u32,
    /// Id of its default stream.
    pub null_stream_id: u32,
    /// Explicit padding.
    pub reserved: u32,
}

/// Discriminant of [`Resource::event`].
pub mod resource {
    /// Context created.
    pub const CONTEXT_CREATED: u32 = 1;
    /// Context about to be destroyed.
    pub const CONTEXT_DESTROYED: u32 = 2;
    /// Stream created.
    pub const STREAM_CREATED: u32 = 3;
    /// Stream about to be destroyed.
    pub const STREAM_DESTROYED: u32 = 4;
    /// Graph instantiated.
    pub const GRAPH_INSTANTIATED: u32 = 5;
}

/// A context, stream or graph that came or went.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Resource {
    /// One of [`resource`].
    pub event: u32,
    /// Device ordinal.
    pub device_id: u32,
    /// Context id.
    pub context_id: u32,
    /// Stream id or graph id.
    pub object_id: u32,
    /// Raw `CUcontext`.
    pub context: *mut c_void,
    /// Raw `CUstream` or `CUgraphExec`.
    pub object: *mut c_void,
}

const _: () = {
    assert!(size_of::<ApiCall>() == 32);
    assert!(size_of::<Activity>() == 144);
    assert!(size_of::<DeviceInfo>() == 80);
    assert!(size_of::<ContextInfo>() == 16);
    assert!(size_of::<Resource>() == 32);
};
