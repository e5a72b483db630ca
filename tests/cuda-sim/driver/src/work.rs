//! One piece of work in a stream. Enters: what an API call enqueues. Leaves: its effect, and its activity record.
//! Refuses: to record work that nobody wanted at the time it was enqueued, as CUPTI does.

use core::ffi::c_void;
use std::sync::Arc;

use cuda_sim_abi::{Activity, activity, wanted};

use crate::copy::{Copy, Set};
use crate::event::Event;
use crate::ffi::Handle;
use crate::graph::Run;
use crate::kernel::Kernel;
use crate::memory::Block;
use crate::stream::Stream;
use crate::{call, hooks};

/// What is to be done.
pub(crate) enum Work {
    /// Runs a kernel.
    Kernel(Kernel),
    /// Copies memory.
    Copy(Copy),
    /// Sets memory.
    Set(Set),
    /// Calls a function of the program.
    Host(HostCall),
    /// Reaches an event.
    Record {
        /// The event.
        event: &'static Event,
        /// Which of its recordings this is.
        turn: u64,
    },
    /// Waits for work of another stream, which may be the recording of an event.
    WaitStream {
        /// The stream.
        stream: &'static Stream,
        /// How much of its work.
        ticket: u64,
    },
    /// Lets memory go.
    Free(Arc<Block>),
    /// Runs the nodes of a graph.
    Graph(Run),
}

/// A function of the program, to be called in stream order.
#[derive(Clone, Copy)]
pub(crate) struct HostCall {
    /// The function.
    pub(crate) function: HostFunction,
    /// Its argument.
    pub(crate) data: *mut c_void,
}

/// The two prototypes of host functions.
#[derive(Clone, Copy)]
pub(crate) enum HostFunction {
    /// `CUhostFn`.
    Plain(unsafe extern "C" fn(*mut c_void)),
    /// `CUstreamCallback`, with the stream's handle.
    Callback(unsafe extern "C" fn(Handle, i32, *mut c_void), Handle),
}

#[allow(unsafe_code, reason = "the program's data moves to the stream's thread, as CUDA documents")]
// SAFETY: CUDA calls host functions on a thread of its own; the program passes data that allows this.
unsafe impl Send for HostCall {}
#[allow(unsafe_code, reason = "as above, for graph nodes")]
// SAFETY: as above; the pointer is only passed on.
unsafe impl Sync for HostCall {}

impl HostCall {
    /// Calls it.
    #[allow(unsafe_code, reason = "calls a C function pointer of the program")]
    pub(crate) fn run(self) {
        match self.function {
            // SAFETY: the program passed a function of this prototype for this argument.
            HostFunction::Plain(function) => unsafe { function(self.data) },
            // SAFETY: as above.
            HostFunction::Callback(function, stream) => unsafe { function(stream, 0, self.data) },
        }
    }
}

/// How a piece of work is recorded.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Trace {
    /// Process-wide number; 0: not recorded.
    pub(crate) sequence: u64,
    /// Correlation id of the call that enqueued it.
    pub(crate) correlation_id: u32,
    /// Executable graph, 0 outside graphs.
    pub(crate) graph_id: u32,
    /// Node of that graph, 0 outside graphs.
    pub(crate) graph_node_id: u64,
}

/// Work with its record.
pub(crate) struct Item {
    /// How it is recorded.
    pub(crate) trace: Trace,
    /// What is done.
    pub(crate) work: Work,
}

impl Work {
    /// Bit of [`wanted`] that asks for a record of this work, 0 when it never makes one.
    pub(crate) fn wanted_bit(&self) -> u64 {
        match self {
            Self::Kernel(_) => wanted::KERNEL,
            Self::Copy(_) => wanted::MEMCPY,
            Self::Set(_) => wanted::MEMSET,
            _ => 0,
        }
    }

