//! The functions that CUPTI calls.
//!
//! Enters: CUPTI's requests, on any thread, often the one that launches a kernel. Leaves: buffers, the time, numbers of new
//! graphs; at the end of a call, where that was wished, a process without CUPTI.
//! Refuses: to let a panic out into C, to wait, to touch a ring that is not this process's.
#![allow(unsafe_code, reason = "C calls these, and passes out-pointers")]

use core::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cupti_sys::{
    ApiVersion, CallbackData, CallbackDomain, CallbackSite, ContextHandle, GraphData, ResourceCbid,
    ResourceData,
};
use gpu_agent_ring::control::mono_ns;
use gpu_agent_ring::layout::Counter;
use rustix::time::{ClockId, clock_gettime};

use crate::arming::Callbacks;
use crate::buffer_pool::BUFFER_BYTES;
use crate::shim::{POOL, Shim};

/// Everything that CUPTI is given to call.
#[must_use]
pub fn callbacks() -> Callbacks {
    Callbacks {
        subscriber: on_callback,
        requested: on_buffer_requested,
        completed: on_buffer_completed,
        timestamp: on_timestamp,
        default_timestamp: on_default_timestamp,
    }
}

/// Runs `action`; a panic ends here, without a word.
pub fn guard(action: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(action));
}

unsafe extern "C" fn on_buffer_requested(
    buffer: *mut *mut u8,
    size_bytes: *mut usize,
    max_records: *mut usize,
) {
    let mut memory = core::ptr::null_mut();
    guard(|| {
        let shim = Shim::current();
        let version = shim.and_then(Shim::source).map_or(ApiVersion(0), |source| source.version);
        let Some(taken) = POOL.take(version >= ApiVersion::V12_9) else { return };
        memory = taken.memory.as_ptr();
        if let Some(shim) = shim {
            shim.control.add(Counter::BuffersRequested, 1);
            if taken.extra {
                shim.control.add(Counter::BuffersExtra, 1);
            }
        }
    });
    // SAFETY: CUPTI passes three live out-pointers.
    unsafe {
        *buffer = memory;
        *size_bytes = if memory.is_null() { 0 } else { BUFFER_BYTES };
        // As many as fit.
        *max_records = 0;
    }
}

unsafe extern "C" fn on_buffer_completed(
    _context: ContextHandle,
    _stream_id: u32,
    buffer: *mut u8,
    _size_bytes: usize,
    valid_bytes: usize,
) {
    guard(|| {
        if !POOL.complete(buffer, valid_bytes) {
            return;
        }
        match Shim::current() {
            Some(shim) => shim.buffer_completed(),
            // A child of `fork`: what CUPTI had recorded is the parent's.
            None => POOL.take_completed(|buffer| POOL.release(buffer)),
        }
    });
}

unsafe extern "C" fn on_timestamp() -> u64 {
    mono_ns()
}

/// CLOCK_REALTIME, which CUPTI uses on Linux (cupti_activity.h, `cuptiActivityRegisterTimestampCallback`).
unsafe extern "C" fn on_default_timestamp() -> u64 {
    let time = clock_gettime(ClockId::Realtime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

unsafe extern "C" fn on_callback(
    _userdata: *mut c_void,
    domain: CallbackDomain,
    cbid: u32,
    data: *const c_void,
) {
    guard(|| {
        let Some((shim, source)) = Shim::current().and_then(|shim| Some((shim, shim.source()?))) else {
            return;
        };
        match domain {
            CallbackDomain::DRIVER_API | CallbackDomain::RUNTIME_API => {
                // SAFETY: in these domains `data` is null or leads to a `CUpti_CallbackData`.
                let call = unsafe { data.cast::<CallbackData>().as_ref() };
                if call.is_some_and(|call| call.site == CallbackSite::EXIT) {
                    shim.finalizer.call_ends(&source.cupti);
                }
            }
            CallbackDomain::RESOURCE if cbid == ResourceCbid::GRAPHEXEC_CREATED.0 => {
                // SAFETY: in this domain `data` is null or leads to a `CUpti_ResourceData`.
                let resource = unsafe { data.cast::<ResourceData>().as_ref() };
                // SAFETY: its descriptor, for a graph, is null or leads to a `CUpti_GraphData`.
                let graph = resource.and_then(|it| unsafe { it.descriptor.cast::<GraphData>().as_ref() });
                // SAFETY: the executable graph was just made.
                let id = graph.and_then(|graph| unsafe { source.cupti.graph_exec_id(graph.graph_exec) }.ok());
                match id {
                    Some(id) => source.graphs.made(id),
                    // Its work will come, and must not be called earlier.
                    None => source.graphs.set_told(false),
                }
            }
            _ => {}
        }
    });
}
