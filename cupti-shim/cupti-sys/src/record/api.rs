//! In: a record of kind `DRIVER` (4) or `RUNTIME` (5). Out: one call of the CUDA API by the host.

use super::view::view;

view! {
    /// `CUpti_ActivityAPI`: one call of the driver or runtime API. A launch's record is the call, not the execution.
    pub struct Api: "CUpti_ActivityAPI", at least 40 bytes;
    always {
        /// Which function: a [`crate::DriverCbid`] or a [`crate::RuntimeCbid`], by the record's kind.
        cbid: u32 = "cbid" @ 4,
        /// When the call began, in ns.
        start_ns: u64 = "start" @ 8,
        /// When the call returned, in ns.
        end_ns: u64 = "end" @ 16,
        /// Process, as it sees its own id.
        process_id: u32 = "processId" @ 24,
        /// Thread: `gettid()` after `cuptiSetThreadIdType(SYSTEM)`, else the low half of `pthread_self()`.
        thread_id: u32 = "threadId" @ 28,
        /// Ties the call to the work that it caused.
        correlation_id: u32 = "correlationId" @ 32,
        /// What the call returned: `CUresult` or `cudaError_t`, by the record's kind.
        return_value: u32 = "returnValue" @ 36,
    }
    late {}
    since {}
}
