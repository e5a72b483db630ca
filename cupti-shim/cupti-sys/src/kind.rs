//! In: the number that opens every activity record. Out: its name. Refuses nothing: an unknown kind stays a number.
//!
//! Numbers: `cupti_activity.h` of CUPTI 13.5; none changed since 11.8, later versions only added.

use crate::open::open_newtype;

open_newtype! {
    /// `CUpti_ActivityKind`: what an activity record describes, and what `cuptiActivityEnable` switches on.
    pub struct ActivityKind(u32), prefix "CUPTI_ACTIVITY_KIND_" {
        INVALID = 0,
        MEMCPY = 1,
        MEMSET = 2,
        KERNEL = 3,
        DRIVER = 4,
        RUNTIME = 5,
        EVENT = 6,
        METRIC = 7,
        DEVICE = 8,
        CONTEXT = 9,
        CONCURRENT_KERNEL = 10,
        NAME = 11,
        MARKER = 12,
        MARKER_DATA = 13,
        SOURCE_LOCATOR = 14,
        GLOBAL_ACCESS = 15,
        BRANCH = 16,
        OVERHEAD = 17,
        CDP_KERNEL = 18,
        PREEMPTION = 19,
        ENVIRONMENT = 20,
        EVENT_INSTANCE = 21,
        MEMCPY2 = 22,
        METRIC_INSTANCE = 23,
        INSTRUCTION_EXECUTION = 24,
        UNIFIED_MEMORY_COUNTER = 25,
        FUNCTION = 26,
        MODULE = 27,
        DEVICE_ATTRIBUTE = 28,
        SHARED_ACCESS = 29,
        PC_SAMPLING = 30,
        PC_SAMPLING_RECORD_INFO = 31,
        INSTRUCTION_CORRELATION = 32,
        OPENACC_DATA = 33,
        OPENACC_LAUNCH = 34,
        OPENACC_OTHER = 35,
        CUDA_EVENT = 36,
        STREAM = 37,
        SYNCHRONIZATION = 38,
        EXTERNAL_CORRELATION = 39,
        NVLINK = 40,
        INSTANTANEOUS_EVENT = 41,
        INSTANTANEOUS_EVENT_INSTANCE = 42,
        INSTANTANEOUS_METRIC = 43,
        INSTANTANEOUS_METRIC_INSTANCE = 44,
        MEMORY = 45,
        PCIE = 46,
        OPENMP = 47,
        INTERNAL_LAUNCH_API = 48,
        MEMORY2 = 49,
        MEMORY_POOL = 50,
        GRAPH_TRACE = 51,
        JIT = 52,
        DEVICE_GRAPH_TRACE = 53,
        MEM_DECOMPRESS = 54,
        CONFIDENTIAL_COMPUTE_ROTATION = 55,
        GRAPH_HOST_NODE = 56,
        COMPUTE_ENGINE_CTX_SWITCH = 57,
        HOST_LAUNCH = 58,
        GREEN_CONTEXT = 59,
    }
}

impl std::fmt::Display for ActivityKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "activity kind {}", self.0),
        }
    }
}
