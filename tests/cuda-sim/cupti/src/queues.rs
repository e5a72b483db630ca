//! Activity buffers being filled: one queue for the process, or one for each thread.
//!
//! Enters: records. Leaves: buffers that are full, or that a flush takes. Refuses: a record for which the client gives
//! no room; it is dropped and counted. Below API version 27 a NULL buffer ends the process, as it may the real CUPTI.
//!
//! Locks: the *request lock* (around `bufferRequested`, and what `cuptiActivityGetNumDroppedRecords` takes) comes before
//! a queue's lock. No lock of a queue is held while the client is called.

use crate::buffer::Buffer;
use crate::in_flight::Place;
use crate::layout::{GARBAGE, Record};
use crate::locks::{die, hold, hold_or_abort};
use crate::session::Session;
use crate::thread;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// `CUpti_BuffersCallbackRequestFunc`.
pub type BufferRequested =
    unsafe extern "C" fn(buffer: *mut *mut u8, size: *mut usize, max_records: *mut usize);
/// `CUpti_BuffersCallbackCompleteFunc`.
pub type BufferCompleted = unsafe extern "C" fn(
    context: *mut core::ffi::c_void,
    stream_id: u32,
    buffer: *mut u8,
    size: usize,
    valid_size: usize,
);

/// Records start at multiples of this (`ACTIVITY_RECORD_ALIGNMENT`).
const ALIGNMENT: usize = 8;

/// The client's two functions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Callbacks {
    /// Lends a buffer.
    pub(crate) requested: BufferRequested,
    /// Takes it back.
    pub(crate) completed: BufferCompleted,
}

/// Where the records of one thread, or of all, go.
#[derive(Default)]
pub(crate) struct Queue {
    current: Mutex<Option<Arc<Buffer>>>,
}

/// Outcome of asking for a buffer.
enum Refill {
    /// The client lent one.
    Requested,
    /// Another thread had been faster.
    FoundOne,
    /// The client declined, or lent one that is too small.
    Refused,
}

/// What `bufferRequested` gave.
struct Lent {
    memory: NonNull<u8>,
    size: usize,
    max_records: usize,
}

/// All queues of a session.
pub(crate) struct Queues {
    callbacks: AtomicPtr<Callbacks>,
    request: Mutex<()>,
    dropped: AtomicUsize,
    shared: &'static Queue,
    /// Every queue but the shared one, and those of them that no thread has.
    threads: Mutex<(Vec<&'static Queue>, Vec<&'static Queue>)>,
    retired: Mutex<Vec<Arc<Buffer>>>,
}

impl Queues {
    pub(crate) fn new() -> Self {
        Self {
            callbacks: AtomicPtr::new(core::ptr::null_mut()),
            request: Mutex::new(()),
            dropped: AtomicUsize::new(0),
            shared: Box::leak(Box::default()),
            threads: Mutex::default(),
            retired: Mutex::default(),
        }
    }

    /// Replaces the client's functions, silently, as CUPTI does. The old pair is leaked: a thread may be in it.
    pub(crate) fn set_callbacks(&self, callbacks: Callbacks) {
        self.callbacks.store(Box::leak(Box::new(callbacks)), Ordering::Release);
    }

    /// The client's functions, once it has registered them.
    pub(crate) fn callbacks(&self) -> Option<Callbacks> {
        // SAFETY: null, or leaked by set_callbacks.
        unsafe { self.callbacks.load(Ordering::Acquire).as_ref() }.copied()
    }

    /// The process-wide queue.
    pub(crate) fn shared(&self) -> &'static Queue {
        self.shared
    }

    /// A queue for the calling thread: one that an ended thread left, with whatever stands in it, or a new one.
    pub(crate) fn take_for_thread(&self) -> &'static Queue {
        let mut threads = hold(&self.threads);
        threads.1.pop().unwrap_or_else(|| {
            let queue: &'static Queue = Box::leak(Box::default());
            threads.0.push(queue);
            queue
        })
    }

    /// The calling thread ends.
    pub(crate) fn give_back(&self, queue: &'static Queue) {
        hold(&self.threads).1.push(queue);
    }

    /// Counts a record that could not be kept.
    pub(crate) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of dropped records since the last call.
    pub(crate) fn take_dropped(&self) -> usize {
        let _request = hold_or_abort(
            &self.request,
            "cuptiActivityGetNumDroppedRecords waited 5 s for a bufferRequested that does not return: the client holds \
             a lock here that its bufferRequested takes; the real CUPTI would deadlock",
        );
        self.dropped.swap(0, Ordering::Relaxed)
    }

    /// Takes the buffers that a flush may hand out, oldest first: those that are full, and with `partly_filled` those
    /// still being filled; unless `forced`, only those without incomplete records.
    pub(crate) fn take_buffers(&self, partly_filled: bool, forced: bool) -> Vec<Arc<Buffer>> {
        let fit = |buffer: &mut Arc<Buffer>| forced || buffer.is_complete();
        let mut taken: Vec<_> = hold(&self.retired).extract_if(.., fit).collect();
        if partly_filled {
            let threads = hold(&self.threads).0.clone();
            for queue in threads.into_iter().chain([self.shared]) {
                let mut current = hold(&queue.current);
                if current.as_mut().is_some_and(|buffer| !buffer.is_empty() && fit(buffer)) {
                    taken.extend(current.take());
                }
            }
        }
        taken
    }

    /// Forgets every buffer; the client keeps the memory, CUPTI no longer writes to it.
    pub(crate) fn forget_all(&self) {
        let mut forgotten = self.take_buffers(true, true);
        let threads = hold(&self.threads).0.clone();
        for queue in threads.into_iter().chain([self.shared]) {
            forgotten.extend(hold(&queue.current).take());
        }
        for buffer in forgotten {
            buffer.close();
        }
        self.callbacks.store(core::ptr::null_mut(), Ordering::Release);
    }

    fn retire(&self, session: &Session, buffer: Arc<Buffer>) {
        let mut retired = hold(&self.retired);
        let ready = buffer.retire();
        retired.push(buffer);
        drop(retired);
        if ready {
            session.worker.ring();
        }
    }
}

