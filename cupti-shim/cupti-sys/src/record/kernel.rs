//! In: a record of kind `KERNEL` (3) or `CONCURRENT_KERNEL` (10). Out: one kernel execution.

use super::codes::{ChannelType, LaunchType};
use super::view::view;

view! {
    /// `CUpti_ActivityKernel4` to `13`: one execution of a CUDA kernel on a device.
    pub struct Kernel: "CUpti_ActivityKernel", at least 144 bytes;
    always {
        /// Registers of each thread.
        registers_per_thread: u16 = "registersPerThread" @ 6,
        /// When execution began, in ns; 0 together with `end_ns` where CUPTI could not collect it.
        start_ns: u64 = "start" @ 16,
        /// When execution ended, in ns.
        end_ns: u64 = "end" @ 24,
        /// When the kernel was fully complete, children included, in ns; 0 where CUPTI does not know.
        completed_ns: u64 = "completed" @ 32,
        /// Device it ran on.
        device_id: u32 = "deviceId" @ 40,
        /// Context it ran in.
        context_id: u32 = "contextId" @ 44,
        /// Stream it ran on.
        stream_id: u32 = "streamId" @ 48,
        /// Blocks in the grid along x.
        grid_x: u32 = "gridX" @ 52,
        /// Blocks in the grid along y.
        grid_y: u32 = "gridY" @ 56,
        /// Blocks in the grid along z.
        grid_z: u32 = "gridZ" @ 60,
        /// Threads in a block along x.
        block_x: u32 = "blockX" @ 64,
        /// Threads in a block along y.
        block_y: u32 = "blockY" @ 68,
        /// Threads in a block along z.
        block_z: u32 = "blockZ" @ 72,
        /// Shared memory that the kernel's code asks for, in bytes per block.
        static_shared_memory_bytes: u32 = "staticSharedMemory" @ 76,
        /// Shared memory that the launch asked for, in bytes per block.
        dynamic_shared_memory_bytes: u32 = "dynamicSharedMemory" @ 80,
        /// Local memory of each thread, in bytes.
        local_memory_per_thread_bytes: u32 = "localMemoryPerThread" @ 84,
        /// Ties the execution to the driver or runtime call that launched it.
        correlation_id: u32 = "correlationId" @ 92,
        /// CUPTI's own number for the launch; unique where nothing wrapped.
        grid_id: u64 = "gridId" @ 96,
        /// Address of the NUL-terminated, mangled name, shared by all records of this kernel. Copy it, never change it.
        name_address: u64 = "name" @ 104,
        /// When the launch was queued, in ns; 0 unless latency timestamps are on.
        queued_ns: u64 = "queued" @ 120,
        /// When the launch was handed to the device, in ns; 0 unless latency timestamps are on.
        submitted_ns: u64 = "submitted" @ 128,
        /// How it was launched.
        launch_type: u8 => LaunchType = "launchType" @ 136,
        /// Shared memory size that the driver set, in bytes.
        shared_memory_executed_bytes: u32 = "sharedMemoryExecuted" @ 140,
    }
    late {
        /// Graph node that this execution came from; 0 outside a graph.
        graph_node_id: u64 = "graphNodeId" @ 144,
        /// Graph that this execution came from; 0 outside a graph.
        graph_id: u32 = "graphId" @ 156,
        /// Hardware channel.
        channel_id: u32 = "channelID" @ 168,
        /// Sort of hardware channel.
        channel_type: u32 => ChannelType = "channelType" @ 172,
        /// Blocks in a cluster along x.
        cluster_x: u32 = "clusterX" @ 176,
        /// Blocks in a cluster along y.
        cluster_y: u32 = "clusterY" @ 180,
        /// Blocks in a cluster along z.
        cluster_z: u32 = "clusterZ" @ 184,
        /// Local memory of the whole launch, in bytes.
        local_memory_total_bytes: u64 = "localMemoryTotal_v2" @ 192,
        /// Largest cluster that the device could run for this kernel, in blocks (12.0).
        max_potential_cluster_size: u32 = "maxPotentialClusterSize" @ 200,
        /// Clusters that could be resident at once (12.0).
        max_active_clusters: u32 = "maxActiveClusters" @ 204,
        /// Whether it belongs to a graph that the device, not the host, launched (13.0).
        is_device_launched: u8 => bool = "isDeviceLaunched" @ 208,
        /// Priority of the launch (13.1).
        priority: i32 = "priority" @ 216,
        /// Graph that the executed graph was instantiated from (13.4).
        source_graph_id: u32 = "sourceGraphId" @ 232,
        /// Node of that graph (13.4).
        source_graph_node_id: u64 = "sourceGraphNodeId" @ 240,
    }
    since {}
}
