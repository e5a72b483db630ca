//! Records of work that a device does: kernels, copies, memsets, whole graphs.
//!
//! Enters: the driver's [`Activity`] at enqueue (without times) or at its end. Leaves: records, and the times written
//! into a record that already stands in a client's buffer. Refuses: nothing.

use super::family;
use crate::kind;
use crate::layout::Record;
use cuda_sim_abi::Activity;

/// Start and end in the clock that the client chose; zeros while unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    /// Start, nanoseconds.
    pub(crate) start: u64,
    /// End, nanoseconds.
    pub(crate) end: u64,
}

family! {
    /// `CUpti_ActivityKernel9` and later.
    Kernel = "Kernel", kind kind::CONCURRENT_KERNEL;
    fields {
        kind: u32 = "kind",
        registers: u16 = "registersPerThread",
        start: u64 = "start",
        end: u64 = "end",
        completed: u64 = "completed",
        device: u32 = "deviceId",
        context: u32 = "contextId",
        stream: u32 = "streamId",
        grid_x: u32 = "gridX",
        grid_y: u32 = "gridY",
        grid_z: u32 = "gridZ",
        block_x: u32 = "blockX",
        block_y: u32 = "blockY",
        block_z: u32 = "blockZ",
        static_shared: u32 = "staticSharedMemory",
        dynamic_shared: u32 = "dynamicSharedMemory",
        correlation: u32 = "correlationId",
        grid_id: u64 = "gridId",
        name: u64 = "name",
        shared_executed: u32 = "sharedMemoryExecuted",
        graph_node: u64 = "graphNodeId",
        graph: u32 = "graphId",
        channel: u32 = "channelID",
        channel_type: u32 = "channelType",
    }
}

impl Kernel {
    pub(crate) fn write(&self, kind: u32, work: &Activity, span: Span) -> Record {
        let mut record = self.template().record();
        let [grid_x, grid_y, grid_z] = work.grid;
        let [block_x, block_y, block_z] = work.block;
        record.put(self.kind, kind);
        record.put(self.registers, u16::try_from(work.registers).unwrap_or(u16::MAX));
        record.put(self.start, span.start);
        record.put(self.end, span.end);
        record.put(self.completed, span.end);
        record.put(self.device, work.device_id);
        record.put(self.context, work.context_id);
        record.put(self.stream, work.stream_id);
        record.put(self.grid_x, grid_x);
        record.put(self.grid_y, grid_y);
        record.put(self.grid_z, grid_z);
        record.put(self.block_x, block_x);
        record.put(self.block_y, block_y);
        record.put(self.block_z, block_z);
        record.put(self.static_shared, work.static_shared_bytes);
        record.put(self.dynamic_shared, work.dynamic_shared_bytes);
        record.put(self.correlation, work.correlation_id);
        record.put(self.grid_id, work.sequence);
        record.put(self.name, work.name.expose_provenance() as u64);
        record.put(self.shared_executed, work.static_shared_bytes.saturating_add(work.dynamic_shared_bytes));
        record.put(self.graph_node, work.graph_node_id);
        record.put(self.graph, work.graph_id);
        record.put(self.channel, work.stream_id);
        record.put(self.channel_type, kind::CHANNEL_COMPUTE);
        record
    }

    pub(crate) fn complete(&self, record: &mut [u8], span: Span) {
        self.start.put_in(record, span.start);
        self.end.put_in(record, span.end);
        self.completed.put_in(record, span.end);
    }
}

family! {
    /// `CUpti_ActivityMemcpy5` and later.
    Memcpy = "Memcpy", kind kind::MEMCPY;
    fields {
        direction: u8 = "copyKind",
        source_kind: u8 = "srcKind",
        destination_kind: u8 = "dstKind",
        flags: u8 = "flags",
        bytes: u64 = "bytes",
        start: u64 = "start",
        end: u64 = "end",
        device: u32 = "deviceId",
        context: u32 = "contextId",
        stream: u32 = "streamId",
        correlation: u32 = "correlationId",
        graph_node: u64 = "graphNodeId",
        graph: u32 = "graphId",
        channel: u32 = "channelID",
        channel_type: u32 = "channelType",
    }
    later {
        copies: u64 = "copyCount",
    }
}

impl Memcpy {
    pub(crate) fn write(&self, work: &Activity, span: Span) -> Record {
        let mut record = self.template().record();
        record.put(self.direction, low_byte(work.operation));
        record.put(self.source_kind, low_byte(work.source_kind));
        record.put(self.destination_kind, low_byte(work.destination_kind));
        record.put(self.flags, low_byte(work.is_async));
        record.put(self.bytes, work.bytes);
        record.put(self.start, span.start);
        record.put(self.end, span.end);
        record.put(self.device, work.device_id);
        record.put(self.context, work.context_id);
        record.put(self.stream, work.stream_id);
        record.put(self.correlation, work.correlation_id);
        record.put(self.graph_node, work.graph_node_id);
        record.put(self.graph, work.graph_id);
        record.put(self.channel, work.stream_id);
        record.put(self.channel_type, kind::CHANNEL_COPY);
        record.put(self.copies, 1);
        record
    }

    pub(crate) fn complete(&self, record: &mut [u8], span: Span) {
        self.start.put_in(record, span.start);
        self.end.put_in(record, span.end);
    }
}

