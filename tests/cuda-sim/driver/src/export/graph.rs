//! Graphs.

use core::ffi::c_void;

use crate::call::exports;
use crate::error::{Error, Outcome};
use crate::ffi::{Handle, In, Out};
use crate::graph;
use crate::kernel::{Kernel, Source};
use crate::module::Function;
use crate::stream::resolve;
use crate::work::Work;

/// `CUDA_GRAPH_INSTANTIATE_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct InstantiateParameters {
    flags: u64,
    upload_stream: Handle,
    error_node: Handle,
    result: u32,
}

/// `CUgraphExecUpdateResultInfo`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct UpdateResult {
    result: u32,
    error_node: Handle,
    error_from_node: Handle,
}

/// `CUDA_KERNEL_NODE_PARAMS_v2`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct KernelNode {
    function: Handle,
    grid: [u32; 3],
    block: [u32; 3],
    shared_bytes: u32,
    each: *const *mut c_void,
    extra: *const *mut c_void,
    kernel: Handle,
    context: Handle,
}

/// `CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE` and `CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED`.
const UPDATE_FAILURE: Error = Error(910);
const TOPOLOGY_CHANGED: u32 = 2;

fn instantiate(executable: &Out<Handle>, graph: Handle) -> Outcome {
    executable.check()?;
    executable.put(graph::instantiate(graph)?)
}

exports! {
    ready fn cuGraphCreate(graph: Out<Handle>, flags: u32) {
        graph.check()?;
        if flags != 0 {
            return Err(Error::INVALID_VALUE);
        }
        graph.put(graph::create(Vec::new())?)
    }

    ready fn cuGraphDestroy(graph: Handle) {
        graph::destroy(graph)
    }

    ready fn cuGraphAddKernelNode_v2(
        node: Out<Handle>, graph: Handle, _dependencies: *const Handle, _count: usize, parameters: In<KernelNode>,
    ) {
        node.check()?;
        let p = parameters.get()?;
        let function = if p.function == Handle::NULL { p.kernel } else { p.function };
        let source = Source { each: p.each, extra: p.extra };
        let kernel = Kernel::new(Function::find(function)?, p.grid, p.block, p.shared_bytes, source)?;
        node.put(graph::add(graph, Work::Kernel(kernel))?)
    }

    ready fn cuGraphGetNodes(graph: Handle, nodes: Out<Handle>, count: Out<usize>) {
        let handles = graph::nodes(graph)?;
        let room = count.get()?;
        if nodes.check().is_ok() {
            nodes.put_all(&handles, room)?;
        }
        count.put(handles.len())
    }

    ready fn cuGraphNodeGetType(node: Handle, node_type: Out<u32>) {
        node_type.put(graph::node_type(node)?.0)
    }

    ready fn cuGraphInstantiateWithFlags(executable: Out<Handle>, graph: Handle, _flags: u64) {
        instantiate(&executable, graph)
    }

    ready fn cuGraphInstantiateWithParams(
        executable: Out<Handle>, graph: Handle, parameters: Out<InstantiateParameters>,
    ) {
        let asked = parameters.get()?;
        instantiate(&executable, graph)?;
        parameters.put(InstantiateParameters { error_node: Handle::NULL, result: 0, ..asked })
    }

    ready fn cuGraphExecUpdate_v2(executable: Handle, graph: Handle, result: Out<UpdateResult>) {
        result.check()?;
        let agrees = graph::update(executable, graph)?;
        let code = if agrees { 0 } else { TOPOLOGY_CHANGED };
        result.put(UpdateResult { result: code, error_node: Handle::NULL, error_from_node: Handle::NULL })?;
        if agrees { Ok(()) } else { Err(UPDATE_FAILURE) }
    }

    ready fn cuGraphUpload(executable: Handle, stream: Handle) {
        resolve(stream, false)?;
        graph::find_executable_id(executable).map(|_| ())
    }

    ready fn cuGraphUpload_ptsz(executable: Handle, stream: Handle) {
        resolve(stream, true)?;
        graph::find_executable_id(executable).map(|_| ())
    }

    ready fn cuGraphLaunch(executable: Handle, stream: Handle) {
        graph::launch(executable, resolve(stream, false)?)
    }

    ready fn cuGraphLaunch_ptsz(executable: Handle, stream: Handle) {
        graph::launch(executable, resolve(stream, true)?)
    }

    ready fn cuGraphExecDestroy(executable: Handle) {
        graph::destroy_executable(executable)
    }
}
