//! The records: what a slot's 88 bytes of payload mean.
//!
//! Enters: fields read off CUPTI activity records. Leaves: plain bytes, parsed by zerocopy. Refuses: pointers,
//! bools, enums, anything a hostile writer could make invalid: every bit pattern of every record is legal,
//! and what a number means is decided by the agent.
//!
//! All times are CLOCK_MONOTONIC nanoseconds, all sizes bytes, all ids CUPTI's. Each record begins with the
//! same 8 bytes: kind, flags, correlation id.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::layout::{PAYLOAD_BYTES, PAYLOAD_WORDS};

/// A payload as words, as it travels.
pub type Payload = [u64; PAYLOAD_WORDS];

/// Values of the first field of every record.
pub mod kind {
    /// [`super::Kernel`].
    pub const KERNEL: u16 = 1;
    /// [`super::Memcpy`].
    pub const MEMCPY: u16 = 2;
    /// [`super::Memset`].
    pub const MEMSET: u16 = 3;
    /// [`super::Memory`].
    pub const MEMORY: u16 = 4;
    /// [`super::Api`].
    pub const API: u16 = 5;
    /// [`super::Synchronization`].
    pub const SYNCHRONIZATION: u16 = 6;
    /// [`super::Overhead`].
    pub const OVERHEAD: u16 = 7;
    /// [`super::GraphTrace`].
    pub const GRAPH_TRACE: u16 = 8;
    /// [`super::Device`].
    pub const DEVICE: u16 = 9;
    /// [`super::Context`].
    pub const CONTEXT: u16 = 10;
    /// [`super::Session`].
    pub const SESSION: u16 = 11;
    /// [`super::Dropped`].
    pub const DROPPED: u16 = 12;
}

/// Bits of the second field of every record.
pub mod flag {
    /// A forced flush handed the record out before its end: start or end is 0 or meaningless.
    pub const INCOMPLETE: u16 = 1 << 0;
    /// Asynchronous copy, memset or allocation.
    pub const ASYNC: u16 = 1 << 1;
    /// Launched from the device (CUDA dynamic parallelism, device graph launch).
    pub const DEVICE_LAUNCHED: u16 = 1 << 2;
    /// The API record is of the runtime, else of the driver.
    pub const RUNTIME: u16 = 1 << 3;
    /// A copy between devices (`CUpti_ActivityMemcpyPtoP`).
    pub const PEER: u16 = 1 << 4;
    /// The device is a MIG instance.
    pub const MIG: u16 = 1 << 5;
    /// Cooperative launch.
    pub const COOPERATIVE: u16 = 1 << 6;
    /// Work of a CUDA graph that was made while the shim was not armed.
    pub const EARLIER_GRAPH: u16 = 1 << 7;
    /// Work of a CUDA graph of which nobody can tell whether it was made while the shim was armed.
    pub const UNDATED_GRAPH: u16 = 1 << 8;
}

