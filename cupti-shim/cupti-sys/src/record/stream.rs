//! In: a record of kind `STREAM` (37). Out: one stream.

use super::codes::StreamFlag;
use super::view::view;

view! {
    /// `CUpti_ActivityStream`: one stream.
    pub struct Stream: "CUpti_ActivityStream", at least 24 bytes;
    always {
        /// Its context.
        context_id: u32 = "contextId" @ 4,
        /// Stream id, as other records name it.
        stream_id: u32 = "streamId" @ 8,
        /// Priority, clamped to what the device knows.
        priority: u32 = "priority" @ 12,
        /// How it was created.
        flag: u32 => StreamFlag = "flag" @ 16,
        /// Ties the stream to the call that created it.
        correlation_id: u32 = "correlationId" @ 20,
    }
    late {}
    since {}
}