    /// The record of this work without its times; `None` for work that makes none.
    pub(crate) fn describe(&self, stream: &'static Stream, trace: Trace) -> Option<Activity> {
        let mut activity = blank(stream, trace);
        match self {
            Self::Kernel(kernel) => kernel.describe(&mut activity),
            Self::Copy(copy) => copy.describe(&mut activity),
            Self::Set(set) => set.describe(&mut activity),
            _ => return None,
        }
        Some(activity)
    }

    /// Decides whether this work, enqueued by the call in progress, is recorded, and announces it.
    #[inline]
    pub(crate) fn trace(&self, stream: &'static Stream) -> Trace {
        if hooks::wanted_now() & self.wanted_bit() == 0 {
            return Trace::default();
        }
        let trace = Trace {
            sequence: hooks::new_sequences(1),
            correlation_id: call::correlation(),
            ..Trace::default()
        };
        if let Some(activity) = self.describe(stream, trace) {
            hooks::enqueued(&activity);
        }
        trace
    }

    /// Does the work on the thread that executes `stream`.
    pub(crate) fn run(&self, stream: &'static Stream, trace: Trace) {
        match self {
            Self::Kernel(kernel) => kernel.run(stream, trace),
            Self::Copy(copy) => copy.run(stream, trace),
            Self::Set(set) => set.run(stream, trace),
            Self::Host(call) => call.run(),
            Self::Record { event, turn } => event.reached(*turn, stream.time_ns()),
            Self::WaitStream { stream: other, ticket } => other.wait_for(*ticket),
            // The memory goes with this piece of work.
            Self::Free(_block) => {}
            Self::Graph(run) => run.run(stream, trace),
        }
    }

    /// Whether it can be done at once by the thread that enqueues it: it neither waits nor runs foreign code.
    pub(crate) fn is_instant(&self) -> bool {
        match self {
            Self::Kernel(kernel) => !kernel.computes(),
            Self::Record { .. } | Self::Free(_) => true,
            _ => false,
        }
    }
}

/// A record with nothing but its place.
pub(crate) fn blank(stream: &'static Stream, trace: Trace) -> Activity {
    Activity {
        kind: 0,
        correlation_id: trace.correlation_id,
        sequence: trace.sequence,
        start_ns: 0,
        end_ns: 0,
        device_id: stream.context.device.ordinal,
        context_id: stream.context.id,
        stream_id: stream.id,
        graph_id: trace.graph_id,
        graph_node_id: trace.graph_node_id,
        name: std::ptr::null(),
        grid: [0; 3],
        block: [0; 3],
        registers: 0,
        static_shared_bytes: 0,
        dynamic_shared_bytes: 0,
        computed: 0,
        bytes: 0,
        address: 0,
        operation: 0,
        source_kind: 0,
        destination_kind: 0,
        is_async: 0,
        peer_device_id: stream.context.device.ordinal,
        peer_context_id: stream.context.id,
    }
}

/// Reports a finished host-side event, such as a synchronisation or an allocation, if `bit` is wanted.
pub(crate) fn report(stream: &'static Stream, bit: u64, fill: impl FnOnce(&mut Activity)) {
    if hooks::wanted_now() & bit == 0 {
        return;
    }
    let trace =
        Trace { sequence: hooks::new_sequences(1), correlation_id: call::correlation(), ..Trace::default() };
    let mut record = blank(stream, trace);
    fill(&mut record);
    hooks::activity(&record);
}

/// Reports a synchronisation that began at `start_ns`; `operation` is a `CUpti_ActivitySynchronizationType`.
pub(crate) fn report_sync(stream: &'static Stream, operation: u32, start_ns: u64) {
    report(stream, wanted::SYNC, |record| {
        record.kind = activity::SYNC;
        record.operation = operation;
        // Event and context synchronisation belong to no stream (`CUPTI_SYNCHRONIZATION_INVALID_VALUE`).
        if matches!(operation, 1 | 4) {
            record.stream_id = u32::MAX;
        }
        record.start_ns = start_ns;
        record.end_ns = crate::clock::now_ns();
    });
}