macro_rules! records {
    ($($(#[$meta:meta])* $name:ident = $kind:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$meta])*
            #[repr(C)]
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
            pub struct $name {
                /// Always
                #[doc = concat!("[`kind::", stringify!($kind), "`].")]
                pub kind: u16,
                /// Bits of [`flag`].
                pub flags: u16,
                /// CUPTI's correlation id, 0 where there is none.
                pub correlation_id: u32,
                $($(#[$field_meta])* pub $field: $type,)*
            }

            impl Record for $name {
                const KIND: u16 = kind::$kind;
            }

            const _: () = assert!(size_of::<$name>() == PAYLOAD_BYTES);
        )*
    };
}

/// A record type of this module: 88 bytes, any bit pattern legal.
pub trait Record: FromBytes + IntoBytes + Immutable + KnownLayout + Copy {
    /// Value of its first field.
    const KIND: u16;

    /// The payload as words.
    #[inline]
    fn to_payload(&self) -> Payload {
        let mut payload = [0; PAYLOAD_WORDS];
        // Infallible: every record is exactly PAYLOAD_BYTES long, asserted above.
        let _ = self.write_to(payload.as_mut_bytes());
        payload
    }

    /// Reads the payload as this type, whatever its kind field says.
    #[inline]
    fn from_payload(payload: &Payload) -> Option<Self> {
        Self::read_from_bytes(payload.as_bytes()).ok()
    }
}

records! {
    /// One kernel execution on the device (`CUpti_ActivityKernel*`).
    Kernel = KERNEL {
        /// Start of execution.
        start_ns: u64,
        /// End of execution.
        end_ns: u64,
        /// Device id.
        device_id: u32,
        /// Context id.
        context_id: u32,
        /// Stream id.
        stream_id: u32,
        /// Id of the (mangled) name in the names region.
        name_id: u32,
        /// Graph node id, 0 outside graphs.
        graph_node_id: u64,
        /// Graph id, 0 outside graphs.
        graph_id: u32,
        /// Grid, blocks.
        grid: [u32; 3],
        /// Block, threads.
        block: [u16; 3],
        /// Registers per thread.
        registers: u16,
        /// Static shared memory per block.
        static_shared_bytes: u32,
        /// Dynamic shared memory per block.
        dynamic_shared_bytes: u32,
        /// Local memory per thread.
        local_bytes_per_thread: u32,
        /// Shared memory carve-out the driver really set.
        shared_executed_bytes: u32,
    }

    /// One copy (`CUpti_ActivityMemcpy*`, `CUpti_ActivityMemcpyPtoP*`).
    Memcpy = MEMCPY {
        /// Start of execution.
        start_ns: u64,
        /// End of execution.
        end_ns: u64,
        /// Device id (of the source, between devices).
        device_id: u32,
        /// Context id.
        context_id: u32,
        /// Stream id.
        stream_id: u32,
        /// `CUpti_ActivityMemcpyKind`.
        copy_kind: u8,
        /// `CUpti_ActivityMemoryKind` of the source.
        source_kind: u8,
        /// `CUpti_ActivityMemoryKind` of the destination.
        destination_kind: u8,
        /// Explicit padding.
        reserved0: u8,
        /// Graph node id, 0 outside graphs.
        graph_node_id: u64,
        /// Graph id, 0 outside graphs.
        graph_id: u32,
        /// Destination device between devices, else `device_id`.
        destination_device_id: u32,
        /// Destination context between devices, else `context_id`.
        destination_context_id: u32,
        /// Copies in a batch (CUPTI 12.8+), else 1.
        copy_count: u32,
        /// Bytes copied.
        bytes: u64,
        /// Explicit padding.
        reserved: [u64; 2],
    }

    /// One memset (`CUpti_ActivityMemset*`).
    Memset = MEMSET {
        /// Start of execution.
        start_ns: u64,
        /// End of execution.
        end_ns: u64,
        /// Device id.
        device_id: u32,
        /// Context id.
        context_id: u32,
        /// Stream id.
        stream_id: u32,
        /// `CUpti_ActivityMemoryKind`.
        memory_kind: u32,
        /// Graph node id, 0 outside graphs.
        graph_node_id: u64,
        /// Graph id, 0 outside graphs.
        graph_id: u32,
        /// The value set.
        value: u32,
        /// Bytes set.
        bytes: u64,
        /// Explicit padding.
        reserved: [u64; 3],
    }

    /// One allocation or free (`CUpti_ActivityMemory3`, `4`).
    Memory = MEMORY {
        /// When.
        timestamp_ns: u64,
        /// Address.
        address: u64,
        /// Bytes.
        bytes: u64,
        /// `CUpti_ActivityMemoryOperationType`: 1 allocation, 2 release.
        operation: u32,
        /// `CUpti_ActivityMemoryKind`.
        memory_kind: u32,
        /// Device id.
        device_id: u32,
        /// Context id.
        context_id: u32,
        /// Stream id of a stream-ordered allocation.
        stream_id: u32,
        /// `CUpti_ActivityMemoryPoolType`, 0 outside pools.
        pool_type: u32,
        /// Pool address, 0 outside pools.
        pool_address: u64,
        /// Explicit padding.
        reserved: [u64; 3],
    }

    /// One driver or runtime API call (`CUpti_ActivityAPI`).
    Api = API {
        /// Entry.
        start_ns: u64,
        /// Return.
        end_ns: u64,
        /// Callback id.
        cbid: u32,
        /// Thread id (`gettid`) in the process's pid namespace.
        thread_id: u32,
        /// `CUresult` or `cudaError_t`.
        return_value: u32,
        /// Explicit padding.
        reserved0: u32,
        /// Explicit padding.
        reserved: [u64; 6],
    }

    /// One synchronisation (`CUpti_ActivitySynchronization*`).
    Synchronization = SYNCHRONIZATION {
        /// Start.
        start_ns: u64,
        /// End.
        end_ns: u64,
        /// `CUpti_ActivitySynchronizationType`.
        sync_type: u32,
        /// Context id.
        context_id: u32,
        /// Stream id.
        stream_id: u32,
        /// Event id.
        event_id: u32,
        /// Return value (CUPTI 12.8+), else 0.
        return_value: u32,
        /// Explicit padding.
        reserved0: u32,
        /// Explicit padding.
        reserved: [u64; 5],
    }

    /// Time that CUPTI or the driver spent on something else than the program (`CUpti_ActivityOverhead*`).
    Overhead = OVERHEAD {
        /// Start.
        start_ns: u64,
        /// End.
        end_ns: u64,
        /// `CUpti_ActivityOverheadKind`.
        overhead_kind: u32,
        /// `CUpti_ActivityObjectKind`.
        object_kind: u32,
        /// Explicit padding.
        reserved: [u64; 7],
    }

    /// One whole graph launch (`CUpti_ActivityGraphTrace*`).
    GraphTrace = GRAPH_TRACE {
        /// Start of execution.
        start_ns: u64,
        /// End of execution.
        end_ns: u64,
        /// Device id.
        device_id: u32,
        /// Context id.
        context_id: u32,
        /// Stream id.
        stream_id: u32,
        /// Graph id.
        graph_id: u32,
        /// Explicit padding.
        reserved: [u64; 6],
    }

    /// One device, told at each arming (`CUpti_ActivityDevice4` to `6`).
    Device = DEVICE {
        /// Device id.
        device_id: u32,
        /// Id of the name in the names region.
        name_id: u32,
        /// UUID.
        uuid: [u8; 16],
        /// Total memory.
        memory_bytes: u64,
        /// Peak memory bandwidth, kB/s.
        bandwidth_kb_s: u64,
        /// Multiprocessors.
        multiprocessors: u32,
        /// Registers per multiprocessor.
        registers_per_multiprocessor: u32,
        /// Shared memory per multiprocessor.
        shared_bytes_per_multiprocessor: u32,
        /// Core clock, kHz.
        core_clock_khz: u32,
        /// Resident warps per multiprocessor.
        warps_per_multiprocessor: u16,
        /// Resident blocks per multiprocessor.
        blocks_per_multiprocessor: u16,
        /// Compute capability, major.
        compute_major: u16,
        /// Compute capability, minor.
        compute_minor: u16,
        /// MIG GPU instance id.
        gpu_instance_id: u32,
        /// MIG compute instance id.
        compute_instance_id: u32,
        /// Explicit padding.
        reserved: u64,
    }

    /// One context (`CUpti_ActivityContext*`).
    Context = CONTEXT {
        /// Context id.
        context_id: u32,
        /// Device id.
        device_id: u32,
        /// Id of the default stream.
        null_stream_id: u32,
        /// Explicit padding.
        reserved0: u32,
        /// Explicit padding.
        reserved: [u64; 8],
    }

    /// The shim was armed or disarmed.
    Session = SESSION {
        /// When.
        timestamp_ns: u64,
        /// A [`crate::control::ShimState`].
        state: u32,
        /// Bits of [`crate::layout::kinds`] that are enabled.
        kinds: u32,
        /// `cuptiGetVersion`.
        cupti_version: u32,
        /// `cuDriverGetVersion`.
        driver_version: u32,
        /// Explicit padding.
        reserved: [u64; 7],
    }

    /// CUPTI reported that it dropped records.
    Dropped = DROPPED {
        /// When the shim learnt of it.
        timestamp_ns: u64,
        /// How many.
        count: u64,
        /// Explicit padding.
        reserved: [u64; 8],
    }
}
