//! In: a record of kind `CONTEXT` (9). Out: one context and its device.

use super::view::view;

view! {
    /// `CUpti_ActivityContext` to `4`: one context.
    pub struct Context: "CUpti_ActivityContext", at least 16 bytes;
    always {
        /// Context id, as other records name it.
        context_id: u32 = "contextId" @ 4,
        /// Its device.
        device_id: u32 = "deviceId" @ 8,
        /// `CUpti_ActivityComputeApiKind`: 1 CUDA, 2 CUDA under MPS.
        compute_api_kind: u16 = "computeApiKind" @ 12,
        /// Low half of the id of its null stream.
        null_stream_id: u16 = "nullStreamId" @ 14,
    }
    late {
        /// Context that a green context was made from (12.4).
        parent_context_id: u32 = "parentContextId" @ 16,
        /// Whether it is a green context (12.4).
        is_green_context: u8 => bool = "isGreenContext" @ 20,
        /// `CUpti_ContextCigMode`: 0 none, 1 CUDA in graphics, 2 its fallback (12.5).
        cig_mode: u32 = "cigMode" @ 24,
        /// Process that the context belongs to (13.1).
        process_id: u64 = "processId" @ 32,
    }
    since {
        /// Multiprocessors given to a green context; padding before 12.5.
        V12_5 multiprocessors: u16 = "numMultiprocessors" @ 22,
    }
}
