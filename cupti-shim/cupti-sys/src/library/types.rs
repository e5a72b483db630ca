//! In: nothing. Out: the C types that cross CUPTI's interface: handles, callbacks, flags. Refuses nothing.
//!
//! Source: `cupti_activity.h` and `cupti_callbacks.h`, 11.8 to 13.5.

use std::ffi::{c_char, c_void};

use crate::CallbackDomain;
use crate::open::open_newtype;

/// `CUpti_SubscriberHandle`. A token that only CUPTI looks behind, so it is held as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct SubscriberHandle(usize);

impl SubscriberHandle {
    /// No subscriber; what CUPTI overwrites.
    pub(super) const NONE: Self = Self(0);

    /// The token, to keep it in an atomic.
    #[must_use]
    pub const fn to_raw(self) -> usize {
        self.0
    }

    /// The handle that [`Self::to_raw`] took apart.
    ///
    /// # Safety
    /// `raw` came from `to_raw`, and the handle has not been unsubscribed: CUPTI looks behind it.
    #[allow(unsafe_code, reason = "CUPTI trusts the number")]
    #[must_use]
    pub const unsafe fn from_raw(raw: usize) -> Self {
        Self(raw)
    }
}

/// `CUcontext`. A token that only the driver looks behind; 0 stands for "no context".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct ContextHandle(pub usize);

/// `CUpti_BuffersCallbackRequestFunc`: CUPTI asks for a buffer. Sets its address (8-byte aligned), its length in
/// bytes, and the most records to put in (0: as many as fit).
pub type BufferRequested =
    unsafe extern "C" fn(buffer: *mut *mut u8, size_bytes: *mut usize, max_records: *mut usize);

/// `CUpti_BuffersCallbackCompleteFunc`: CUPTI gives a buffer back; its first `valid_bytes` bytes hold records.
pub type BufferCompleted = unsafe extern "C" fn(
    context: ContextHandle,
    stream_id: u32,
    buffer: *mut u8,
    size_bytes: usize,
    valid_bytes: usize,
);

/// `CUpti_TimestampCallbackFunc`: now, in ns, of the clock that records shall carry.
pub type TimestampCallback = unsafe extern "C" fn() -> u64;

/// `CUpti_CallbackFunc`. `data` points to a [`CallbackData`] in the two API domains.
pub type Callback =
    unsafe extern "C" fn(userdata: *mut c_void, domain: CallbackDomain, cbid: u32, data: *const c_void);

open_newtype! {
    /// `CUpti_ApiCallbackSite`: whether a function is about to run or has run.
    pub struct CallbackSite(u32), prefix "CUPTI_API_" {
        ENTER = 0,
        EXIT = 1,
    }
}

open_newtype! {
    /// `CUpti_ActivityThreadIdType`: what fills the thread id of API records.
    pub struct ThreadIdType(u32), prefix "CUPTI_ACTIVITY_THREAD_ID_TYPE_" {
        DEFAULT = 0,
        SYSTEM = 1,
    }
}

open_newtype! {
    /// `CUpti_ActivityFlag`, as `cuptiActivityFlushAll` takes it. Forced also hands out incomplete records.
    pub struct Flush(u32), prefix "CUPTI_ACTIVITY_FLAG_FLUSH_" {
        COMPLETED = 0,
        FORCED = 1,
    }
}

open_newtype! {
    /// `CUpti_ActivityAttribute`: settings of the activity collection. Sizes are `usize`, switches are `u8`.
    pub struct ActivityAttribute(u32), prefix "CUPTI_ACTIVITY_ATTR_" {
        DEVICE_BUFFER_SIZE = 0,
        DEVICE_BUFFER_SIZE_CDP = 1,
        DEVICE_BUFFER_POOL_LIMIT = 2,
        PROFILING_SEMAPHORE_POOL_SIZE = 3,
        PROFILING_SEMAPHORE_POOL_LIMIT = 4,
        ZEROED_OUT_ACTIVITY_BUFFER = 5,
        DEVICE_BUFFER_PRE_ALLOCATE_VALUE = 6,
        PROFILING_SEMAPHORE_PRE_ALLOCATE_VALUE = 7,
        MEM_ALLOCATION_TYPE_HOST_PINNED = 8,
        PER_THREAD_ACTIVITY_BUFFER = 9,
        DEVICE_BUFFER_SIZE_DEVICE_GRAPHS = 10,
    }
}

