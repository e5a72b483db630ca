//! In: the enum numbers inside records. Out: open newtypes with the header's names. Refuses nothing.
//!
//! Numbers: `cupti_activity.h` of CUPTI 13.5; none changed since 11.8.

use super::scalar::widen;
use crate::open::open_newtype;

open_newtype! {
    /// `CUpti_ActivityMemcpyKind`: direction of a copy. D is device, H host, A array, P peer device.
    pub struct MemcpyKind(u32), prefix "CUPTI_ACTIVITY_MEMCPY_KIND_" {
        UNKNOWN = 0,
        HTOD = 1,
        DTOH = 2,
        HTOA = 3,
        ATOH = 4,
        ATOA = 5,
        ATOD = 6,
        DTOA = 7,
        DTOD = 8,
        HTOH = 9,
        PTOP = 10,
    }
}

open_newtype! {
    /// `CUpti_ActivityMemoryKind`: what sort of memory a copy, a memset or an allocation touches.
    pub struct MemoryKind(u32), prefix "CUPTI_ACTIVITY_MEMORY_KIND_" {
        UNKNOWN = 0,
        PAGEABLE = 1,
        PINNED = 2,
        DEVICE = 3,
        ARRAY = 4,
        MANAGED = 5,
        DEVICE_STATIC = 6,
        MANAGED_STATIC = 7,
    }
}

open_newtype! {
    /// `CUpti_ActivityMemoryOperationType`: whether memory was taken or given back.
    pub struct MemoryOperation(u32), prefix "CUPTI_ACTIVITY_MEMORY_OPERATION_TYPE_" {
        INVALID = 0,
        ALLOCATION = 1,
        RELEASE = 2,
    }
}

open_newtype! {
    /// `CUpti_ActivityMemoryPoolType`: whose pool an allocation came from; `INVALID` where none did.
    pub struct MemoryPoolType(u32), prefix "CUPTI_ACTIVITY_MEMORY_POOL_TYPE_" {
        INVALID = 0,
        LOCAL = 1,
        IMPORTED = 2,
    }
}

open_newtype! {
    /// `CUpti_ActivitySynchronizationType`: what the host, or a stream, waited for.
    pub struct SynchronizationType(u32), prefix "CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_" {
        UNKNOWN = 0,
        EVENT_SYNCHRONIZE = 1,
        STREAM_WAIT_EVENT = 2,
        STREAM_SYNCHRONIZE = 3,
        CONTEXT_SYNCHRONIZE = 4,
    }
}

open_newtype! {
    /// `CUpti_ActivityOverheadKind`: what CUPTI or the driver spent time on instead of the program.
    pub struct OverheadKind(u32), prefix "CUPTI_ACTIVITY_OVERHEAD_" {
        UNKNOWN = 0,
        DRIVER_COMPILER = 1,
        CUPTI_BUFFER_FLUSH = 1 << 16,
        CUPTI_INSTRUMENTATION = 2 << 16,
        CUPTI_RESOURCE = 3 << 16,
        RUNTIME_TRIGGERED_MODULE_LOADING = 4 << 16,
        LAZY_FUNCTION_LOADING = 5 << 16,
        COMMAND_BUFFER_FULL = 6 << 16,
        ACTIVITY_BUFFER_REQUEST = 7 << 16,
        UVM_ACTIVITY_INIT = 8 << 16,
    }
}

open_newtype! {
    /// `CUpti_ActivityLaunchType`: how a kernel was launched.
    pub struct LaunchType(u32), prefix "CUPTI_ACTIVITY_LAUNCH_TYPE_" {
        REGULAR = 0,
        COOPERATIVE_SINGLE_DEVICE = 1,
        COOPERATIVE_MULTI_DEVICE = 2,
        CBL_COMMANDLIST = 3,
    }
}

open_newtype! {
    /// `CUpti_ChannelType`: the hardware channel that carried the work.
    pub struct ChannelType(u32), prefix "CUPTI_CHANNEL_TYPE_" {
        INVALID = 0,
        COMPUTE = 1,
        ASYNC_MEMCPY = 2,
        DECOMP = 3,
    }
}

open_newtype! {
    /// `CUpti_ExternalCorrelationKind`: whose id an external correlation record carries.
    pub struct ExternalCorrelationKind(u32), prefix "CUPTI_EXTERNAL_CORRELATION_KIND_" {
        INVALID = 0,
        UNKNOWN = 1,
        OPENACC = 2,
        CUSTOM0 = 3,
        CUSTOM1 = 4,
        CUSTOM2 = 5,
    }
}

open_newtype! {
    /// `CUpti_ActivityStreamFlag`: how a stream was created.
    pub struct StreamFlag(u32), prefix "CUPTI_ACTIVITY_STREAM_CREATE_FLAG_" {
        UNKNOWN = 0,
        DEFAULT = 1,
        NON_BLOCKING = 2,
        NULL = 3,
    }
}

widen! {
    MemcpyKind: u8;
    MemoryKind: u8, u16, u32;
    MemoryOperation: u32;
    MemoryPoolType: u32;
    SynchronizationType: u32;
    OverheadKind: u32;
    LaunchType: u8;
    ChannelType: u32;
    ExternalCorrelationKind: u32;
    StreamFlag: u32;
}