impl Session {
    /// Puts the record into the calling thread's queue; where it stands, or `None` when it was dropped and counted.
    #[inline]
    pub(crate) fn append(&'static self, record: &Record, incomplete: bool) -> Option<Place> {
        if self.faults.drops_record() {
            self.queues.count_dropped();
            return None;
        }
        let queue =
            if self.attributes.buffers_per_thread() { thread::queue(self) } else { self.queues.shared() };
        let place = self.append_to(queue, record, incomplete);
        if place.is_some() && self.faults.adds_unknown() {
            self.append_to(queue, &self.records.unknown.record(), false);
        }
        place
    }

    fn append_to(&'static self, queue: &Queue, record: &Record, incomplete: bool) -> Option<Place> {
        let bytes = record.bytes();
        let tail = self.records.larger_bytes();
        let mut requested_at = None;
        loop {
            let mut current = hold(&queue.current);
            if let Some(buffer) = current.as_ref() {
                // SAFETY: the lock of the queue whose current buffer this is, is held.
                if let Some(offset) = unsafe { buffer.append(bytes, tail, GARBAGE, incomplete) } {
                    let place = Place { buffer: Arc::clone(buffer), offset, len: bytes.len() };
                    drop(current);
                    if let Some(begun) = requested_at {
                        self.report_request(queue, begun);
                    }
                    return Some(place);
                }
                let full = current.take();
                drop(current);
                full.into_iter().for_each(|full| self.queues.retire(self, full));
            } else {
                drop(current);
            }
            let begun = self.reports_requests().then(|| self.clock.now());
            match self.refill(queue, bytes.len() + tail) {
                Refill::Refused => {
                    self.queues.count_dropped();
                    return None;
                }
                Refill::Requested => requested_at = begun,
                Refill::FoundOne => {}
            }
        }
    }

    /// Puts a complete record where there is room for it, else counts it as dropped. For CUPTI's report on a request,
    /// which must not ask for another buffer in turn.
    pub(crate) fn append_if_room(&self, queue: &Queue, record: &Record) {
        let current = hold(&queue.current);
        let tail = self.records.larger_bytes();
        // SAFETY: the lock of the queue whose current buffer this is, is held.
        let fits = |buffer: &Arc<Buffer>| unsafe { buffer.append(record.bytes(), tail, GARBAGE, false) };
        if current.as_ref().and_then(fits).is_none() {
            self.queues.count_dropped();
        }
    }

    /// Gives the queue a buffer with room for `need` bytes, unless another thread has. One that is not used goes back to
    /// the client at once, outside the request lock.
    fn refill(&self, queue: &Queue, need: usize) -> Refill {
        let Some(callbacks) = self.queues.callbacks() else { return Refill::Refused };
        loop {
            let request = hold(&self.queues.request);
            if hold(&queue.current).is_some() {
                return Refill::FoundOne;
            }
            let Some(lent) = self.request(callbacks) else { return Refill::Refused };
            let fits = lent.size >= need;
            if fits && !self.faults.returns_empty() {
                let room = self.faults.room(lent.size, need);
                let buffer = Buffer::new(lent.memory, lent.size, room, lent.max_records);
                *hold(&queue.current) = Some(Arc::new(buffer));
                return Refill::Requested;
            }
            drop(request);
            self.hand_over(callbacks, lent.memory, lent.size, 0);
            if !fits {
                return Refill::Refused;
            }
        }
    }

    /// Asks the client for a buffer; `None` if it declines.
    fn request(&self, callbacks: Callbacks) -> Option<Lent> {
        let (mut memory, mut size, mut max_records) = (core::ptr::null_mut(), 0_usize, 0_usize);
        thread::in_buffer_callback(|| {
            // SAFETY: CUPTI's contract for bufferRequested; the three pointers are valid for writes.
            unsafe { (callbacks.requested)(&raw mut memory, &raw mut size, &raw mut max_records) }
        });
        let Some(memory) = NonNull::new(memory) else {
            if self.identity.release.takes_null_buffer() {
                return None;
            }
            die("NULL buffer below API 27 crashes the real one")
        };
        if !memory.addr().get().is_multiple_of(ALIGNMENT) {
            die("bufferRequested returned a buffer that is not aligned to 8 bytes");
        }
        Some(Lent { memory, size, max_records })
    }
}