/// A C type that an attribute's value can have.
pub trait AttributeValue: Copy + Default + private::Sealed {}
impl AttributeValue for u8 {}
impl AttributeValue for usize {}

mod private {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for usize {}
}

/// `CUpti_CallbackData`: one call of the driver or runtime API, seen on its way in or out.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CallbackData {
    /// On the way in or out.
    pub site: CallbackSite,
    /// The function's name, NUL-terminated.
    pub function_name: *const c_char,
    /// Its arguments, in the layout of `generated_cuda_meta.h`.
    pub function_params: *const c_void,
    /// Where its return value lies; meaningful on the way out.
    pub function_return_value: *mut c_void,
    /// The kernel's mangled name, for a launch; else null.
    pub symbol_name: *const c_char,
    /// The calling thread's context.
    pub context: ContextHandle,
    /// CUPTI's number for that context.
    pub context_uid: u32,
    /// Eight bytes that survive from the way in to the way out.
    pub correlation_data: *mut u64,
    /// Ties the call to the work that it causes.
    pub correlation_id: u32,
}

/// `CUpti_ResourceData`: a context, stream or graph comes or goes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ResourceData {
    /// The context that is meant, or in which the resource lives.
    pub context: ContextHandle,
    /// The stream, where one comes or goes.
    pub stream: *mut c_void,
    /// What the callback id says more: [`GraphData`] for graphs.
    pub descriptor: *const c_void,
}

/// `CUpti_GraphData`, to the end that it has since 11.8.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct GraphData {
    /// `CUgraph`.
    pub graph: *mut c_void,
    /// The `CUgraph` from which `graph` was cloned.
    pub original_graph: *mut c_void,
    /// `CUgraphNode`.
    pub node: *mut c_void,
    /// The `CUgraphNode` from which `node` was cloned.
    pub original_node: *mut c_void,
    /// `CUgraphNodeType`.
    pub node_type: u32,
    /// `CUgraphNode` that depends.
    pub dependency: *mut c_void,
    /// The executable graph.
    pub graph_exec: GraphExecHandle,
}

/// `CUgraphExec`. A token that only the driver looks behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct GraphExecHandle(pub usize);

/// `CUpti_SubscriberParams` of `cuptiSubscribe_v2`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SubscriberParams {
    struct_size: usize,
    /// Our name, NUL-terminated, or null; CUPTI copies it.
    pub subscriber_name: *const c_char,
    /// Where CUPTI writes the name of the tool that is in the way, or null.
    pub old_subscriber_name: *mut c_char,
    /// Length of that place, in bytes.
    pub old_subscriber_bytes: usize,
    /// 1 to share CUPTI with other subscribers that also ask to (13.2), else 0.
    pub allow_multiple_subscribers: u8,
    padding: [u8; 7],
}

impl SubscriberParams {
    /// No names, no sharing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            struct_size: size_of::<Self>(),
            subscriber_name: std::ptr::null(),
            old_subscriber_name: std::ptr::null_mut(),
            old_subscriber_bytes: 0,
            allow_multiple_subscribers: 0,
            padding: [0; 7],
        }
    }
}

impl Default for SubscriberParams {
    fn default() -> Self {
        Self::new()
    }
}

const _: () = {
    assert!(size_of::<CallbackData>() == 72);
    assert!(std::mem::offset_of!(CallbackData, context_uid) == 48);
    assert!(std::mem::offset_of!(CallbackData, correlation_id) == 64);
    assert!(size_of::<ResourceData>() == 24);
    assert!(size_of::<GraphData>() == 56);
    assert!(std::mem::offset_of!(GraphData, graph_exec) == 48);
    assert!(size_of::<SubscriberParams>() == 40);
};
