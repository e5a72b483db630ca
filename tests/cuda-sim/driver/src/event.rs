//! Events. Enters: recordings in streams. Leaves: whether and when the last recording was reached. Refuses: times of
//! events made without timing.
//!
//! A recording is a place in a stream: whoever waits for it waits for that much of the stream's work, so it makes no
//! difference if the event is recorded again or destroyed in the meantime. Destroyed events are used again.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::capture::Capture;
use crate::error::{Error, Outcome};
use crate::ffi::Handle;
use crate::stream::Stream;
use crate::sync::lock;
use crate::table::Table;
use crate::work::{Item, Trace, Work};

/// `CU_EVENT_DISABLE_TIMING`.
const DISABLE_TIMING: u32 = 2;
/// All flags of `cuEventCreate`.
const FLAGS: u32 = 7;

/// Live events by handle.
pub(crate) static EVENTS: Table<Event> = Table::new(3);
static UNUSED: Mutex<Vec<&'static Event>> = Mutex::new(Vec::new());

/// Where an event was last recorded.
#[derive(Default, Clone)]
pub(crate) enum Place {
    /// Nowhere yet.
    #[default]
    Nowhere,
    /// In a stream, as its work of this number.
    Stream(&'static Stream, u64),
    /// In a capture.
    Capture(Arc<Capture>),
}

/// One event.
#[derive(Default)]
pub(crate) struct Event {
    place: Mutex<Place>,
    flags: AtomicU32,
    /// Recordings in this and former lives.
    recorded: AtomicU64,
    /// When the last recording was reached.
    time_ns: AtomicU64,
}

/// `cuEventCreate`.
pub(crate) fn create(flags: u32) -> Outcome<Handle> {
    if flags & !FLAGS != 0 {
        return Err(Error::INVALID_VALUE);
    }
    let unused = lock(&UNUSED).pop();
    let event = unused.unwrap_or_else(|| Box::leak(Box::default()));
    event.flags.store(flags, Ordering::Relaxed);
    EVENTS.insert(event).ok_or(Error::OUT_OF_MEMORY)
}

/// `cuEventDestroy`.
pub(crate) fn destroy(handle: Handle) -> Outcome {
    let event = EVENTS.remove(handle).ok_or(Error::INVALID_HANDLE)?;
    *lock(&event.place) = Place::Nowhere;
    lock(&UNUSED).push(event);
    Ok(())
}

/// The event of a handle.
pub(crate) fn find(handle: Handle) -> Outcome<&'static Event> {
    EVENTS.get(handle).ok_or(Error::INVALID_HANDLE)
}

impl Event {
    /// `cuEventRecord` outside captures.
    pub(crate) fn record(&'static self, stream: &'static Stream) {
        let mut place = lock(&self.place);
        let turn = self.recorded.fetch_add(1, Ordering::Relaxed) + 1;
        let work = Work::Record { event: self, turn };
        let ticket = stream.submit_traced(Item { trace: Trace::default(), work });
        *place = Place::Stream(stream, ticket);
    }

    /// Marks a point of a capture.
    pub(crate) fn record_in_capture(&self, capture: Arc<Capture>) {
        *lock(&self.place) = Place::Capture(capture);
    }

    /// Where it was last recorded.
    pub(crate) fn place(&self) -> Place {
        lock(&self.place).clone()
    }

    /// Keeps the time at which recording `turn` was reached, unless there is a newer recording.
    pub(crate) fn reached(&self, turn: u64, time_ns: u64) {
        if self.recorded.load(Ordering::Relaxed) == turn {
            self.time_ns.store(time_ns, Ordering::Relaxed);
        }
    }

    /// `cuEventQuery`.
    pub(crate) fn query(&self) -> Outcome {
        match self.place() {
            Place::Stream(stream, ticket) if stream.completed.get() < ticket => Err(Error::NOT_READY),
            Place::Capture(_) => Err(Error::CAPTURED_EVENT),
            _ => Ok(()),
        }
    }

    /// `cuEventSynchronize`.
    pub(crate) fn synchronize(&self) -> Outcome {
        match self.place() {
            Place::Stream(stream, ticket) => stream.wait_for(ticket),
            Place::Capture(_) => return Err(Error::CAPTURED_EVENT),
            Place::Nowhere => {}
        }
        Ok(())
    }

    /// Milliseconds from this event to `end`.
    pub(crate) fn elapsed_ms(&self, end: &Self) -> Outcome<f32> {
        for event in [self, end] {
            let is_timed = event.flags.load(Ordering::Relaxed) & DISABLE_TIMING == 0;
            if !is_timed || matches!(event.place(), Place::Nowhere) {
                return Err(Error::INVALID_HANDLE);
            }
            event.query()?;
        }
        let start_ns = self.time_ns.load(Ordering::Relaxed);
        let end_ns = end.time_ns.load(Ordering::Relaxed);
        Ok((end_ns.wrapping_sub(start_ns) as i64 as f64 / 1e6) as f32)
    }
}
