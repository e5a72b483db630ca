//! What CUPTI keeps for each thread: its queue, its ids, its external correlation ids, which callback it is in.
//!
//! Enters: calls on that thread. Leaves: values for that thread. Refuses: nothing; during thread exit, when
//! thread-local storage is gone, the process-wide queue and fresh ids are used.

use crate::queues::Queue;
use crate::session::Session;
use crate::status::Status;
use core::cell::{Cell, RefCell};

/// Kinds of `CUpti_ExternalCorrelationKind`: 1 (unknown) to 5 (custom 2).
const EXTERNAL_KINDS: usize = 6;

/// The entry and the exit callback of one API call share this value.
#[derive(Debug, Clone, Copy)]
struct CallData {
    domain: u32,
    correlation_id: u32,
    value: u64,
}

struct Local {
    epoch: Cell<u64>,
    queue: Cell<Option<&'static Queue>>,
    tid: Cell<u32>,
    in_buffer_callback: Cell<bool>,
    in_exit_callback: Cell<bool>,
    external: RefCell<[Vec<u64>; EXTERNAL_KINDS]>,
    calls: RefCell<Vec<CallData>>,
}

impl Drop for Local {
    fn drop(&mut self) {
        let Some(session) = Session::existing().filter(|session| session.epoch == self.epoch.get()) else {
            // An older session's, or in a forked child the parent's: its locks may be held for ever.
            return;
        };
        if let Some(queue) = self.queue.get() {
            session.queues.give_back(queue);
        }
    }
}

thread_local! {
    static LOCAL: Local = const {
        Local {
            epoch: Cell::new(0),
            queue: Cell::new(None),
            tid: Cell::new(0),
            in_buffer_callback: Cell::new(false),
            in_exit_callback: Cell::new(false),
            external: RefCell::new([const { Vec::new() }; EXTERNAL_KINDS]),
            calls: RefCell::new(Vec::new()),
        }
    };
}

/// This thread's queue in `session`, taken on first use.
#[inline]
pub(crate) fn queue(session: &'static Session) -> &'static Queue {
    let queue = LOCAL.try_with(|local| {
        if local.epoch.get() != session.epoch {
            // Another session's, or that of the process this one was forked from.
            local.epoch.set(session.epoch);
            local.queue.set(None);
            local.tid.set(0);
        }
        local.queue.get().unwrap_or_else(|| {
            let queue = session.queues.take_for_thread();
            local.queue.set(Some(queue));
            queue
        })
    });
    queue.unwrap_or_else(|_gone| session.queues.shared())
}

/// `gettid`, remembered.
pub(crate) fn system_id(session: &'static Session) -> u32 {
    let remembered = LOCAL.try_with(|local| {
        if local.epoch.get() != session.epoch || local.tid.get() == 0 {
            queue(session);
            local.tid.set(gettid());
        }
        local.tid.get()
    });
    remembered.unwrap_or_else(|_gone| gettid())
}

/// `pthread_self` cut to 32 bits, as the record's field is.
pub(crate) fn pthread_id() -> u32 {
    // SAFETY: pthread_self has no preconditions.
    let id = unsafe { libc::pthread_self() };
    (id & 0xFFFF_FFFF) as u32
}

fn gettid() -> u32 {
    // SAFETY: gettid has no preconditions.
    unsafe { libc::gettid() }.cast_unsigned()
}

/// Runs a client's buffer callback, remembering that this thread is in one.
pub(crate) fn in_buffer_callback<T>(callback: impl FnOnce() -> T) -> T {
    let before = LOCAL.try_with(|local| local.in_buffer_callback.replace(true)).unwrap_or(false);
    let result = callback();
    // Without thread-local storage there is nothing to restore.
    let _restored = LOCAL.try_with(|local| local.in_buffer_callback.set(before));
    result
}

/// Whether this thread is inside a client's buffer callback.
pub(crate) fn is_in_buffer_callback() -> bool {
    LOCAL.try_with(|local| local.in_buffer_callback.get()).unwrap_or(false)
}

/// Runs a subscriber's callback at the exit of an API call, remembering that this thread is in one.
pub(crate) fn in_exit_callback(callback: impl FnOnce()) {
    let before = LOCAL.try_with(|local| local.in_exit_callback.replace(true)).unwrap_or(false);
    callback();
    // Without thread-local storage there is nothing to restore.
    let _restored = LOCAL.try_with(|local| local.in_exit_callback.set(before));
}

/// Whether this thread is inside a subscriber's callback at the exit of an API call.
pub(crate) fn is_in_exit_callback() -> bool {
    LOCAL.try_with(|local| local.in_exit_callback.get()).unwrap_or(false)
}

/// Pushes an external correlation id.
pub(crate) fn push_external(kind: u32, id: u64) -> Status {
    with_external(kind, |ids| {
        ids.push(id);
        Status::SUCCESS
    })
}

/// Pops one; [`Status::QUEUE_EMPTY`] when there is none.
pub(crate) fn pop_external(kind: u32, popped: &mut u64) -> Status {
    with_external(kind, |ids| match ids.pop() {
        Some(id) => {
            *popped = id;
            Status::SUCCESS
        }
        None => Status::QUEUE_EMPTY,
    })
}

fn with_external(kind: u32, work: impl FnOnce(&mut Vec<u64>) -> Status) -> Status {
    let status = LOCAL.try_with(|local| match local.external.borrow_mut().get_mut(kind as usize) {
        Some(ids) if kind != 0 => work(ids),
        _ => Status::INVALID_PARAMETER,
    });
    status.unwrap_or(Status::UNKNOWN)
}

/// Calls `visit` with kind and id for each kind that has an external id on this thread.
pub(crate) fn external_ids(mut visit: impl FnMut(u32, u64)) {
    for kind in 1..EXTERNAL_KINDS {
        // Not borrowed during the visit: it may call the client, which may push.
        let id =
            LOCAL.try_with(|local| local.external.borrow().get(kind).and_then(|ids| ids.last().copied()));
        if let Ok(Some(id)) = id {
            visit(kind as u32, id);
        }
    }
}

/// Remembers what the entry callback of a call left in `correlationData`.
pub(crate) fn begin_call(domain: u32, correlation_id: u32, value: u64) {
    // Without thread-local storage the exit callback finds 0.
    let _kept =
        LOCAL.try_with(|local| local.calls.borrow_mut().push(CallData { domain, correlation_id, value }));
}

/// Returns it at the exit of that call; 0 when there was no entry callback.
pub(crate) fn end_call(domain: u32, correlation_id: u32) -> u64 {
    let value = LOCAL.try_with(|local| {
        let mut calls = local.calls.borrow_mut();
        let found =
            calls.iter().rposition(|call| call.domain == domain && call.correlation_id == correlation_id)?;
        // What stands above it was begun inside it and never ended.
        calls.drain(found..).next().map(|call| call.value)
    });
    value.ok().flatten().unwrap_or(0)
}
