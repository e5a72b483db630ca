//! In: a record of kind `MEMCPY` (1) or `MEMCPY2` (22). Out: one copy. The two structs part after the stream id.

use super::codes::{ChannelType, MemcpyKind, MemoryKind};
use super::view::view;

/// Bit of a copy's or memset's `flags`: the call was asynchronous (`CUPTI_ACTIVITY_FLAG_MEMCPY_ASYNC`).
const FLAG_ASYNC: u8 = 1;

view! {
    /// `CUpti_ActivityMemcpy5` to `7`: one copy between host and device, or within a device.
    pub struct Memcpy: "CUpti_ActivityMemcpy", at least 88 bytes;
    always {
        /// Direction.
        copy_kind: u8 => MemcpyKind = "copyKind" @ 4,
        /// Sort of memory read.
        src_kind: u8 => MemoryKind = "srcKind" @ 5,
        /// Sort of memory written.
        dst_kind: u8 => MemoryKind = "dstKind" @ 6,
        /// Flags; see [`Memcpy::is_async`].
        flags: u8 = "flags" @ 7,
        /// Bytes copied.
        size_bytes: u64 = "bytes" @ 8,
        /// When the copy began, in ns; 0 together with `end_ns` where CUPTI could not collect it.
        start_ns: u64 = "start" @ 16,
        /// When the copy ended, in ns.
        end_ns: u64 = "end" @ 24,
        /// Device it ran on.
        device_id: u32 = "deviceId" @ 32,
        /// Context it ran in.
        context_id: u32 = "contextId" @ 36,
        /// Stream it ran on.
        stream_id: u32 = "streamId" @ 40,
        /// Ties the copy to the driver or runtime call that asked for it.
        correlation_id: u32 = "correlationId" @ 44,
        /// Correlation id of the runtime call, where a runtime call caused a driver call.
        runtime_correlation_id: u32 = "runtimeCorrelationId" @ 48,
        /// Graph node that this copy came from; 0 outside a graph.
        graph_node_id: u64 = "graphNodeId" @ 64,
        /// Graph that this copy came from; 0 outside a graph.
        graph_id: u32 = "graphId" @ 72,
        /// Hardware channel.
        channel_id: u32 = "channelID" @ 76,
        /// Sort of hardware channel.
        channel_type: u32 => ChannelType = "channelType" @ 80,
    }
    late {
        /// Copies that this record stands for; more than 1 only for a batched copy (12.8).
        copy_count: u64 = "copyCount" @ 88,
        /// Graph that the executed graph was instantiated from (13.4).
        source_graph_id: u32 = "sourceGraphId" @ 96,
        /// Node of that graph (13.4).
        source_graph_node_id: u64 = "sourceGraphNodeId" @ 104,
    }
    since {
        /// Whether it belongs to a graph that the device, not the host, launched; padding before 13.0.
        V13_0 is_device_launched: u8 => bool = "isDeviceLaunched" @ 84,
    }
}

impl Memcpy<'_> {
    /// Whether the call was asynchronous.
    #[inline(always)]
    #[must_use]
    pub fn is_async(&self) -> bool {
        self.flags() & FLAG_ASYNC != 0
    }
}

view! {
    /// `CUpti_ActivityMemcpyPtoP4`: one copy between two devices.
    pub struct MemcpyPtoP: "CUpti_ActivityMemcpyPtoP", at least 96 bytes;
    always {
        /// Direction; CUPTI says `PTOP`.
        copy_kind: u8 => MemcpyKind = "copyKind" @ 4,
        /// Sort of memory read.
        src_kind: u8 => MemoryKind = "srcKind" @ 5,
        /// Sort of memory written.
        dst_kind: u8 => MemoryKind = "dstKind" @ 6,
        /// Flags; see [`MemcpyPtoP::is_async`].
        flags: u8 = "flags" @ 7,
        /// Bytes copied.
        size_bytes: u64 = "bytes" @ 8,
        /// When the copy began, in ns; 0 together with `end_ns` where CUPTI could not collect it.
        start_ns: u64 = "start" @ 16,
        /// When the copy ended, in ns.
        end_ns: u64 = "end" @ 24,
        /// Device that carried the copy out.
        device_id: u32 = "deviceId" @ 32,
        /// Context it ran in.
        context_id: u32 = "contextId" @ 36,
        /// Stream it ran on.
        stream_id: u32 = "streamId" @ 40,
        /// Device read.
        src_device_id: u32 = "srcDeviceId" @ 44,
        /// Context that owns the memory read.
        src_context_id: u32 = "srcContextId" @ 48,
        /// Device written.
        dst_device_id: u32 = "dstDeviceId" @ 52,
        /// Context that owns the memory written.
        dst_context_id: u32 = "dstContextId" @ 56,
        /// Ties the copy to the driver or runtime call that asked for it.
        correlation_id: u32 = "correlationId" @ 60,
        /// Graph node that this copy came from; 0 outside a graph.
        graph_node_id: u64 = "graphNodeId" @ 72,
        /// Graph that this copy came from; 0 outside a graph.
        graph_id: u32 = "graphId" @ 80,
        /// Hardware channel.
        channel_id: u32 = "channelID" @ 84,
        /// Sort of hardware channel.
        channel_type: u32 => ChannelType = "channelType" @ 88,
    }
    late {}
    since {}
}

impl MemcpyPtoP<'_> {
    /// Whether the call was asynchronous.
    #[inline(always)]
    #[must_use]
    pub fn is_async(&self) -> bool {
        self.flags() & FLAG_ASYNC != 0
    }
}
