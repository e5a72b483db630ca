//! In: a record of kind `SYNCHRONIZATION` (38). Out: one wait of the host, or of a stream.

use super::codes::SynchronizationType;
use super::view::view;

view! {
    /// `CUpti_ActivitySynchronization` and `2`: one wait for a stream, an event or a context.
    pub struct Synchronization: "CUpti_ActivitySynchronization", at least 40 bytes;
    always {
        /// What was waited for.
        sync_type: u32 => SynchronizationType = "type" @ 4,
        /// When the wait began, in ns.
        start_ns: u64 = "start" @ 8,
        /// When the wait ended, in ns.
        end_ns: u64 = "end" @ 16,
        /// Ties the wait to the driver or runtime call.
        correlation_id: u32 = "correlationId" @ 24,
        /// Context.
        context_id: u32 = "contextId" @ 28,
        /// Stream; `u32::MAX` where the wait concerns none.
        stream_id: u32 = "streamId" @ 32,
        /// Event; `u32::MAX` where the wait concerns none.
        cuda_event_id: u32 = "cudaEventId" @ 36,
    }
    late {
        /// Ties a wait to the record of that very event (12.8).
        cuda_event_sync_id: u64 = "cudaEventSyncId" @ 40,
        /// What the call returned (12.8).
        return_value: u32 = "returnValue" @ 48,
    }
    since {}
}
