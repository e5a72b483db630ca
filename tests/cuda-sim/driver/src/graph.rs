//! Graphs and their executable forms. Enters: nodes, from a capture or added one by one. Leaves: their work, run in
//! one stream in the order of their making. Refuses: handles of other kinds.
//!
//! A node's id is `executable graph id << 32 | position from 1`: unique in the process, the same at every replay.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use cuda_sim_abi::{Activity, Resource, activity, resource, wanted};

use crate::call;
use crate::error::{Error, Outcome};
use crate::ffi::Handle;
use crate::hooks;
use crate::stream::Stream;
use crate::sync::lock;
use crate::table::Table;
use crate::work::{Item, Trace, Work, blank};

/// Live graphs, executable graphs and nodes by handle.
static GRAPHS: Table<Graph> = Table::new(6);
static EXECUTABLES: Table<Executable> = Table::new(7);
static NODES: Table<NodeType> = Table::new(8);
static NEXT_ID: AtomicU32 = AtomicU32::new(1);

/// What a node is: a value of `CUgraphNodeType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodeType(pub(crate) u32);

struct Graph(Mutex<GraphState>);

#[derive(Default)]
struct GraphState {
    nodes: Arc<Vec<Work>>,
    handles: Vec<Handle>,
}

struct Executable {
    id: u32,
    nodes: Mutex<Arc<Vec<Work>>>,
    /// Two launches of one executable graph do not overlap.
    running: Arc<Mutex<()>>,
}

/// One launch of an executable graph.
pub(crate) struct Run {
    graph_id: u32,
    nodes: Arc<Vec<Work>>,
    running: Arc<Mutex<()>>,
    correlation_id: u32,
    /// Number of the first node's record, 0 when nodes are not recorded.
    first_sequence: u64,
    /// Bits of `wanted` at the launch.
    wanted_bits: u64,
}

/// Makes a graph of these nodes.
pub(crate) fn create(nodes: Vec<Work>) -> Outcome<Handle> {
    let state = GraphState { nodes: Arc::new(nodes), handles: Vec::new() };
    GRAPHS.insert(Box::leak(Box::new(Graph(Mutex::new(state))))).ok_or(Error::OUT_OF_MEMORY)
}

/// `cuGraphDestroy`; executable graphs made of it live on.
pub(crate) fn destroy(graph: Handle) -> Outcome {
    let graph = GRAPHS.remove(graph).ok_or(Error::INVALID_HANDLE)?;
    let state = std::mem::take(&mut *lock(&graph.0));
    for node in state.handles {
        NODES.remove(node);
    }
    Ok(())
}

/// Adds a node after all others; returns its handle.
pub(crate) fn add(graph: Handle, work: Work) -> Outcome<Handle> {
    let state = &mut *lock(&find(graph)?.0);
    // An executable graph that shares the nodes keeps the old list.
    let Some(nodes) = Arc::get_mut(&mut state.nodes) else {
        return Err(Error::NOT_SUPPORTED);
    };
    nodes.push(work);
    name_nodes(state)?;
    state.handles.last().copied().ok_or(Error::UNKNOWN)
}

/// Handles of the nodes, in order.
pub(crate) fn nodes(graph: Handle) -> Outcome<Vec<Handle>> {
    let state = &mut *lock(&find(graph)?.0);
    name_nodes(state)?;
    Ok(state.handles.clone())
}

/// What the node of this handle is.
pub(crate) fn node_type(node: Handle) -> Outcome<NodeType> {
    NODES.get(node).copied().ok_or(Error::INVALID_HANDLE)
}

fn name_nodes(state: &mut GraphState) -> Outcome {
    for work in state.nodes.iter().skip(state.handles.len()) {
        let node_type = NodeType(match work {
            Work::Kernel(_) => 0,
            Work::Copy(_) => 1,
            Work::Set(_) => 2,
            Work::Host(_) => 3,
            Work::Free(_) => 11,
            _ => 5,
        });
        state.handles.push(NODES.insert(Box::leak(Box::new(node_type))).ok_or(Error::OUT_OF_MEMORY)?);
    }
    Ok(())
}

