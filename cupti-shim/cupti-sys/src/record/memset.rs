//! In: a record of kind `MEMSET` (2). Out: one fill of device memory.

use super::codes::{ChannelType, MemoryKind};
use super::view::view;

/// Bit of `flags`: the call was asynchronous (`CUPTI_ACTIVITY_FLAG_MEMSET_ASYNC`).
const FLAG_ASYNC: u16 = 1;

view! {
    /// `CUpti_ActivityMemset4` and `5`: one fill of memory with a value.
    pub struct Memset: "CUpti_ActivityMemset", at least 88 bytes;
    always {
        /// The value written.
        value: u32 = "value" @ 4,
        /// Bytes written.
        size_bytes: u64 = "bytes" @ 8,
        /// When the fill began, in ns; 0 together with `end_ns` where CUPTI could not collect it.
        start_ns: u64 = "start" @ 16,
        /// When the fill ended, in ns.
        end_ns: u64 = "end" @ 24,
        /// Device it ran on.
        device_id: u32 = "deviceId" @ 32,
        /// Context it ran in.
        context_id: u32 = "contextId" @ 36,
        /// Stream it ran on.
        stream_id: u32 = "streamId" @ 40,
        /// Ties the fill to the driver or runtime call that asked for it.
        correlation_id: u32 = "correlationId" @ 44,
        /// Flags; see [`Memset::is_async`].
        flags: u16 = "flags" @ 48,
        /// Sort of memory written.
        memory_kind: u16 => MemoryKind = "memoryKind" @ 50,
        /// Graph node that this fill came from; 0 outside a graph.
        graph_node_id: u64 = "graphNodeId" @ 64,
        /// Graph that this fill came from; 0 outside a graph.
        graph_id: u32 = "graphId" @ 72,
        /// Hardware channel.
        channel_id: u32 = "channelID" @ 76,
        /// Sort of hardware channel.
        channel_type: u32 => ChannelType = "channelType" @ 80,
    }
    late {
        /// Graph that the executed graph was instantiated from (13.4).
        source_graph_id: u32 = "sourceGraphId" @ 88,
        /// Node of that graph (13.4).
        source_graph_node_id: u64 = "sourceGraphNodeId" @ 96,
    }
    since {
        /// Whether it belongs to a graph that the device, not the host, launched; padding before 13.0.
        V13_0 is_device_launched: u8 => bool = "isDeviceLaunched" @ 84,
    }
}

impl Memset<'_> {
    /// Whether the call was asynchronous.
    #[inline(always)]
    #[must_use]
    pub fn is_async(&self) -> bool {
        self.flags() & FLAG_ASYNC != 0
    }
}
