//! What flows through the agent: events, and the newtypes they are made of.
//!
//! Enters: nothing. Leaves: types that every stage may import. Refuses: I/O, clocks, and any knowledge of where an
//! event came from.
//!
//! Times are CLOCK_MONOTONIC nanoseconds (`ktime_ns`, the clock of `bpf_ktime_get_ns`) until an exporter needs
//! Unix time; [`crate::clock`] converts.

use std::fmt;

mod op;

pub use op::{ApiFunction, FieldValue, Op, OpClass, OpEnd, ProbeInfo, Tensor};

macro_rules! ids {
    ($($(#[$meta:meta])* $name:ident($inner:ty))*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }
    )*};
}

ids! {
    /// A process id in the agent's own pid namespace.
    Pid(u32)
    /// A thread id as the event's source sees it.
    ThreadId(u32)
    /// CUPTI's correlation id: ties a launch to its execution, within one process.
    CorrelationId(u32)
    /// CUDA device ordinal, within one process.
    DeviceId(u32)
    /// CUDA context id, within one process.
    ContextId(u32)
    /// CUDA stream id, within one process.
    StreamId(u32)
    /// CUDA graph id, within one process.
    GraphId(u32)
    /// CUDA graph node id, within one process; 0 outside graphs.
    GraphNodeId(u64)
    /// Index of a target process in the agent's table: small, dense, never reused while the agent runs.
    TargetId(u32)
    /// Index of a kernel name in the table of one target.
    NameId(u32)
}

impl DeviceId {
    /// Where the source of an event does not know the device: probes see a call, not which device is current.
    pub const UNKNOWN: Self = Self(u32::MAX);
}

/// A device's UUID, shown as `GPU-xxxxxxxx-xxxx-…`, as nvidia-smi and NVML do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct DeviceUuid(pub [u8; 16]);

impl fmt::Display for DeviceUuid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("GPU")?;
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 0 | 4 | 6 | 8 | 10) {
                formatter.write_str("-")?;
            }
            write!(formatter, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// A span of device or host time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interval {
    /// Start.
    pub start_ktime_ns: u64,
    /// End, never before the start.
    pub end_ktime_ns: u64,
}

impl Interval {
    /// Length, nanoseconds.
    #[must_use]
    pub fn duration_ns(&self) -> u64 {
        self.end_ktime_ns.saturating_sub(self.start_ktime_ns)
    }
}

/// Where on the device something ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Device.
    pub device: DeviceId,
    /// Context.
    pub context: ContextId,
    /// Stream.
    pub stream: StreamId,
    /// Graph, 0 outside graphs.
    pub graph: GraphId,
    /// Graph node, 0 outside graphs.
    pub graph_node: GraphNodeId,
    /// When the graph was made.
    pub graph_made: GraphMade,
}

/// When a CUDA graph was made, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum GraphMade {
    /// While an agent was attached; also said outside graphs.
    #[default]
    Attached,
    /// While none was: of its operations nothing is known but what each execution says.
    Before,
    /// CUPTI does not tell.
    Unknown,
}

/// One thing that happened in one target.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A kernel ran.
    Kernel(Kernel),
    /// Bytes were copied.
    Memcpy(Memcpy),
    /// Bytes were set.
    Memset(Memset),
    /// Memory was allocated or freed.
    Memory(Memory),
    /// A CUDA API call returned.
    Api(Api),
    /// The host waited for the device.
    Synchronization(Synchronization),
    /// CUPTI or the driver spent time on itself.
    Overhead(Overhead),
    /// A whole graph ran (graph-level tracing).
    GraphTrace(GraphTrace),
    /// A device was described.
    Device(Device),
    /// A context was described.
    Context(Context),
    /// The shim was armed or disarmed.
    Session(Session),
    /// CUPTI dropped records before the shim saw them.
    Dropped(Dropped),
    /// An engine's entry point was called (probes).
    Op(Op),
}

/// A kernel execution: GPU time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kernel {
    /// When, on the device.
    pub interval: Interval,
    /// Where.
    pub place: Place,
    /// Which launch.
    pub correlation: CorrelationId,
    /// The (mangled) name.
    pub name: NameId,
    /// Grid, blocks.
    pub grid: [u32; 3],
    /// Block, threads.
    pub block: [u16; 3],
    /// Registers per thread.
    pub registers: u16,
    /// Static and dynamic shared memory per block, bytes.
    pub shared_bytes: u32,
    /// Whether the record was handed out before its end was known.
    pub incomplete: bool,
}

/// Where the bytes of a copy went. Names as in the attribute `direction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Host to device (to an array too).
    HostToDevice,
    /// Device to host.
    DeviceToHost,
    /// Within one device.
    DeviceToDevice,
    /// Between devices.
    PeerToPeer,
    /// Host to host.
    HostToHost,
    /// A kind this agent does not know.
    Unknown,
}

impl Direction {
    /// The attribute's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HostToDevice => "h2d",
            Self::DeviceToHost => "d2h",
            Self::DeviceToDevice => "d2d",
            Self::PeerToPeer => "p2p",
            Self::HostToHost => "h2h",
            Self::Unknown => "unknown",
        }
    }
}

