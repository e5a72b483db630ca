//! What the simulated driver reports to the simulated CUPTI through the contract: calls, work and resources.
#![allow(unsafe_code, reason = "calls C functions found by dlsym")]

#[path = "simulated/recorder.rs"]
mod recorder;
#[path = "simulated/sim.rs"]
mod sim;

use std::ffi::{CStr, c_char};
use std::ptr::null_mut;

use cuda_sim_abi::{ABI_VERSION, Activity, activity, domain, resource, wanted};
use recorder::{Handle, Library, PTX, cu, launch, reported, want};

/// `CUPTI_DRIVER_TRACE_CBID_cuLaunchKernel` and `_cuGraphLaunch`.
const LAUNCH_KERNEL: u32 = 307;
const GRAPH_LAUNCH: u32 = 514;

#[test]
#[allow(clippy::too_many_lines, reason = "one process has one driver: the parts share its state")]
fn calls_and_work_are_reported_as_wanted() {
    let library = Library::load();
    assert_eq!((library.1.abi_version, library.1.driver_version), (ABI_VERSION, 12040));
    library.install_hooks();
    assert_eq!(cu!(library.cuInit(0 => u32)), 0);
    assert_eq!(library.devices(), 2);

    // Nothing is wanted, nothing is reported.
    let (mut context, mut module, mut stream) = (null_mut(), null_mut(), null_mut());
    let (mut unknown, mut sine) = (null_mut(), null_mut());
    assert_eq!(cu!(library.cuCtxCreate_v2(&raw mut context => *mut Handle, 0 => u32, 1 => i32)), 0);
    assert_eq!(
        cu!(library.cuModuleLoadData(&raw mut module => *mut Handle, PTX.as_ptr() => *const c_char)),
        0
    );
    for (function, name) in [(&raw mut unknown, c"nobody_knows"), (&raw mut sine, c"sin_kernel")] {
        let name = name.as_ptr();
        assert_eq!(
            cu!(library.cuModuleGetFunction(function => *mut Handle, module => Handle, name => *const c_char)),
            0
        );
    }
    assert_eq!(launch(&library, unknown, 1, null_mut()), 0);
    assert_eq!(cu!(library.cuCtxSynchronize()), 0);
    let nothing = reported();
    assert!(nothing.calls.is_empty() && nothing.done.is_empty() && nothing.enqueued.is_empty());
    assert!(nothing.resources.is_empty());

    // A stream; launches that succeed and one that fails.
    want(wanted::DRIVER_API | wanted::KERNEL | wanted::RESOURCE);
    assert_eq!(cu!(library.cuStreamCreate(&raw mut stream => *mut Handle, 1 => u32)), 0);
    for grid in 1..=100 {
        assert_eq!(launch(&library, if grid % 2 == 0 { sine } else { unknown }, grid, stream), 0);
    }
    assert_eq!(launch(&library, unknown, 0, stream), 1);
    library.drain();
    let first = reported();
    let [(resource::STREAM_CREATED, stream_id)] = first.resources[..] else {
        panic!("{:?}", first.resources)
    };
    assert!(stream_id > 7);
    let launches: Vec<_> = first.calls.iter().filter(|call| call.cbid == LAUNCH_KERNEL).collect();
    assert_eq!(launches.len(), 101);
    assert!(
        first.calls.iter().all(|c| c.domain == domain::DRIVER && 0 < c.start_ns && c.start_ns <= c.end_ns)
    );
    assert_eq!(launches.iter().map(|call| call.status).collect::<Vec<_>>(), [vec![0; 100], vec![1]].concat());
    assert_eq!(first.done.len(), 100);
    assert_eq!(first.enqueued.len(), 100);
    let mut end_ns = 0;
    for (number, (record, call)) in first.done.iter().zip(&launches).enumerate() {
        let number = number as u32 + 1;
        assert_eq!(record.correlation_id, call.correlation_id);
        assert_eq!(record.sequence, first.enqueued[number as usize - 1].sequence);
        assert_eq!((record.kind, record.device_id, record.stream_id), (activity::KERNEL, 1, stream_id));
        assert_eq!((record.grid, record.block), ([number, 2, 1], [32, 1, 1]));
        assert_eq!(record.dynamic_shared_bytes, 16);
        // SAFETY: names live as long as their module.
        let name = unsafe { CStr::from_ptr(record.name) };
        if number.is_multiple_of(2) {
            assert_eq!((name, record.computed, record.static_shared_bytes), (c"sin_kernel", 1, 0));
        } else {
            assert_eq!((name, record.computed, record.static_shared_bytes), (c"nobody_knows", 0, 64));
            assert!(record.end_ns - record.start_ns >= 5_000, "kernel_us is 5 by default");
        }
        assert!(
            call.start_ns <= record.start_ns && end_ns <= record.start_ns && record.start_ns < record.end_ns
        );
        end_ns = record.end_ns;
    }

    // Memory: an allocation, copies each way, a memset, a free, and the waiting for them.
    want(wanted::MEMORY | wanted::MEMCPY | wanted::MEMSET | wanted::SYNC);
    let (mut address, mut host) = (0_u64, [7_u8; 48]);
    assert_eq!(cu!(library.cuMemAlloc_v2(&raw mut address => *mut u64, 64 => usize)), 0);
    let bytes = host.as_mut_ptr();
    assert_eq!(cu!(library.cuMemcpyHtoD_v2(address => u64, bytes => *mut u8, 48 => usize)), 0);
    assert_eq!(cu!(library.cuMemsetD32Async(address => u64, 3 => u32, 4 => usize, stream => Handle)), 0);
    assert_eq!(cu!(library.cuStreamSynchronize(stream => Handle)), 0);
    assert_eq!(cu!(library.cuMemcpyDtoH_v2(bytes => *mut u8, address => u64, 48 => usize)), 0);
    assert_eq!(cu!(library.cuMemFree_v2(address => u64)), 0);
    assert_eq!((host[0], host[4], host[15], host[16]), (3, 3, 0, 7));
    let memory = reported();
    assert!(memory.calls.is_empty());
    let kinds: Vec<_> = memory.done.iter().map(|r| (r.kind, r.operation, r.bytes, r.is_async)).collect();
    let expected = [
        (activity::MEMORY, 1, 64, 0),
        (activity::MEMCPY, 1, 48, 0),
        (activity::MEMSET, 0, 16, 1),
        (activity::SYNC, 3, 0, 0),
        (activity::MEMCPY, 2, 48, 0),
        (activity::MEMORY, 2, 64, 0),
    ];
    assert_eq!(kinds, expected);
    let [allocated, to_device, set, _, to_host, _] = memory.done[..] else { panic!() };
    assert_eq!((allocated.address, allocated.source_kind), (address, 3));
    assert_eq!((to_device.source_kind, to_device.destination_kind, to_device.stream_id), (1, 3, 7));
    assert_eq!((set.address, set.destination_kind), (3, 3));
    assert_eq!((to_host.source_kind, to_host.destination_kind), (3, 1));

    // A graph: node ids are the same at each replay, and all nodes carry the correlation id of their launch.
    want(wanted::DRIVER_API | wanted::KERNEL | wanted::RESOURCE);
    let (mut graph, mut executable) = (null_mut(), null_mut());
    assert_eq!(cu!(library.cuStreamBeginCapture_v2(stream => Handle, 0 => u32)), 0);
    for grid in 1..=3 {
        assert_eq!(launch(&library, unknown, grid, stream), 0);
    }
    assert_eq!(cu!(library.cuStreamEndCapture(stream => Handle, &raw mut graph => *mut Handle)), 0);
    let instantiated = &raw mut executable;
    assert_eq!(
        cu!(library.cuGraphInstantiateWithFlags(instantiated => *mut Handle, graph => Handle, 0 => u64)),
        0
    );
    assert!(reported().done.is_empty(), "captured work does not run");
    for _ in 0..2 {
        assert_eq!(cu!(library.cuGraphLaunch(executable => Handle, stream => Handle)), 0);
    }
    library.drain();
    let replays = reported();
    let launches: Vec<_> = replays.calls.iter().filter(|call| call.cbid == GRAPH_LAUNCH).collect();
    assert_eq!((launches.len(), replays.done.len()), (2, 6));
    let (one, two) = replays.done.split_at(3);
    assert!(one.iter().all(|r| r.correlation_id == launches[0].correlation_id && r.graph_id != 0));
    assert!(two.iter().all(|r| r.correlation_id == launches[1].correlation_id));
    let ids = |records: &[Activity]| records.iter().map(|r| r.graph_node_id).collect::<Vec<_>>();
    assert_eq!(ids(one), ids(two));
    assert!(ids(one).is_sorted_by(|a, b| a < b) && one[0].graph_node_id != 0);

    // The same graph, recorded as a whole.
    want(wanted::KERNEL | wanted::GRAPH);
    assert_eq!(cu!(library.cuGraphLaunch(executable => Handle, stream => Handle)), 0);
    library.drain();
    let whole = reported().done;
    assert_eq!(whole.len(), 1);
    assert_eq!((whole[0].kind, whole[0].graph_id), (activity::GRAPH, one[0].graph_id));
    assert!(whole[0].end_ns - whole[0].start_ns >= 15_000);

    // A runtime call: the driver call inside and its work carry the id of the runtime call.
    want(wanted::DRIVER_API | wanted::RUNTIME_API | wanted::KERNEL | wanted::CALLBACKS);
    let id = library.as_runtime_call(211, || assert_eq!(launch(&library, sine, 1, null_mut()), 0));
    library.drain();
    let nested = reported();
    let calls: Vec<_> = nested.calls.iter().map(|c| (c.domain, c.cbid, c.correlation_id)).collect();
    assert_eq!(calls, [(domain::DRIVER, LAUNCH_KERNEL, id), (domain::RUNTIME, 211, id)]);
    assert_eq!(nested.entered, [(domain::RUNTIME, 211, id), (domain::DRIVER, LAUNCH_KERNEL, id)]);
    assert_eq!(nested.done[0].correlation_id, id);
    assert_eq!(nested.done[0].stream_id, 7);

    // No longer wanted.
    want(0);
    assert_eq!(launch(&library, sine, 1, stream), 0);
    library.drain();
    let after = reported();
    assert!(after.calls.is_empty() && after.done.is_empty() && after.enqueued.is_empty());
}
