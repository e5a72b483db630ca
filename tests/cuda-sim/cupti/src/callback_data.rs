//! The structs that callbacks are passed: `CUpti_CallbackData`, `CUpti_ResourceData`, `CUpti_GraphData`.
//!
//! Enters: what the driver reports. Leaves: C structs valid during one callback. Refuses: nothing; what the driver does
//! not report (function parameters, kernel name, current context) is NULL or 0.

use core::ffi::{CStr, c_char, c_void};
use core::ptr::null;
use cuda_sim_abi::{ApiCall, Resource, resource};

/// `CUpti_CallbackData`
#[repr(C)]
struct CallbackData {
    site: u32,
    function_name: *const c_char,
    function_params: *const c_void,
    return_value: *const c_void,
    symbol_name: *const c_char,
    context: *const c_void,
    context_id: u32,
    correlation_data: *mut u64,
    correlation_id: u32,
}

/// `CUpti_ResourceData`
#[repr(C)]
struct ResourceData {
    context: *mut c_void,
    stream: *mut c_void,
    descriptor: *const c_void,
}

/// `CUpti_GraphData`
#[repr(C)]
struct GraphData {
    graph: *const c_void,
    original_graph: *const c_void,
    node: *const c_void,
    original_node: *const c_void,
    node_type: u32,
    dependency: *const c_void,
    graph_exec: *mut c_void,
}

const _: () = {
    assert!(size_of::<CallbackData>() == 72);
    assert!(size_of::<ResourceData>() == 24);
    assert!(size_of::<GraphData>() == 56);
};

/// `CUPTI_API_ENTER`, `CUPTI_API_EXIT`
const ENTER: u32 = 0;
const EXIT: u32 = 1;

fn data(site: u32, correlation_id: u32, name: Option<&'static CStr>, shared: &mut u64) -> CallbackData {
    CallbackData {
        site,
        function_name: name.map_or(null(), CStr::as_ptr),
        function_params: null(),
        return_value: null(),
        symbol_name: null(),
        context: null(),
        context_id: 0,
        correlation_data: shared,
        correlation_id,
    }
}

/// At the entry of an API call; `shared` is what the client leaves for the exit.
pub(crate) fn enter(
    correlation_id: u32,
    name: Option<&'static CStr>,
    shared: &mut u64,
    call_client: impl FnOnce(*const c_void),
) {
    let data = data(ENTER, correlation_id, name, shared);
    call_client((&raw const data).cast());
}

/// At the exit of an API call.
pub(crate) fn exit(
    call: &ApiCall,
    name: Option<&'static CStr>,
    shared: &mut u64,
    call_client: impl FnOnce(*const c_void),
) {
    let mut data = data(EXIT, call.correlation_id, name, shared);
    data.return_value = (&raw const call.status).cast();
    call_client((&raw const data).cast());
}

/// When a resource comes or goes; the client is called with the callback id of the resource domain.
pub(crate) fn resource(event: &Resource, call_client: impl FnOnce(u32, *const c_void)) {
    /// `CUPTI_CBID_RESOURCE_GRAPHEXEC_CREATED`; the others have the numbers of the contract.
    const GRAPH_EXEC_CREATED: u32 = 18;
    let is_graph = event.event == resource::GRAPH_INSTANTIATED;
    let graph = GraphData {
        graph: null(),
        original_graph: null(),
        node: null(),
        original_node: null(),
        node_type: 0,
        dependency: null(),
        graph_exec: event.object,
    };
    let data = ResourceData {
        context: event.context,
        stream: if is_graph { core::ptr::null_mut() } else { event.object },
        descriptor: if is_graph { (&raw const graph).cast() } else { null() },
    };
    let cbid = if is_graph { GRAPH_EXEC_CREATED } else { event.event };
    call_client(cbid, (&raw const data).cast());
}