/// What kind of memory. Names as in the attribute `memory.kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MemoryKind {
    /// Ordinary host memory.
    Pageable,
    /// Page-locked host memory.
    Pinned,
    /// Device memory.
    Device,
    /// CUDA array.
    Array,
    /// Managed memory.
    Managed,
    /// Static device memory (`__device__`, `__managed__`).
    Static,
    /// Stream-ordered, from a memory pool.
    Pool,
    /// A kind this agent does not know.
    Unknown,
}

impl MemoryKind {
    /// The attribute's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pageable => "pageable",
            Self::Pinned => "pinned",
            Self::Device => "device",
            Self::Array => "array",
            Self::Managed => "managed",
            Self::Static => "static",
            Self::Pool => "pool",
            Self::Unknown => "unknown",
        }
    }
}

/// A copy: GPU time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memcpy {
    /// When, on the device.
    pub interval: Interval,
    /// Where (the source, between devices).
    pub place: Place,
    /// Which call.
    pub correlation: CorrelationId,
    /// Which way.
    pub direction: Direction,
    /// Memory of the source.
    pub source: MemoryKind,
    /// Memory of the destination.
    pub destination: MemoryKind,
    /// Device of the destination.
    pub destination_device: DeviceId,
    /// Bytes.
    pub size_bytes: u64,
    /// Copies in the batch, 1 for a single one.
    pub copies: u32,
    /// Asynchronous.
    pub is_async: bool,
    /// Whether the record was handed out before its end was known.
    pub incomplete: bool,
}

/// A memset: GPU time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memset {
    /// When, on the device.
    pub interval: Interval,
    /// Where.
    pub place: Place,
    /// Which call.
    pub correlation: CorrelationId,
    /// Memory that was set.
    pub memory: MemoryKind,
    /// Bytes.
    pub size_bytes: u64,
    /// Whether the record was handed out before its end was known.
    pub incomplete: bool,
}

/// An allocation or a free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// When.
    pub ktime_ns: u64,
    /// Where.
    pub place: Place,
    /// Which call.
    pub correlation: CorrelationId,
    /// Allocation, else free.
    pub is_allocation: bool,
    /// Kind of memory.
    pub memory: MemoryKind,
    /// Address, or [`Memory::NO_ADDRESS`].
    pub address: u64,
    /// Bytes.
    pub size_bytes: u64,
}

impl Memory {
    /// Where the source of an event does not know the address: probes do not see what an allocation was given.
    pub const NO_ADDRESS: u64 = 0;
}

/// A finished CUDA API call: host time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Api {
    /// When, on the host.
    pub interval: Interval,
    /// Its correlation id.
    pub correlation: CorrelationId,
    /// Runtime, else driver.
    pub is_runtime: bool,
    /// Callback id.
    pub cbid: u32,
    /// Thread, in the target's pid namespace.
    pub thread: ThreadId,
    /// `CUresult` or `cudaError_t`; 0 = success.
    pub status: u32,
}

/// A wait of the host (or of a stream) for the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synchronization {
    /// When.
    pub interval: Interval,
    /// Its correlation id.
    pub correlation: CorrelationId,
    /// Context.
    pub context: ContextId,
    /// Stream.
    pub stream: StreamId,
    /// What was waited for: `event`, `stream_wait_event`, `stream`, `context` or `unknown`.
    pub what: &'static str,
}

/// Time spent by CUPTI or the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overhead {
    /// When.
    pub interval: Interval,
    /// On what: `driver_compiler`, `buffer_flush`, `instrumentation`, `resource`, … or `unknown`.
    pub what: &'static str,
}

/// A whole graph launch: GPU time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphTrace {
    /// When, on the device.
    pub interval: Interval,
    /// Where.
    pub place: Place,
    /// Which launch.
    pub correlation: CorrelationId,
}

/// A device as its driver describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device {
    /// Ordinal within the target.
    pub id: DeviceId,
    /// Name, e.g. `NVIDIA H200`.
    pub name: String,
    /// UUID.
    pub uuid: DeviceUuid,
    /// Total memory, bytes.
    pub memory_bytes: u64,
    /// Peak memory bandwidth, bytes per second.
    pub bandwidth_bytes_per_s: u64,
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Registers per multiprocessor.
    pub registers_per_multiprocessor: u32,
    /// Shared memory per multiprocessor, bytes.
    pub shared_bytes_per_multiprocessor: u32,
    /// Resident warps per multiprocessor.
    pub warps_per_multiprocessor: u32,
    /// Resident blocks per multiprocessor.
    pub blocks_per_multiprocessor: u32,
    /// Compute capability (major, minor).
    pub compute_capability: (u16, u16),
    /// MIG (GPU instance, compute instance), where the device is one.
    pub mig: Option<(u32, u32)>,
}

/// A context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Its id.
    pub id: ContextId,
    /// Its device.
    pub device: DeviceId,
}

/// A change of the shim's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// When.
    pub ktime_ns: u64,
    /// Armed, else not.
    pub armed: bool,
    /// `cuptiGetVersion`.
    pub cupti_version: u32,
    /// `cuDriverGetVersion`.
    pub driver_version: u32,
}

/// Records that CUPTI dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// When the shim learnt of it.
    pub ktime_ns: u64,
    /// How many.
    pub count: u64,
}
