//! Stream capture and replay. Enters: a closure that enqueues work on a stream; leaves: a graph that replays it,
//! with the tally of its nodes.
//!
//! A replay reads and writes the buffers that the graph's nodes name, and marks the stream busy: pinned buffers
//! then wait for it.
#![allow(unsafe_code, reason = "CUDA graph handles are raw; this module owns them")]

use std::rc::Rc;

use cudarc::driver::{DriverError, result, sys};

use super::error::LaunchError;
use super::runtime::Stream;
use crate::tally::{self, Tally};

/// An instantiated graph.
#[derive(Debug)]
pub struct Graph {
    executable: sys::CUgraphExec,
    stream: Rc<Stream>,
    nodes: Tally,
}

impl Graph {
    /// Captures what `work` enqueues on `stream`, which must not wait for the stream meanwhile.
    ///
    /// # Errors
    /// What `work` or the driver returned.
    ///
    /// # Safety
    /// Every buffer that the work names outlives the graph, and nobody holds a reference into a pinned one of them
    /// across a [`Self::replay`].
    pub unsafe fn capture(
        stream: &Rc<Stream>,
        work: impl FnOnce() -> Result<(), LaunchError>,
    ) -> Result<Self, LaunchError> {
        stream.settle()?;
        let before = tally::take();
        let graph = record(stream, work);
        let nodes = tally::take();
        tally::note(|tally| {
            *tally += &before;
            tally.launch_calls += nodes.launch_calls;
        });
        let graph = graph?;
        // SAFETY: the graph was just captured.
        let executable = unsafe { result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0)) };
        // SAFETY: an executable graph does not need the graph it was made from.
        let destroyed = unsafe { result::graph::destroy(graph) };
        let executable = executable.map_err(LaunchError::driver("cuGraphInstantiateWithFlags"))?;
        let graph = Self { executable, stream: Rc::clone(stream), nodes };
        destroyed.map_err(LaunchError::driver("cuGraphDestroy"))?;
        Ok(graph)
    }

    /// Enqueues one replay on the stream it was captured from.
    ///
    /// # Errors
    /// What the driver returned.
    pub fn replay(&self) -> Result<(), LaunchError> {
        // SAFETY: both handles live as long as `self`; the buffers do by the contract of `capture`.
        unsafe { result::graph::launch(self.executable, self.stream.raw()) }
            .map_err(LaunchError::driver("cuGraphLaunch"))?;
        self.stream.mark_busy();
        tally::note(|tally| tally.add_replay(&self.nodes, 1));
        Ok(())
    }
}

fn record(
    stream: &Stream,
    work: impl FnOnce() -> Result<(), LaunchError>,
) -> Result<sys::CUgraph, LaunchError> {
    let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    // SAFETY: the stream lives as long as its owner.
    unsafe { result::stream::begin_capture(stream.raw(), mode) }
        .map_err(LaunchError::driver("cuStreamBeginCapture_v2"))?;
    let outcome = work();
    // SAFETY: the capture was begun above; it is ended also where the work failed.
    let graph = unsafe { result::stream::end_capture(stream.raw()) };
    outcome?;
    graph.map_err(LaunchError::driver("cuStreamEndCapture"))
}

impl Drop for Graph {
    fn drop(&mut self) {
        let _: Result<(), LaunchError> = self.stream.synchronize();
        // SAFETY: instantiated in `capture`, destroyed once, not running any more.
        let _: Result<(), DriverError> = unsafe { result::graph::exec_destroy(self.executable) };
    }
}