/// `cuGraphInstantiate`.
pub(crate) fn instantiate(graph: Handle) -> Outcome<Handle> {
    let nodes = Arc::clone(&lock(&find(graph)?.0).nodes);
    let context = crate::context::current()?;
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    let executable = Executable { id, nodes: Mutex::new(nodes), running: Arc::default() };
    let handle = EXECUTABLES.insert(Box::leak(Box::new(executable))).ok_or(Error::OUT_OF_MEMORY)?;
    hooks::resource(&Resource {
        event: resource::GRAPH_INSTANTIATED,
        device_id: context.device.ordinal,
        context_id: context.id,
        object_id: id,
        context: context.handle().pointer(),
        object: handle.pointer(),
    });
    Ok(handle)
}

/// `cuGraphExecDestroy`; launches under way end.
pub(crate) fn destroy_executable(executable: Handle) -> Outcome {
    let executable = EXECUTABLES.remove(executable).ok_or(Error::INVALID_HANDLE)?;
    *lock(&executable.nodes) = Arc::default();
    Ok(())
}

/// `cuGraphExecUpdate`: takes the nodes of `graph`; whether their number and types agree.
pub(crate) fn update(executable: Handle, graph: Handle) -> Outcome<bool> {
    let nodes = Arc::clone(&lock(&find(graph)?.0).nodes);
    let mut present = lock(&find_executable(executable)?.nodes);
    let kinds = |works: &[Work]| works.iter().map(std::mem::discriminant).collect::<Vec<_>>();
    let agrees = kinds(&present) == kinds(&nodes);
    if agrees {
        *present = nodes;
    }
    Ok(agrees)
}

/// Whether the handle is that of an executable graph.
pub(crate) fn find_executable_id(executable: Handle) -> Outcome<u32> {
    Ok(find_executable(executable)?.id)
}

/// `cuGraphLaunch`.
pub(crate) fn launch(executable: Handle, stream: &'static Stream) -> Outcome {
    let executable = find_executable(executable)?;
    crate::capture::refuse(stream)?;
    let nodes = Arc::clone(&lock(&executable.nodes));
    let wanted_bits = hooks::wanted_now();
    let mut run = Run {
        graph_id: executable.id,
        running: Arc::clone(&executable.running),
        correlation_id: call::correlation(),
        first_sequence: 0,
        wanted_bits,
        nodes,
    };
    let mut trace = Trace::default();
    if wanted_bits & wanted::GRAPH != 0 {
        let sequence = hooks::new_sequences(1);
        trace =
            Trace { sequence, correlation_id: run.correlation_id, graph_id: run.graph_id, graph_node_id: 0 };
        hooks::enqueued(&whole(stream, trace));
    } else if wanted_bits & (wanted::KERNEL | wanted::MEMCPY | wanted::MEMSET) != 0 {
        run.first_sequence = hooks::new_sequences(run.nodes.len() as u64);
        for (index, work) in run.nodes.iter().enumerate() {
            if let Some(record) = run.traces(work).then(|| work.describe(stream, run.trace(index))).flatten()
            {
                hooks::enqueued(&record);
            }
        }
    }
    stream.submit_traced(Item { trace, work: Work::Graph(run) });
    Ok(())
}

impl Run {
    /// Runs the nodes.
    pub(crate) fn run(&self, stream: &'static Stream, trace: Trace) {
        let _running = lock(&self.running);
        let (start_ns, _) = stream.lay_out(0);
        for (index, work) in self.nodes.iter().enumerate() {
            let trace = if self.traces(work) { self.trace(index) } else { Trace::default() };
            work.run(stream, trace);
        }
        if trace.sequence != 0 {
            let end_ns = stream.time_ns().max(start_ns + 1);
            hooks::activity(&Activity { start_ns, end_ns, ..whole(stream, trace) });
        }
    }

    /// Whether a node is recorded by itself.
    fn traces(&self, work: &Work) -> bool {
        self.first_sequence != 0 && self.wanted_bits & work.wanted_bit() != 0
    }

    fn trace(&self, index: usize) -> Trace {
        Trace {
            sequence: self.first_sequence + index as u64,
            correlation_id: self.correlation_id,
            graph_id: self.graph_id,
            graph_node_id: u64::from(self.graph_id) << 32 | (index as u64 + 1),
        }
    }
}

/// The record of a whole launch, without times.
fn whole(stream: &'static Stream, trace: Trace) -> Activity {
    Activity { kind: activity::GRAPH, ..blank(stream, trace) }
}

fn find(graph: Handle) -> Outcome<&'static Graph> {
    GRAPHS.get(graph).ok_or(Error::INVALID_HANDLE)
}

fn find_executable(executable: Handle) -> Outcome<&'static Executable> {
    EXECUTABLES.get(executable).ok_or(Error::INVALID_HANDLE)
}
