//! From the driver's hooks to records: what is enabled is written, what is not leaves no trace.
//!
//! ```text
//!  launching thread   work_enqueued ─► record without times ─► ticket
//!  device's thread    work_ended ────► ticket ─► times into the record (or later, under late_ms)
//!  calling thread     api_ended ─────► external correlation records, API record
//! ```
//!
//! Enters: the driver's structs. Leaves: records in the calling thread's queue. Refuses: node records while graphs are
//! traced as wholes.

use crate::in_flight::{Place, Ticket};
use crate::kind;
use crate::layout::Record;
use crate::records::Span;
use crate::session::Session;
use crate::thread;
use core::ffi::c_void;
use cuda_sim_abi::{Activity, ApiCall, ContextInfo, DeviceInfo, Resource, activity, resource};

impl Session {
    /// An API call has ended on this thread.
    pub(crate) fn api_ended(&'static self, call: &ApiCall) {
        if !self.enablement.records_call(call.domain, call.cbid) {
            return;
        }
        if self.enablement.is_enabled(kind::EXTERNAL_CORRELATION) {
            thread::external_ids(|external_kind, id| {
                self.append(&self.records.external.write(external_kind, id, call.correlation_id), false);
            });
        }
        let span = self.clock.span(call.start_ns, call.end_ns);
        self.append(&self.records.api.write(call, span, self.caller()), false);
    }

    /// Device work was enqueued by this thread.
    pub(crate) fn work_enqueued(&'static self, work: &Activity) {
        let ticket = match self.describe(work, Span::default()) {
            None => Ticket::Settled,
            Some(record) => match self.append(&record, true) {
                None => Ticket::Dropped,
                Some(place) => Ticket::Incomplete(place),
            },
        };
        self.in_flight.insert(work.sequence, ticket);
    }

    /// Device work has ended, or something happened on the host that has no enqueue.
    pub(crate) fn work_ended(&'static self, work: &Activity) {
        if matches!(work.kind, activity::MEMORY | activity::SYNC) {
            self.host_event(work);
            return;
        }
        let span = self.clock.span(work.start_ns, work.end_ns);
        match self.in_flight.remove(work.sequence) {
            Some(ticket) if self.faults.late.is_zero() => self.settle(ticket, work.kind, span),
            Some(ticket) => self.worker.bring_later(self.faults.late, ticket, work.kind, span),
            // Its enqueue was not announced.
            None => {
                if let Some(record) = self.describe(work, span) {
                    self.append(&record, false);
                }
            }
        }
    }

    /// Writes the times into the record that the ticket stands for.
    pub(crate) fn settle(&self, ticket: Ticket, work: u32, span: Span) {
        let Ticket::Incomplete(Place { buffer, offset, len }) = ticket else { return };
        let span = if self.faults.withholds_times() { Span::default() } else { span };
        let completion = buffer.complete(offset, len, |record| match work {
            activity::KERNEL => self.records.kernel.complete(record, span),
            activity::MEMCPY if is_peer_copy(record) => self.records.memcpy_peer.complete(record, span),
            activity::MEMCPY => self.records.memcpy.complete(record, span),
            activity::MEMSET => self.records.memset.complete(record, span),
            _ => self.records.graph.complete(record, span),
        });
        if completion == crate::buffer::Completion::Ready {
            self.worker.ring();
        }
    }

    /// The record of device work, if its kind is enabled.
    fn describe(&self, work: &Activity, span: Span) -> Option<Record> {
        let enabled = |kind| self.enablement.is_enabled(kind);
        let is_node = work.graph_id != 0 && work.kind != activity::GRAPH;
        if is_node && self.enablement.is_graph_level() {
            return None;
        }
        let records = &self.records;
        match work.kind {
            activity::KERNEL if enabled(kind::CONCURRENT_KERNEL) => {
                Some(records.kernel.write(kind::CONCURRENT_KERNEL, work, span))
            }
            activity::KERNEL if enabled(kind::KERNEL) => Some(records.kernel.write(kind::KERNEL, work, span)),
            activity::MEMCPY if work.peer_device_id != work.device_id => {
                enabled(kind::MEMCPY2).then(|| records.memcpy_peer.write(work, span))
            }
            activity::MEMCPY => enabled(kind::MEMCPY).then(|| records.memcpy.write(work, span)),
            activity::MEMSET => enabled(kind::MEMSET).then(|| records.memset.write(work, span)),
            activity::GRAPH => enabled(kind::GRAPH_TRACE).then(|| records.graph.write(work, span)),
            _ => None,
        }
    }

