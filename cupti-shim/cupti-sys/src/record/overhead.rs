//! In: a record of kind `OVERHEAD` (17). Out: time that profiling or the driver took from the program.

use super::codes::OverheadKind;
use super::view::view;

view! {
    /// `CUpti_ActivityOverhead` to `3`: time that CUPTI, the compiler or the driver took from the program.
    pub struct Overhead: "CUpti_ActivityOverhead", at least 40 bytes;
    always {
        /// What took the time.
        overhead_kind: u32 => OverheadKind = "overheadKind" @ 4,
        /// What `object_id` names (`CUpti_ActivityObjectKind`): 1 process, 2 thread, 3 device, 4 context, 5 stream.
        object_kind: u32 = "objectKind" @ 8,
        /// For 1 and 2: process id, thread id. For 3 to 5: device, context and stream id. Each 4 bytes.
        object_id: [u8; 12] = "objectId" @ 12,
        /// When it began, in ns.
        start_ns: u64 = "start" @ 24,
        /// When it ended, in ns.
        end_ns: u64 = "end" @ 32,
    }
    late {
        /// The call that suffered it (12.3).
        correlation_id: u32 = "correlationId" @ 40,
        /// Address of a struct that depends on `overhead_kind`; 0 for none (12.4).
        overhead_data_address: u64 = "overheadData" @ 48,
    }
    since {}
}
