//! Handing buffers back: `bufferCompleted`, on CUPTI's own thread or on the thread that flushes.
//!
//! Enters: buffers taken from the queues. Leaves: calls of the client's `bufferCompleted`, one at a time, and overhead
//! records. Refuses: a flush from inside a buffer callback, and one before any callbacks are registered.

use crate::buffer::Buffer;
use crate::kind;
use crate::locks::hold;
use crate::queues::{Callbacks, Queue};
use crate::records::Span;
use crate::session::Session;
use crate::status::Status;
use crate::thread;
use core::ptr::NonNull;
use std::sync::Arc;

impl Session {
    /// `cuptiActivityFlushAll`: hands out what is complete, with `forced` also what is not.
    pub(crate) fn flush_all(&'static self, forced: bool) -> Status {
        if thread::is_in_buffer_callback() || self.queues.callbacks().is_none() {
            return Status::INVALID_OPERATION;
        }
        let begun = self.clock.now();
        if self.hand_out(|session| session.queues.take_buffers(true, forced)) > 0 {
            self.report_overhead(kind::OVERHEAD_BUFFER_FLUSH, begun);
        }
        Status::SUCCESS
    }

    /// The worker's part: hands out what is full and complete.
    pub(crate) fn hand_out_full(&'static self) {
        self.hand_out(|session| session.queues.take_buffers(false, false));
    }

    /// Takes buffers under the delivery lock, so that a flush waits for what the worker has already taken.
    fn hand_out(&'static self, take: impl FnOnce(&Self) -> Vec<Arc<Buffer>>) -> usize {
        let _delivery = hold(&self.delivery);
        let Some(callbacks) = self.queues.callbacks() else { return 0 };
        let buffers = take(self);
        for buffer in &buffers {
            buffer.close();
            // SAFETY: closed, and taken out of the queues by this thread alone.
            let records = unsafe { buffer.records() };
            if self.faults.reorder {
                self.shuffle(records);
            }
            let (memory, size) = buffer.lent();
            self.hand_over(callbacks, memory, size, records.len());
        }
        buffers.len()
    }

    /// Calls `bufferCompleted`.
    pub(crate) fn hand_over(&self, callbacks: Callbacks, memory: NonNull<u8>, size: usize, valid: usize) {
        if !self.faults.slow_complete.is_zero() {
            std::thread::sleep(self.faults.slow_complete);
        }
        thread::in_buffer_callback(|| {
            // SAFETY: CUPTI's contract for bufferCompleted: memory and size as the client gave them, not used after.
            unsafe { (callbacks.completed)(core::ptr::null_mut(), 0, memory.as_ptr(), size, valid) }
        });
    }

    /// Puts the records into another order (Fisher and Yates), keeping them packed.
    fn shuffle(&self, records: &mut [u8]) {
        let old = records.to_vec();
        let mut pieces = Vec::new();
        let mut rest = old.as_slice();
        while let Some(kind) = rest.first_chunk() {
            let Some(stride) = self.records.stride(u32::from_ne_bytes(*kind)) else { return };
            let Some((piece, after)) = rest.split_at_checked(stride) else { return };
            pieces.push(piece);
            rest = after;
        }
        for last in (1..pieces.len()).rev() {
            let other = usize::try_from(self.faults.draw()).unwrap_or(0) % (last + 1);
            pieces.swap(last, other);
        }
        let mut to = records;
        for piece in pieces {
            let Some((here, after)) = to.split_at_mut_checked(piece.len()) else { return };
            here.copy_from_slice(piece);
            to = after;
        }
    }

    /// Whether requests for buffers become overhead records.
    pub(crate) fn reports_requests(&self) -> bool {
        self.identity.release.reports_buffer_requests() && self.enablement.is_enabled(kind::OVERHEAD)
    }

    /// Reports the request for the buffer that `queue` has just been given.
    pub(crate) fn report_request(&'static self, queue: &Queue, begun: u64) {
        let span = Span { start: begun, end: self.clock.now() };
        let record = self.records.overhead.write(kind::OVERHEAD_BUFFER_REQUEST, span, self.caller());
        self.append_if_room(queue, &record);
    }

    fn report_overhead(&'static self, overhead: u32, begun: u64) {
        if self.enablement.is_enabled(kind::OVERHEAD) {
            let span = Span { start: begun, end: self.clock.now() };
            let record = self.records.overhead.write(overhead, span, self.caller());
            self.append(&record, false);
        }
    }
}
