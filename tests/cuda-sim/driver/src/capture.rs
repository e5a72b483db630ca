//! Stream capture: work is written down instead of run. Enters: a capturing stream and its work. Leaves: the nodes of
//! a graph, in the order of capture, which is one order that all dependencies allow. Refuses: what CUDA refuses in a
//! capturing stream: synchronous work, waiting for work outside the capture, merging two captures.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Outcome};
use crate::event::{Event, Place};
use crate::graph;
use crate::stream::Stream;
use crate::sync::lock;
use crate::work::Work;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A capture in progress.
pub(crate) struct Capture {
    /// Unique in the process, as `cuStreamGetCaptureInfo` tells it.
    pub(crate) id: u64,
    origin: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    nodes: Vec<Work>,
    members: Vec<&'static Stream>,
    invalid: bool,
}

/// `CUstreamCaptureStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Status {
    /// Not capturing.
    None = 0,
    /// Capturing.
    Active = 1,
    /// Capturing, but an error made the capture useless.
    Invalidated = 2,
}

/// `cuStreamBeginCapture`.
pub(crate) fn begin(stream: &'static Stream) -> Outcome {
    if stream.id == crate::stream::DEFAULT_ID {
        return Err(Error::STREAM_CAPTURE_UNSUPPORTED);
    }
    let mut capture = lock(&stream.capture);
    if capture.is_some() {
        return Err(Error::ILLEGAL_STATE);
    }
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    let state = State { members: vec![stream], ..State::default() };
    *capture = Some(Arc::new(Capture { id, origin: stream.id, state: Mutex::new(state) }));
    stream.capturing.store(true, Ordering::Relaxed);
    Ok(())
}

/// `cuStreamEndCapture`: all streams of the capture return to normal, and the graph is made unless it is invalid.
pub(crate) fn end(stream: &'static Stream) -> Outcome<crate::ffi::Handle> {
    let capture = lock(&stream.capture).clone().ok_or(Error::ILLEGAL_STATE)?;
    if capture.origin != stream.id {
        return Err(Error::STREAM_CAPTURE_UNMATCHED);
    }
    let state = std::mem::take(&mut *lock(&capture.state));
    for member in state.members {
        *lock(&member.capture) = None;
        member.capturing.store(false, Ordering::Relaxed);
    }
    if state.invalid {
        return Err(Error::STREAM_CAPTURE_INVALIDATED);
    }
    graph::create(state.nodes)
}

/// Adds work of an API call to the capture of `stream`.
pub(crate) fn add(stream: &'static Stream, work: Work) -> Outcome {
    let capture = of(stream)?;
    let mut state = lock(&capture.state);
    if state.invalid {
        return Err(Error::STREAM_CAPTURE_INVALIDATED);
    }
    if !matches!(work, Work::Kernel(_) | Work::Copy(_) | Work::Set(_) | Work::Host(_) | Work::Free(_)) {
        state.invalid = true;
        return Err(Error::STREAM_CAPTURE_UNSUPPORTED);
    }
    state.nodes.push(work);
    Ok(())
}

/// Spoils the capture of `stream`; returns the error that the offending call returns.
pub(crate) fn invalidate(stream: &'static Stream) -> Error {
    if let Ok(capture) = of(stream) {
        lock(&capture.state).invalid = true;
    }
    Error::STREAM_CAPTURE_UNSUPPORTED
}

/// Refuses, and spoils the capture, when `stream` is capturing.
pub(crate) fn refuse(stream: &'static Stream) -> Outcome {
    if stream.capturing.load(Ordering::Relaxed) { Err(invalidate(stream)) } else { Ok(()) }
}

/// `cuStreamIsCapturing`.
pub(crate) fn status(stream: &'static Stream) -> (Status, u64) {
    match of(stream) {
        Err(_) => (Status::None, 0),
        Ok(capture) if lock(&capture.state).invalid => (Status::Invalidated, capture.id),
        Ok(capture) => (Status::Active, capture.id),
    }
}

/// `cuEventRecord`: in a capturing stream the event marks a point of the capture.
pub(crate) fn record(stream: &'static Stream, event: &'static Event) -> Outcome {
    match of(stream) {
        Ok(capture) => {
            event.record_in_capture(capture);
            Ok(())
        }
        Err(_) => {
            event.record(stream);
            Ok(())
        }
    }
}

/// `cuStreamWaitEvent`: waiting for a point of a capture draws the stream into it.
pub(crate) fn wait(stream: &'static Stream, event: &'static Event) -> Outcome {
    match (of(stream).ok(), event.place()) {
        (Some(own), Place::Capture(other)) if own.id == other.id => Ok(()),
        (Some(_), Place::Capture(_)) => Err(Error::STREAM_CAPTURE_MERGE),
        (Some(own), _) => {
            lock(&own.state).invalid = true;
            Err(Error::STREAM_CAPTURE_ISOLATION)
        }
        (None, Place::Capture(other)) => {
            lock(&other.state).members.push(stream);
            *lock(&stream.capture) = Some(other);
            stream.capturing.store(true, Ordering::Relaxed);
            Ok(())
        }
        (None, Place::Stream(other, ticket)) => {
            stream.follow(other, ticket);
            Ok(())
        }
        (None, Place::Nowhere) => Ok(()),
    }
}

fn of(stream: &'static Stream) -> Outcome<Arc<Capture>> {
    lock(&stream.capture).clone().ok_or(Error::ILLEGAL_STATE)
}
