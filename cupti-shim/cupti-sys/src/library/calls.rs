//! In: a loaded CUPTI and arguments in Rust's types. Out: what CUPTI answers, as a `Result`. Refuses: a function that
//! the library lacks ([`CallError::Absent`]), without a call.

#![allow(unsafe_code, reason = "every call crosses into C")]

use std::ffi::{CStr, c_char, c_void};

use super::types::{
    ActivityAttribute, AttributeValue, BufferCompleted, BufferRequested, Callback, ContextHandle, Flush,
    GraphExecHandle, SubscriberHandle, SubscriberParams, ThreadIdType, TimestampCallback,
};
use super::{CallError, Cupti};
use crate::record::ExternalCorrelationKind;
use crate::{ActivityKind, ApiVersion, CallbackDomain, DriverCbid, RuntimeCbid, Status};

/// Calls the function in a field of the table by its exported name.
macro_rules! call {
    ($cupti:ident.$field:ident as $name:literal ($($argument:expr),*)) => {{
        let Some(function) = $cupti.functions.$field else {
            return Err(CallError::Absent { function: $name });
        };
        // SAFETY: the pointer has the type of CUPTI's header and libcuda is mapped (the promise of `Cupti::open`);
        // pointer arguments are to live locals of the right type, or are the caller's promise.
        let status = unsafe { function($($argument),*) };
        status.ok().map_err(|status| CallError::Failed { function: $name, status })
    }};
}

/// # Errors
/// Every method fails with [`CallError::Absent`] or [`CallError::Failed`].
#[allow(clippy::missing_errors_doc, reason = "said once, above")]
impl Cupti {
    /// `cuptiGetVersion`.
    pub fn version(&self) -> Result<ApiVersion, CallError> {
        let mut version = 0;
        call!(self.get_version as "cuptiGetVersion"(&raw mut version))?;
        Ok(ApiVersion(version))
    }

    /// `cuptiGetResultString`: the header's name of a status.
    pub fn result_string(&self, status: Status) -> Result<&CStr, CallError> {
        let mut text = std::ptr::null();
        call!(self.get_result_string as "cuptiGetResultString"(status, &raw mut text))?;
        Ok(self.text(text))
    }

    /// `cuptiGetErrorMessage` (12.2): a status in a sentence.
    pub fn error_message(&self, status: Status) -> Result<&CStr, CallError> {
        let mut text = std::ptr::null();
        call!(self.get_error_message as "cuptiGetErrorMessage"(status, &raw mut text))?;
        Ok(self.text(text))
    }

    /// `cuptiGetTimestamp`: now, in ns, of CUPTI's own clock.
    pub fn timestamp_ns(&self) -> Result<u64, CallError> {
        let mut timestamp = 0;
        call!(self.get_timestamp as "cuptiGetTimestamp"(&raw mut timestamp))?;
        Ok(timestamp)
    }

    /// `cuptiSetThreadIdType`.
    pub fn set_thread_id_type(&self, kind: ThreadIdType) -> Result<(), CallError> {
        call!(self.set_thread_id_type as "cuptiSetThreadIdType"(kind))
    }

    /// `cuptiFinalize`: takes CUPTI out of the process.
    ///
    /// # Safety
    /// Called from the exit site of a driver or runtime API callback; from elsewhere it races with the program's
    /// own calls.
    pub unsafe fn finalize(&self) -> Result<(), CallError> {
        call!(self.finalize as "cuptiFinalize"())
    }

    /// `cuptiSubscribe`.
    ///
    /// # Safety
    /// `callback` never unwinds, and may be called with `userdata` on any thread until [`Cupti::unsubscribe`].
    pub unsafe fn subscribe(
        &self,
        callback: Callback,
        userdata: *mut c_void,
    ) -> Result<SubscriberHandle, CallError> {
        let mut subscriber = SubscriberHandle::NONE;
        call!(self.subscribe as "cuptiSubscribe"(&raw mut subscriber, callback, userdata))?;
        Ok(subscriber)
    }

    /// `cuptiSubscribe_v2` (13.0).
    ///
    /// # Safety
    /// As for [`Cupti::subscribe`], and the pointers in `params` are null or as its fields say.
    pub unsafe fn subscribe_v2(
        &self,
        callback: Callback,
        userdata: *mut c_void,
        params: &mut SubscriberParams,
    ) -> Result<SubscriberHandle, CallError> {
        let mut subscriber = SubscriberHandle::NONE;
        call!(self.subscribe_v2 as "cuptiSubscribe_v2"(&raw mut subscriber, callback, userdata, params))?;
        Ok(subscriber)
    }