family! {
    /// `CUpti_ActivityMemcpyPtoP4`.
    MemcpyPeer = "MemcpyPtoP", kind kind::MEMCPY2;
    fields {
        direction: u8 = "copyKind",
        source_kind: u8 = "srcKind",
        destination_kind: u8 = "dstKind",
        flags: u8 = "flags",
        bytes: u64 = "bytes",
        start: u64 = "start",
        end: u64 = "end",
        device: u32 = "deviceId",
        context: u32 = "contextId",
        stream: u32 = "streamId",
        source_device: u32 = "srcDeviceId",
        source_context: u32 = "srcContextId",
        destination_device: u32 = "dstDeviceId",
        destination_context: u32 = "dstContextId",
        correlation: u32 = "correlationId",
        graph_node: u64 = "graphNodeId",
        graph: u32 = "graphId",
        channel: u32 = "channelID",
        channel_type: u32 = "channelType",
    }
}

impl MemcpyPeer {
    pub(crate) fn write(&self, work: &Activity, span: Span) -> Record {
        let mut record = self.template().record();
        record.put(self.direction, low_byte(work.operation));
        record.put(self.source_kind, low_byte(work.source_kind));
        record.put(self.destination_kind, low_byte(work.destination_kind));
        record.put(self.flags, low_byte(work.is_async));
        record.put(self.bytes, work.bytes);
        record.put(self.start, span.start);
        record.put(self.end, span.end);
        record.put(self.device, work.device_id);
        record.put(self.context, work.context_id);
        record.put(self.stream, work.stream_id);
        record.put(self.source_device, work.device_id);
        record.put(self.source_context, work.context_id);
        record.put(self.destination_device, work.peer_device_id);
        record.put(self.destination_context, work.peer_context_id);
        record.put(self.correlation, work.correlation_id);
        record.put(self.graph_node, work.graph_node_id);
        record.put(self.graph, work.graph_id);
        record.put(self.channel, work.stream_id);
        record.put(self.channel_type, kind::CHANNEL_COPY);
        record
    }

    pub(crate) fn complete(&self, record: &mut [u8], span: Span) {
        self.start.put_in(record, span.start);
        self.end.put_in(record, span.end);
    }
}

family! {
    /// `CUpti_ActivityMemset4` and later.
    Memset = "Memset", kind kind::MEMSET;
    fields {
        value: u32 = "value",
        bytes: u64 = "bytes",
        start: u64 = "start",
        end: u64 = "end",
        device: u32 = "deviceId",
        context: u32 = "contextId",
        stream: u32 = "streamId",
        correlation: u32 = "correlationId",
        flags: u16 = "flags",
        memory_kind: u16 = "memoryKind",
        graph_node: u64 = "graphNodeId",
        graph: u32 = "graphId",
        channel: u32 = "channelID",
        channel_type: u32 = "channelType",
    }
}

impl Memset {
    pub(crate) fn write(&self, work: &Activity, span: Span) -> Record {
        let mut record = self.template().record();
        record.put(self.value, low_half(work.address));
        record.put(self.bytes, work.bytes);
        record.put(self.start, span.start);
        record.put(self.end, span.end);
        record.put(self.device, work.device_id);
        record.put(self.context, work.context_id);
        record.put(self.stream, work.stream_id);
        record.put(self.correlation, work.correlation_id);
        record.put(self.flags, u16::from(low_byte(work.is_async)));
        record.put(self.memory_kind, u16::from(low_byte(work.source_kind)));
        record.put(self.graph_node, work.graph_node_id);
        record.put(self.graph, work.graph_id);
        record.put(self.channel, work.stream_id);
        record.put(self.channel_type, kind::CHANNEL_COMPUTE);
        record
    }

    pub(crate) fn complete(&self, record: &mut [u8], span: Span) {
        self.start.put_in(record, span.start);
        self.end.put_in(record, span.end);
    }
}

family! {
    /// `CUpti_ActivityGraphTrace` and later.
    GraphTrace = "GraphTrace", kind kind::GRAPH_TRACE;
    fields {
        correlation: u32 = "correlationId",
        start: u64 = "start",
        end: u64 = "end",
        device: u32 = "deviceId",
        graph: u32 = "graphId",
        context: u32 = "contextId",
        stream: u32 = "streamId",
    }
    later {
        end_device: u32 = "endDeviceId",
        end_context: u32 = "endContextId",
    }
}

impl GraphTrace {
    pub(crate) fn write(&self, work: &Activity, span: Span) -> Record {
        let mut record = self.template().record();
        record.put(self.correlation, work.correlation_id);
        record.put(self.start, span.start);
        record.put(self.end, span.end);
        record.put(self.device, work.device_id);
        record.put(self.graph, work.graph_id);
        record.put(self.context, work.context_id);
        record.put(self.stream, work.stream_id);
        record.put(self.end_device, work.device_id);
        record.put(self.end_context, work.context_id);
        record
    }

    pub(crate) fn complete(&self, record: &mut [u8], span: Span) {
        self.start.put_in(record, span.start);
        self.end.put_in(record, span.end);
    }
}

/// CUPTI keeps small enumerations in one byte.
fn low_byte(value: u32) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

/// The memset value is the low half of what the driver reports.
fn low_half(value: u64) -> u32 {
    (value & u64::from(u32::MAX)) as u32
}