    fn host_event(&'static self, event: &Activity) {
        let is_memory = event.kind == activity::MEMORY;
        let needed = if is_memory { kind::MEMORY2 } else { kind::SYNCHRONIZATION };
        if !self.enablement.is_enabled(needed) {
            return;
        }
        let span = self.clock.span(event.start_ns, event.end_ns);
        let record = if is_memory {
            self.records.memory.write(event, span, self.caller())
        } else {
            self.records.synchronization.write(event, span)
        };
        self.append(&record, false);
    }

    /// A context, stream or graph came or went.
    pub(crate) fn resource_changed(&'static self, event: &Resource) {
        match event.event {
            resource::CONTEXT_CREATED if self.enablement.is_enabled(kind::CONTEXT) => {
                let context = ContextInfo {
                    context_id: event.context_id,
                    device_id: event.device_id,
                    null_stream_id: event.object_id,
                    reserved: 0,
                };
                self.append(&self.records.context.write(&context, self.caller().process), false);
            }
            resource::STREAM_CREATED if self.enablement.is_enabled(kind::STREAM) => {
                let flag = kind::STREAM_FLAG_DEFAULT;
                self.append(&self.records.stream.write(event.context_id, event.object_id, flag), false);
            }
            _ => {}
        }
    }

    /// `cuptiActivityEnableAndDump`: records of what exists already.
    pub(crate) fn dump(&'static self, activity_kind: u32) {
        let Some(driver) = self.driver().filter(|_| self.queues.callbacks().is_some()) else { return };
        match activity_kind {
            kind::DEVICE => {
                // SAFETY: the driver's own function.
                for ordinal in 0..unsafe { (driver.device_count)() } {
                    let mut info = core::mem::MaybeUninit::<DeviceInfo>::uninit();
                    // SAFETY: `info` has room for what the driver writes; it has when the call returns 0.
                    let described = unsafe { (driver.describe_device)(ordinal, info.as_mut_ptr()) } == 0;
                    if described {
                        // SAFETY: as above.
                        let info = unsafe { info.assume_init() };
                        self.append(&self.records.device.write(ordinal, &info), false);
                    }
                }
            }
            kind::CONTEXT | kind::STREAM => {
                let mut contexts: Vec<ContextInfo> = Vec::new();
                // SAFETY: `collect` is called during this call only, with the vector as its data.
                unsafe { (driver.visit_contexts)(collect, (&raw mut contexts).cast()) };
                if activity_kind == kind::CONTEXT {
                    for context in contexts {
                        self.append(&self.records.context.write(&context, self.caller().process), false);
                    }
                    return;
                }
                for context in contexts {
                    let (id, stream) = (context.context_id, context.null_stream_id);
                    self.append(&self.records.stream.write(id, stream, kind::STREAM_FLAG_NULL), false);
                }
                for stream in self.handles.streams() {
                    let (id, stream) = (stream.context_id, stream.stream_id);
                    self.append(&self.records.stream.write(id, stream, kind::STREAM_FLAG_DEFAULT), false);
                }
            }
            _ => {}
        }
    }
}

/// The two copy records differ in layout; the kind stands at the start of both.
fn is_peer_copy(record: &[u8]) -> bool {
    record.first_chunk().is_some_and(|kind| u32::from_ne_bytes(*kind) == kind::MEMCPY2)
}

unsafe extern "C" fn collect(data: *mut c_void, info: *const ContextInfo) {
    // SAFETY: `data` is the vector that `dump` passed; `info` is valid during this call.
    unsafe {
        if let (Some(contexts), Some(info)) = (data.cast::<Vec<ContextInfo>>().as_mut(), info.as_ref()) {
            contexts.push(*info);
        }
    }
}
