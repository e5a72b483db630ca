//! Records of what happens on the host: API calls, allocations, synchronisation, external correlation, CUPTI's overhead.
//!
//! Enters: the driver's [`ApiCall`] or [`Activity`], process and thread ids, times already converted. Leaves: records,
//! complete from the start. Refuses: nothing.

use super::{Span, family};
use crate::kind;
use crate::layout::Record;
use cuda_sim_abi::{Activity, ApiCall, domain};

/// Process and thread as records name them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    /// Process id.
    pub(crate) process: u32,
    /// `pthread_self` cut to 32 bits, or `gettid`, as the client chose.
    pub(crate) thread: u32,
}

family! {
    /// `CUpti_ActivityAPI`.
    Api = "API", kind kind::DRIVER;
    fields {
        kind: u32 = "kind",
        cbid: u32 = "cbid",
        start: u64 = "start",
        end: u64 = "end",
        process: u32 = "processId",
        thread: u32 = "threadId",
        correlation: u32 = "correlationId",
        status: u32 = "returnValue",
    }
}

impl Api {
    pub(crate) fn write(&self, call: &ApiCall, span: Span, caller: Caller) -> Record {
        let mut record = self.template().record();
        record.put(self.kind, if call.domain == domain::RUNTIME { kind::RUNTIME } else { kind::DRIVER });
        record.put(self.cbid, call.cbid);
        record.put(self.start, span.start);
        record.put(self.end, span.end);
        record.put(self.process, caller.process);
        record.put(self.thread, caller.thread);
        record.put(self.correlation, call.correlation_id);
        record.put(self.status, call.status.cast_unsigned());
        record
    }
}

family! {
    /// `CUpti_ActivityExternalCorrelation`.
    ExternalCorrelation = "ExternalCorrelation", kind kind::EXTERNAL_CORRELATION;
    fields {
        external_kind: u32 = "externalKind",
        external_id: u64 = "externalId",
        correlation: u32 = "correlationId",
    }
}

impl ExternalCorrelation {
    pub(crate) fn write(&self, external_kind: u32, external_id: u64, correlation_id: u32) -> Record {
        let mut record = self.template().record();
        record.put(self.external_kind, external_kind);
        record.put(self.external_id, external_id);
        record.put(self.correlation, correlation_id);
        record
    }
}

family! {
    /// `CUpti_ActivityMemory3` and later. The stream is 0 unless the operation is asynchronous.
    Memory = "Memory", kind kind::MEMORY2;
    fields {
        operation: u32 = "memoryOperationType",
        memory_kind: u32 = "memoryKind",
        correlation: u32 = "correlationId",
        address: u64 = "address",
        bytes: u64 = "bytes",
        timestamp: u64 = "timestamp",
        process: u32 = "processId",
        device: u32 = "deviceId",
        context: u32 = "contextId",
        stream: u32 = "streamId",
        is_async: u32 = "isAsync",
    }
}

impl Memory {
    pub(crate) fn write(&self, event: &Activity, span: Span, caller: Caller) -> Record {
        let mut record = self.template().record();
        record.put(self.operation, event.operation);
        record.put(self.memory_kind, event.source_kind);
        record.put(self.correlation, event.correlation_id);
        record.put(self.address, event.address);
        record.put(self.bytes, event.bytes);
        record.put(self.timestamp, span.start);
        record.put(self.process, caller.process);
        record.put(self.device, event.device_id);
        record.put(self.context, event.context_id);
        record.put(self.stream, if event.is_async == 0 { kind::NO_STREAM } else { event.stream_id });
        record.put(self.is_async, event.is_async);
        record
    }
}

family! {
    /// `CUpti_ActivitySynchronization` and later.
    Synchronization = "Synchronization", kind kind::SYNCHRONIZATION;
    fields {
        operation: u32 = "type",
        start: u64 = "start",
        end: u64 = "end",
        correlation: u32 = "correlationId",
        context: u32 = "contextId",
        stream: u32 = "streamId",
        event: u32 = "cudaEventId",
    }
}

impl Synchronization {
    pub(crate) fn write(&self, event: &Activity, span: Span) -> Record {
        let whole_context = event.operation == kind::SYNC_CONTEXT;
        let mut record = self.template().record();
        record.put(self.operation, event.operation);
        record.put(self.start, span.start);
        record.put(self.end, span.end);
        record.put(self.correlation, event.correlation_id);
        record.put(self.context, event.context_id);
        record.put(self.stream, if whole_context { kind::SYNC_NOT_APPLICABLE } else { event.stream_id });
        record.put(self.event, kind::SYNC_NOT_APPLICABLE);
        record
    }
}

family! {
    /// `CUpti_ActivityOverhead` and later, always of a thread.
    Overhead = "Overhead", kind kind::OVERHEAD;
    fields {
        overhead_kind: u32 = "overheadKind",
        object_kind: u32 = "objectKind",
        object: [u8; 12] = "objectId",
        start: u64 = "start",
        end: u64 = "end",
    }
}

impl Overhead {
    pub(crate) fn write(&self, overhead_kind: u32, span: Span, caller: Caller) -> Record {
        let (process, thread) = (u64::from(caller.process), u64::from(caller.thread));
        let object = (u128::from(thread) << 32 | u128::from(process)).to_le_bytes();
        let mut record = self.template().record();
        record.put(self.overhead_kind, overhead_kind);
        record.put(self.object_kind, kind::OBJECT_THREAD);
        if let Some(object) = object.first_chunk() {
            record.put(self.object, *object);
        }
        record.put(self.start, span.start);
        record.put(self.end, span.end);
        record
    }
}
