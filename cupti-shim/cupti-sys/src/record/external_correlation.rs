//! In: a record of kind `EXTERNAL_CORRELATION` (39). Out: a link between CUPTI's ids and somebody else's.

use super::codes::ExternalCorrelationKind;
use super::view::view;

view! {
    /// `CUpti_ActivityExternalCorrelation`: the id that was on top of an external stack when a call was made.
    pub struct ExternalCorrelation: "CUpti_ActivityExternalCorrelation", at least 24 bytes;
    always {
        /// Whose stack.
        external_kind: u32 => ExternalCorrelationKind = "externalKind" @ 4,
        /// The id that `cuptiActivityPushExternalCorrelationId` pushed.
        external_id: u64 = "externalId" @ 8,
        /// The call.
        correlation_id: u32 = "correlationId" @ 16,
    }
    late {}
    since {}
}
