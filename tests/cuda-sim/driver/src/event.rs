//! Events. Enters: recordings in streams. Leaves: whether and when the last recording was reached. Refuses: times of
//! events made without timing.
//!
//! An event counts its recordings; it is complete when the last one is. Destroyed events are used again: the counts
//! only grow, so work of a former life cannot complete a recording of the present one.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::capture::Capture;
use crate::error::{Error, Outcome};
use crate::ffi::Handle;
use crate::stream::Stream;
use crate::sync::{Progress, lock};
use crate::table::Table;

/// `CU_EVENT_DISABLE_TIMING`.
const DISABLE_TIMING: u32 = 2;
/// All flags of `cuEventCreate`.
const FLAGS: u32 = 7;

/// Live events by handle.
pub(crate) static EVENTS: Table<Event> = Table::new(3);
static UNUSED: Mutex<Vec<&'static Event>> = Mutex::new(Vec::new());

/// Where an event was last recorded.
#[derive(Default)]
enum Place {
    #[default]
    Nowhere,
    Stream(&'static Stream),
    Capture(Arc<Capture>),
}

/// One event.
#[derive(Default)]
pub(crate) struct Event {
    /// Recordings that were reached.
    progress: Progress,
    place: Mutex<Place>,
    flags: AtomicU32,
    /// Recordings in this and former lives.
    recorded: AtomicU64,
    /// Recordings in former lives.
    base: AtomicU64,
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
    event.base.store(event.recorded.load(Ordering::Relaxed), Ordering::Relaxed);
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
    /// The capture that it was last recorded in, if it was.
    pub(crate) fn captured(&self) -> Option<Arc<Capture>> {
        match &*lock(&self.place) {
            Place::Capture(capture) => Some(Arc::clone(capture)),
            _ => None,
        }
    }

    /// Marks a point of a capture.
    pub(crate) fn record_in_capture(&self, capture: Arc<Capture>) {
        *lock(&self.place) = Place::Capture(capture);
    }

    /// Waits for recording `turn`.
    pub(crate) fn wait_for(&self, turn: u64) {
        if self.progress.get() < turn {
            if let Place::Stream(stream) = &*lock(&self.place) {
                stream.hurry();
            }
            self.progress.wait_for(turn);
        }
    }

    /// The last recording, `None` when there was none in this life.
    pub(crate) fn last_turn(&self) -> Option<u64> {
        let recorded = self.recorded.load(Ordering::Acquire);
        (recorded > self.base.load(Ordering::Relaxed)).then_some(recorded)
    }

    /// Whether recording `turn` was reached.
    pub(crate) fn has_reached(&self, turn: u64) -> bool {
        self.progress.get() >= turn
    }

    /// Marks recording `turn` as reached at `time_ns`.
    pub(crate) fn complete(&self, turn: u64, time_ns: u64) {
        self.time_ns.store(time_ns, Ordering::Relaxed);
        self.progress.advance(turn);
    }

    /// `cuEventQuery`.
    pub(crate) fn query(&self) -> Outcome {
        self.check_not_captured()?;
        match self.last_turn() {
            Some(turn) if !self.has_reached(turn) => Err(Error::NOT_READY),
            _ => Ok(()),
        }
    }

    /// `cuEventSynchronize`.
    pub(crate) fn synchronize(&self) -> Outcome {
        self.check_not_captured()?;
        if let Some(turn) = self.last_turn() {
            self.wait_for(turn);
        }
        Ok(())
    }

    /// Milliseconds from this event to `end`.
    pub(crate) fn elapsed_ms(&self, end: &Self) -> Outcome<f32> {
        for event in [self, end] {
            if event.flags.load(Ordering::Relaxed) & DISABLE_TIMING != 0 || event.last_turn().is_none() {
                return Err(Error::INVALID_HANDLE);
            }
            event.query()?;
        }
        let start_ns = self.time_ns.load(Ordering::Relaxed);
        let end_ns = end.time_ns.load(Ordering::Relaxed);
        Ok((end_ns.wrapping_sub(start_ns) as i64 as f64 / 1e6) as f32)
    }

    /// `cuEventRecord` outside captures.
    pub(crate) fn record(&'static self, stream: &'static Stream) -> Outcome {
        *lock(&self.place) = Place::Stream(stream);
        let turn = self.recorded.fetch_add(1, Ordering::AcqRel) + 1;
        stream.submit(crate::work::Work::Record { event: self, turn })
    }

    fn check_not_captured(&self) -> Outcome {
        if self.captured().is_some() { Err(Error::CAPTURED_EVENT) } else { Ok(()) }
    }
}