    /// `cuptiUnsubscribe`.
    pub fn unsubscribe(&self, subscriber: SubscriberHandle) -> Result<(), CallError> {
        call!(self.unsubscribe as "cuptiUnsubscribe"(subscriber))
    }

    /// `cuptiEnableCallback`: one function or event. `cbid` is the number in a cbid type of that domain.
    pub fn enable_callback(
        &self,
        enable: bool,
        subscriber: SubscriberHandle,
        domain: CallbackDomain,
        cbid: u32,
    ) -> Result<(), CallError> {
        call!(self.enable_callback as "cuptiEnableCallback"(u32::from(enable), subscriber, domain, cbid))
    }

    /// `cuptiEnableDomain`: all functions or events of a domain.
    pub fn enable_domain(
        &self,
        enable: bool,
        subscriber: SubscriberHandle,
        domain: CallbackDomain,
    ) -> Result<(), CallError> {
        call!(self.enable_domain as "cuptiEnableDomain"(u32::from(enable), subscriber, domain))
    }

    /// `cuptiGetCallbackName`.
    pub fn callback_name(&self, domain: CallbackDomain, cbid: u32) -> Result<&CStr, CallError> {
        let mut name = std::ptr::null();
        call!(self.get_callback_name as "cuptiGetCallbackName"(domain, cbid, &raw mut name))?;
        Ok(self.text(name))
    }

    /// `cuptiGetGraphExecId` (12.3): the number that records carry of an executable graph.
    ///
    /// # Safety
    /// `graph` is a live `CUgraphExec`, as in a callback of [`crate::ResourceCbid::GRAPHEXEC_CREATED`].
    pub unsafe fn graph_exec_id(&self, graph: GraphExecHandle) -> Result<u32, CallError> {
        let mut id = 0;
        call!(self.get_graph_exec_id as "cuptiGetGraphExecId"(graph, &raw mut id))?;
        Ok(id)
    }

    /// `cuptiActivityRegisterCallbacks`: replaces whatever was registered, without a word to its owner.
    ///
    /// # Safety
    /// The callbacks never unwind, may be called on any thread until the process ends, and buffers stay live from
    /// the request to their completion.
    pub unsafe fn activity_register_callbacks(
        &self,
        requested: BufferRequested,
        completed: BufferCompleted,
    ) -> Result<(), CallError> {
        call!(self.activity_register_callbacks as "cuptiActivityRegisterCallbacks"(requested, completed))
    }

    /// `cuptiActivityRegisterTimestampCallback`: the clock of all records, set before any kind is enabled.
    ///
    /// # Safety
    /// The callback never unwinds, and may be called on any thread until the process ends.
    pub unsafe fn activity_register_timestamp_callback(
        &self,
        timestamp: TimestampCallback,
    ) -> Result<(), CallError> {
        call!(self.activity_register_timestamp_callback as "cuptiActivityRegisterTimestampCallback"(timestamp))
    }

    /// `cuptiActivityEnable`.
    pub fn activity_enable(&self, kind: ActivityKind) -> Result<(), CallError> {
        call!(self.activity_enable as "cuptiActivityEnable"(kind))
    }

    /// `cuptiActivityEnableAndDump`: also records what already exists (devices, contexts, streams).
    pub fn activity_enable_and_dump(&self, kind: ActivityKind) -> Result<(), CallError> {
        call!(self.activity_enable_and_dump as "cuptiActivityEnableAndDump"(kind))
    }

    /// `cuptiActivityDisable`.
    pub fn activity_disable(&self, kind: ActivityKind) -> Result<(), CallError> {
        call!(self.activity_disable as "cuptiActivityDisable"(kind))
    }

    /// `cuptiActivityEnableDriverApi` (12.5): records one driver function, or no longer.
    pub fn activity_enable_driver_api(&self, cbid: DriverCbid, enable: bool) -> Result<(), CallError> {
        call!(self.activity_enable_driver_api as "cuptiActivityEnableDriverApi"(cbid.0, u8::from(enable)))
    }

