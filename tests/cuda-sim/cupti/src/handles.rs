//! Contexts, streams and executable graphs: from the driver's handles to CUPTI's ids.
//!
//! Enters: what the driver announces while anything is enabled. Leaves: ids of live objects. Refuses: handles that were
//! not announced; what was made while CUPTI was off stays unknown.

use crate::locks::hold;
use core::ffi::c_void;
use cuda_sim_abi::{Resource, resource};
use std::collections::HashMap;
use std::sync::Mutex;

/// One context or stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Object {
    /// Its context's id.
    pub(crate) context_id: u32,
    /// Its device.
    pub(crate) device_id: u32,
    /// The stream id; of a context, that of its default stream.
    pub(crate) stream_id: u32,
}

/// Live objects by handle.
#[derive(Default)]
pub(crate) struct Handles {
    contexts: Mutex<HashMap<usize, Object>>,
    streams: Mutex<HashMap<usize, Object>>,
    graphs: Mutex<HashMap<usize, u32>>,
}

impl Handles {
    /// Takes note of what came.
    pub(crate) fn came(&self, event: &Resource) {
        let object =
            Object { context_id: event.context_id, device_id: event.device_id, stream_id: event.object_id };
        match event.event {
            resource::CONTEXT_CREATED => {
                hold(&self.contexts).insert(event.context.addr(), object);
            }
            resource::STREAM_CREATED => {
                hold(&self.streams).insert(event.object.addr(), object);
            }
            resource::GRAPH_INSTANTIATED => {
                hold(&self.graphs).insert(event.object.addr(), event.object_id);
            }
            _ => {}
        }
    }

    /// Takes note of what went. Executable graphs are not announced then; their handles are never given out again.
    pub(crate) fn went(&self, event: &Resource) {
        match event.event {
            resource::CONTEXT_DESTROYED => {
                hold(&self.contexts).remove(&event.context.addr());
            }
            resource::STREAM_DESTROYED => {
                hold(&self.streams).remove(&event.object.addr());
            }
            _ => {}
        }
    }

    /// Whether any executable graph was announced.
    pub(crate) fn has_graphs(&self) -> bool {
        !hold(&self.graphs).is_empty()
    }

    /// The id of the executable graph of this handle.
    pub(crate) fn graph(&self, handle: *mut c_void) -> Option<u32> {
        hold(&self.graphs).get(&handle.addr()).copied()
    }

    /// The context of this handle.
    pub(crate) fn context(&self, handle: *mut c_void) -> Option<Object> {
        hold(&self.contexts).get(&handle.addr()).copied()
    }

    /// The stream of this handle.
    pub(crate) fn stream(&self, handle: *mut c_void) -> Option<Object> {
        hold(&self.streams).get(&handle.addr()).copied()
    }

    /// Every live stream.
    pub(crate) fn streams(&self) -> Vec<Object> {
        hold(&self.streams).values().copied().collect()
    }
}
