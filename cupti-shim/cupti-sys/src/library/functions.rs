//! In: a way to look a symbol up. Out: a table of typed function pointers, each of which may be absent.

use std::ffi::{CStr, c_char, c_void};

use super::types::{
    ActivityAttribute, BufferCompleted, BufferRequested, Callback, ContextHandle, Flush, GraphExecHandle,
    SubscriberHandle, SubscriberParams, ThreadIdType, TimestampCallback,
};
use crate::record::ExternalCorrelationKind;
use crate::{ActivityKind, ApiVersion, CallbackDomain, Status};

/// A function that we look up, and the CUPTI that first has it.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// Exported name.
    pub name: &'static str,
    /// First supported version that exports it.
    pub since: ApiVersion,
}

macro_rules! functions {
    ($($field:ident = $name:literal since $since:ident: fn($($argument:ident: $type:ty),*);)*) => {
        /// One pointer a function; all of them return a [`Status`].
        #[derive(Clone)]
        pub(super) struct Functions {
            $(pub(super) $field: Option<unsafe extern "C" fn($($argument: $type),*) -> Status>,)*
        }

        /// Every function that [`super::Cupti`] looks up.
        pub const FUNCTIONS: &[Function] = &[$(Function { name: $name, since: ApiVersion::$since }),*];

        #[allow(unsafe_code, reason = "dlsym returns untyped pointers")]
        impl Functions {
            /// # Safety
            /// What `lookup` returns for a name is null or a function with that name's signature in CUPTI's headers.
            pub(super) unsafe fn resolve(mut lookup: impl FnMut(&CStr) -> *mut c_void) -> Self {
                const fn c_name(bytes: &'static str) -> &'static CStr {
                    match CStr::from_bytes_with_nul(bytes.as_bytes()) {
                        Ok(name) => name,
                        Err(_) => c"",
                    }
                }
                Self {
                    $($field: {
                        let symbol = lookup(const { c_name(concat!($name, "\0")) });
                        // SAFETY: a null pointer is `None` of an `Option<fn>`; any other is, by the caller's
                        // promise, a function of exactly this type.
                        unsafe {
                            std::mem::transmute::<
                                *mut c_void,
                                Option<unsafe extern "C" fn($($argument: $type),*) -> Status>,
                            >(symbol)
                        }
                    },)*
                }
            }

            /// Each function's name, and whether it is there.
            pub(super) fn presence(&self) -> [(&'static str, bool); FUNCTIONS.len()] {
                [$(($name, self.$field.is_some())),*]
            }
        }
    };
}

// Signatures: cupti_activity.h, cupti_callbacks.h, cupti_result.h, cupti_version.h of 13.5, the same as in 11.8 where
// that has the function. Versions: the dynamic symbols of the libraries themselves.
functions! {
    get_version = "cuptiGetVersion" since V11_8: fn(version: *mut u32);
    get_result_string = "cuptiGetResultString" since V11_8: fn(result: Status, text: *mut *const c_char);
    get_error_message = "cuptiGetErrorMessage" since V12_2: fn(result: Status, text: *mut *const c_char);
    get_timestamp = "cuptiGetTimestamp" since V11_8: fn(timestamp: *mut u64);
    set_thread_id_type = "cuptiSetThreadIdType" since V11_8: fn(kind: ThreadIdType);
    finalize = "cuptiFinalize" since V11_8: fn();

    subscribe = "cuptiSubscribe" since V11_8:
        fn(subscriber: *mut SubscriberHandle, callback: Callback, userdata: *mut c_void);
    subscribe_v2 = "cuptiSubscribe_v2" since V13_0:
        fn(subscriber: *mut SubscriberHandle, callback: Callback, userdata: *mut c_void,
           params: *mut SubscriberParams);
    unsubscribe = "cuptiUnsubscribe" since V11_8: fn(subscriber: SubscriberHandle);
    enable_callback = "cuptiEnableCallback" since V11_8:
        fn(enable: u32, subscriber: SubscriberHandle, domain: CallbackDomain, cbid: u32);
    enable_domain = "cuptiEnableDomain" since V11_8:
        fn(enable: u32, subscriber: SubscriberHandle, domain: CallbackDomain);
    get_callback_name = "cuptiGetCallbackName" since V11_8:
        fn(domain: CallbackDomain, cbid: u32, name: *mut *const c_char);
    get_graph_exec_id = "cuptiGetGraphExecId" since V12_3: fn(graph: GraphExecHandle, id: *mut u32);

    activity_register_callbacks = "cuptiActivityRegisterCallbacks" since V11_8:
        fn(requested: BufferRequested, completed: BufferCompleted);
    activity_register_timestamp_callback = "cuptiActivityRegisterTimestampCallback" since V11_8:
        fn(timestamp: TimestampCallback);
    activity_enable = "cuptiActivityEnable" since V11_8: fn(kind: ActivityKind);
    activity_enable_and_dump = "cuptiActivityEnableAndDump" since V11_8: fn(kind: ActivityKind);
    activity_disable = "cuptiActivityDisable" since V11_8: fn(kind: ActivityKind);
    activity_enable_driver_api = "cuptiActivityEnableDriverApi" since V12_5: fn(cbid: u32, enable: u8);
    activity_enable_runtime_api = "cuptiActivityEnableRuntimeApi" since V12_5: fn(cbid: u32, enable: u8);
    activity_enable_all_sync_records = "cuptiActivityEnableAllSyncRecords" since V12_8: fn(enable: u8);
    activity_enable_latency_timestamps = "cuptiActivityEnableLatencyTimestamps" since V11_8: fn(enable: u8);
    activity_set_attribute = "cuptiActivitySetAttribute" since V11_8:
        fn(attribute: ActivityAttribute, size: *mut usize, value: *mut c_void);
    activity_get_attribute = "cuptiActivityGetAttribute" since V11_8:
        fn(attribute: ActivityAttribute, size: *mut usize, value: *mut c_void);
    activity_push_external_correlation_id = "cuptiActivityPushExternalCorrelationId" since V11_8:
        fn(kind: ExternalCorrelationKind, id: u64);
    activity_pop_external_correlation_id = "cuptiActivityPopExternalCorrelationId" since V11_8:
        fn(kind: ExternalCorrelationKind, last_id: *mut u64);
    activity_flush_all = "cuptiActivityFlushAll" since V11_8: fn(flag: Flush);
    activity_flush_period = "cuptiActivityFlushPeriod" since V11_8: fn(period_ms: u32);
    activity_get_next_record = "cuptiActivityGetNextRecord" since V11_8:
        fn(buffer: *mut u8, valid_bytes: usize, record: *mut *mut u8);
    activity_get_num_dropped_records = "cuptiActivityGetNumDroppedRecords" since V11_8:
        fn(context: ContextHandle, stream_id: u32, dropped: *mut usize);
}
