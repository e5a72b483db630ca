//! In: a record of kind `GRAPH_TRACE` (51). Out: one execution of a whole CUDA graph.

use super::view::view;

view! {
    /// `CUpti_ActivityGraphTrace` and `2`: one execution of a CUDA graph, nodes not told apart.
    pub struct GraphTrace: "CUpti_ActivityGraphTrace", at least 48 bytes;
    always {
        /// Ties the execution to the graph launch call.
        correlation_id: u32 = "correlationId" @ 4,
        /// When the first node began, in ns; 0 together with `end_ns` where CUPTI could not collect it.
        start_ns: u64 = "start" @ 8,
        /// When the last node ended, in ns.
        end_ns: u64 = "end" @ 16,
        /// Device of the first node.
        device_id: u32 = "deviceId" @ 24,
        /// Graph.
        graph_id: u32 = "graphId" @ 28,
        /// Context of the first node.
        context_id: u32 = "contextId" @ 32,
        /// Stream that the graph was launched on.
        stream_id: u32 = "streamId" @ 36,
    }
    late {
        /// Device of the last node (12.3).
        end_device_id: u32 = "endDeviceId" @ 48,
        /// Context of the last node (12.3).
        end_context_id: u32 = "endContextId" @ 52,
    }
    since {}
}