    /// `cuptiActivityEnableRuntimeApi` (12.5): records one runtime function, or no longer.
    pub fn activity_enable_runtime_api(&self, cbid: RuntimeCbid, enable: bool) -> Result<(), CallError> {
        call!(self.activity_enable_runtime_api as "cuptiActivityEnableRuntimeApi"(cbid.0, u8::from(enable)))
    }

    /// `cuptiActivityEnableAllSyncRecords` (12.8): whether waits that did not have to wait are recorded too.
    pub fn activity_enable_all_sync_records(&self, enable: bool) -> Result<(), CallError> {
        call!(self.activity_enable_all_sync_records as "cuptiActivityEnableAllSyncRecords"(u8::from(enable)))
    }

    /// `cuptiActivityEnableLatencyTimestamps`: must come before CUDA is initialised.
    pub fn activity_enable_latency_timestamps(&self, enable: bool) -> Result<(), CallError> {
        call!(self.activity_enable_latency_timestamps as "cuptiActivityEnableLatencyTimestamps"(u8::from(enable)))
    }

    /// `cuptiActivitySetAttribute`. CUPTI refuses a value of the wrong size.
    pub fn activity_set_attribute<V: AttributeValue>(
        &self,
        attribute: ActivityAttribute,
        mut value: V,
    ) -> Result<(), CallError> {
        let mut size = size_of::<V>();
        let value: *mut c_void = (&raw mut value).cast();
        call!(self.activity_set_attribute as "cuptiActivitySetAttribute"(attribute, &raw mut size, value))
    }

    /// `cuptiActivityGetAttribute`. CUPTI refuses a type that is too small.
    pub fn activity_attribute<V: AttributeValue>(
        &self,
        attribute: ActivityAttribute,
    ) -> Result<V, CallError> {
        let mut value = V::default();
        let mut size = size_of::<V>();
        let place: *mut c_void = (&raw mut value).cast();
        call!(self.activity_get_attribute as "cuptiActivityGetAttribute"(attribute, &raw mut size, place))?;
        Ok(value)
    }

    /// `cuptiActivityPushExternalCorrelationId`, for the calling thread.
    pub fn push_external_correlation_id(
        &self,
        kind: ExternalCorrelationKind,
        id: u64,
    ) -> Result<(), CallError> {
        call!(self.activity_push_external_correlation_id as "cuptiActivityPushExternalCorrelationId"(kind, id))
    }

    /// `cuptiActivityPopExternalCorrelationId`, for the calling thread: the id that was on top.
    pub fn pop_external_correlation_id(&self, kind: ExternalCorrelationKind) -> Result<u64, CallError> {
        let mut last = 0;
        call!(self.activity_pop_external_correlation_id as
            "cuptiActivityPopExternalCorrelationId"(kind, &raw mut last))?;
        Ok(last)
    }

    /// `cuptiActivityFlushAll`. Of CUPTI's callbacks, only from those of driver and runtime calls.
    pub fn activity_flush_all(&self, flush: Flush) -> Result<(), CallError> {
        call!(self.activity_flush_all as "cuptiActivityFlushAll"(flush))
    }

    /// `cuptiActivityFlushPeriod`: CUPTI hands out full buffers each period, in ms; 0 stops that.
    pub fn activity_flush_period(&self, period_ms: u32) -> Result<(), CallError> {
        call!(self.activity_flush_period as "cuptiActivityFlushPeriod"(period_ms))
    }

    /// `cuptiActivityGetNumDroppedRecords`: records that found no buffer since the last call. Never under a lock
    /// that a [`BufferRequested`] takes.
    pub fn activity_dropped_records(
        &self,
        context: ContextHandle,
        stream_id: u32,
    ) -> Result<usize, CallError> {
        let mut dropped = 0;
        call!(self.activity_get_num_dropped_records as
            "cuptiActivityGetNumDroppedRecords"(context, stream_id, &raw mut dropped))?;
        Ok(dropped)
    }

    /// A text that CUPTI keeps in its own read-only data; empty where it gave none.
    fn text(&self, text: *const c_char) -> &CStr {
        if text.is_null() {
            return c"";
        }
        // SAFETY: not null; CUPTI answered success, so it is NUL-terminated, and it lives as long as the library,
        // which `self` keeps loaded.
        unsafe { CStr::from_ptr(text) }
    }
}
