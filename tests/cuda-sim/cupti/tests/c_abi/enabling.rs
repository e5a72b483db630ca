//! Only what is enabled leaves records.

use crate::client::{flushed, listen};
use crate::mock::{end, enqueue, exit_api, run, run_kernels, session, wanted_bits, work};
use crate::{KERNEL_END, correlations};
use cuda_sim_abi::{activity, domain, wanted};
use cuda_sim_cupti::entry::activity::{
    cuptiActivityDisable, cuptiActivityEnable, cuptiActivityEnableDriverApi, cuptiActivityEnableRuntimeApi,
};
use cuda_sim_cupti::kind;
use cuda_sim_cupti::status::Status;

const ALL_WORK: [u32; 6] =
    [activity::KERNEL, activity::MEMCPY, activity::MEMSET, activity::MEMORY, activity::SYNC, activity::GRAPH];

#[test]
fn nothing_enabled_wants_nothing_and_gives_nothing() {
    let _turn = session("");
    listen(4096, &[]);
    assert_eq!(wanted_bits(), 0);
    ALL_WORK.iter().for_each(|&kind| run(&work(kind, 1)));
    exit_api(domain::DRIVER, 307, 1, 0);
    assert_eq!(flushed(), []);
}

#[test]
fn each_kind_gives_its_own_records_only() {
    let kinds = [
        (kind::CONCURRENT_KERNEL, activity::KERNEL),
        (kind::MEMCPY, activity::MEMCPY),
        (kind::MEMSET, activity::MEMSET),
        (kind::MEMORY2, activity::MEMORY),
        (kind::SYNCHRONIZATION, activity::SYNC),
        (kind::GRAPH_TRACE, activity::GRAPH),
    ];
    let _turn = session("");
    for (enabled, _) in kinds {
        listen(4096, &[enabled]);
        ALL_WORK.iter().for_each(|&kind| run(&work(kind, 1)));
        assert_eq!(flushed().iter().map(|record| record.kind).collect::<Vec<_>>(), [enabled]);
        assert_eq!(cuptiActivityDisable(enabled), Status::SUCCESS);
    }
    assert_eq!(wanted_bits(), 0);
}

#[test]
fn serialised_kernels_have_their_own_kind_and_concurrent_wins() {
    let _turn = session("");
    listen(4096, &[kind::KERNEL]);
    run_kernels(1, 1);
    assert_eq!(cuptiActivityEnable(kind::CONCURRENT_KERNEL), Status::SUCCESS);
    run_kernels(2, 1);
    let kinds: Vec<_> = flushed().iter().map(|record| record.kind).collect();
    assert_eq!(kinds, [kind::KERNEL, kind::CONCURRENT_KERNEL]);
}

#[test]
fn copies_between_devices_are_another_kind() {
    let mut peer = work(activity::MEMCPY, 5);
    (peer.peer_device_id, peer.peer_context_id) = (1, 2);
    let _turn = session("");
    listen(4096, &[kind::MEMCPY]);
    run(&peer);
    assert_eq!(flushed(), []);
    listen(4096, &[kind::MEMCPY2]);
    run(&peer);
    let records = flushed();
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].kind, records[0].u32(60)), (22, 5), "correlationId of CUpti_ActivityMemcpyPtoP4");
    assert_eq!((records[0].u32(44), records[0].u32(52), records[0].u32(56)), (0, 1, 2));
}

#[test]
fn api_records_of_enabled_domain_and_callback_id_only() {
    let _turn = session("");
    listen(4096, &[]);
    assert_eq!(cuptiActivityEnableRuntimeApi(211, 1), Status::SUCCESS);
    assert_eq!(cuptiActivityEnableDriverApi(307, 1), Status::SUCCESS);
    for (call_domain, cbid) in
        [(domain::DRIVER, 307), (domain::DRIVER, 211), (domain::RUNTIME, 211), (domain::RUNTIME, 3)]
    {
        exit_api(call_domain, cbid, 9, 0);
    }
    let found: Vec<_> = flushed().iter().map(|record| (record.kind, record.u32(4))).collect();
    assert_eq!(found, [(kind::DRIVER, 307), (kind::RUNTIME, 211)]);
    assert_eq!(cuptiActivityEnableRuntimeApi(211, 0), Status::SUCCESS);
    assert_eq!(cuptiActivityEnableDriverApi(307, 0), Status::SUCCESS);
    assert_eq!(wanted_bits(), 0);
}

#[test]
fn unknown_kinds_are_refused_by_release() {
    let _turn = session("cupti_version=22");
    for kind in [0, 53, 60, 1000] {
        assert_eq!(cuptiActivityEnable(kind), Status::INVALID_KIND);
    }
    assert_eq!(cuptiActivityDisable(1000), Status::INVALID_KIND);
    drop(_turn);
    let _turn = session("cupti_version=28");
    assert_eq!(cuptiActivityEnable(54), Status::SUCCESS);
}

#[test]
fn work_in_flight_when_its_kind_is_disabled_still_gets_its_times() {
    let _turn = session("");
    listen(4096, &[kind::CONCURRENT_KERNEL]);
    let kernel = work(activity::KERNEL, 1);
    assert!(enqueue(&kernel));
    assert_eq!(cuptiActivityDisable(kind::CONCURRENT_KERNEL), Status::SUCCESS);
    assert_eq!(wanted_bits(), 0, "the launch path is bare again");
    end(&kernel);
    let records = flushed();
    assert_eq!(records.len(), 1);
    assert_ne!(records[0].u64(KERNEL_END), 0);
}

#[test]
fn graph_trace_hides_nodes_and_outlives_its_kind() {
    let mut node = work(activity::KERNEL, 1);
    node.graph_id = 4;
    let _turn = session("");
    listen(4096, &[kind::CONCURRENT_KERNEL]);
    run(&node);
    assert_eq!(flushed().len(), 1, "node level");
    assert_eq!(cuptiActivityEnable(kind::GRAPH_TRACE), Status::SUCCESS);
    run(&work(activity::KERNEL, 2));
    node.sequence += 1000;
    run(&node);
    run(&work(activity::GRAPH, 3));
    assert_eq!(flushed().iter().map(|record| record.kind).collect::<Vec<_>>(), [10, 51]);
    assert_eq!(cuptiActivityDisable(kind::GRAPH_TRACE), Status::SUCCESS);
    assert_eq!(wanted_bits() & wanted::GRAPH, wanted::GRAPH, "the driver still makes no node records");
    node.sequence += 1000;
    run(&node);
    run(&work(activity::GRAPH, 4));
    run(&work(activity::KERNEL, 5));
    assert_eq!(correlations(&flushed()), [5]);
}
