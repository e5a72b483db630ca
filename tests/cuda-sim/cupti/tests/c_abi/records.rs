//! What stands in the records: fields, clocks, thread ids, correlation.

use crate::client::{flushed, listen};
use crate::mock::{
    KERNEL_NAME, announce, end, enqueue, exit_api, now_ns, read_clock, run, run_kernels, session, work,
};
use crate::{KERNEL_END, KERNEL_START};
use cuda_sim_abi::{activity, domain, resource};
use cuda_sim_cupti::entry::activity::{
    cuptiActivityEnableAndDump, cuptiActivityPopExternalCorrelationId, cuptiActivityPushExternalCorrelationId,
};
use cuda_sim_cupti::entry::attribute::{
    cuptiActivityRegisterTimestampCallback, cuptiGetThreadIdType, cuptiSetThreadIdType,
};
use cuda_sim_cupti::entry::query::cuptiGetTimestamp;
use cuda_sim_cupti::kind;
use cuda_sim_cupti::status::Status;

#[test]
fn kernel_record_holds_what_the_driver_reported() {
    let _turn = session("cupti_gen=13");
    listen(4096, &[kind::CONCURRENT_KERNEL]);
    let mut kernel = work(activity::KERNEL, 77);
    (kernel.graph_id, kernel.graph_node_id) = (5, 0x500000003);
    enqueue(&kernel);
    end(&kernel);
    let record = &flushed()[0];
    assert_eq!(record.bytes.len(), 248, "CUpti_ActivityKernel13");
    assert_eq!(u16::from_ne_bytes([record.bytes[6], record.bytes[7]]), 40, "registersPerThread");
    assert_eq!(record.u64(32), record.u64(KERNEL_END), "completed");
    assert_eq!([40, 44, 48].map(|offset| record.u32(offset)), [0, 1, 7], "device, context, stream");
    assert_eq!([52, 56, 60, 64, 68, 72].map(|offset| record.u32(offset)), [10, 2, 3, 128, 1, 1]);
    assert_eq!([76, 80].map(|offset| record.u32(offset)), [1024, 512], "static, dynamic shared memory");
    assert_eq!(record.u32(92), 77, "correlationId");
    assert_eq!(record.u64(104), KERNEL_NAME.as_ptr().expose_provenance() as u64, "name");
    assert_eq!((record.u64(144), record.u32(156)), (0x500000003, 5), "graphNodeId, graphId");
    assert_eq!(record.u64(112), 0xA5A5_A5A5_A5A5_A5A5, "reserved0 is not to be read");
}

#[test]
fn copies_memsets_and_allocations_hold_what_the_driver_reported() {
    let _turn = session("");
    listen(4096, &[kind::MEMCPY, kind::MEMSET, kind::MEMORY2, kind::SYNCHRONIZATION]);
    let mut copy = work(activity::MEMCPY, 1);
    (copy.operation, copy.source_kind, copy.destination_kind) = (2, 3, 2);
    let mut set = work(activity::MEMSET, 2);
    set.address = 0x7F;
    let allocation = work(activity::MEMORY, 3);
    let mut release = work(activity::MEMORY, 4);
    (release.operation, release.is_async) = (2, 0);
    let mut sync = work(activity::SYNC, 5);
    sync.operation = 4;
    [copy, set, allocation, release, sync].iter().for_each(run);
    let records = flushed();
    let [copy, set, allocation, release, sync] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(copy.bytes[4..8], [2, 3, 2, 1], "copyKind, srcKind, dstKind, flags");
    assert_eq!((copy.u64(8), copy.u32(44)), (4096, 1), "bytes, correlationId");
    assert_eq!((set.u32(4), set.u64(8), set.u32(44)), (0x7F, 4096, 2), "value, bytes, correlationId");
    assert_eq!((allocation.u32(4), allocation.u32(12), allocation.u32(60)), (1, 3, 7));
    assert_eq!((allocation.u64(16), allocation.u64(24)), (0x7f00_0000_1000, 4096), "address, bytes");
    assert_eq!((release.u32(4), release.u32(60)), (2, 0), "no stream unless asynchronous");
    assert_eq!((sync.u32(4), sync.u32(32)), (4, u32::MAX), "a whole context has no stream");
}

#[test]
fn times_are_realtime_unless_a_callback_is_registered() {
    unsafe extern "C" fn monotonic() -> u64 {
        now_ns()
    }
    unsafe extern "C" fn shifted() -> u64 {
        now_ns() + 1_000_000_000_000
    }
    let near = |time: u64, other: u64| time.abs_diff(other) < 1_000_000_000;
    let _turn = session("");
    listen(4096, &[kind::CONCURRENT_KERNEL]);
    run_kernels(1, 1);
    assert!(near(flushed()[0].u64(KERNEL_START), read_clock(libc::CLOCK_REALTIME)));
    assert_eq!(cuptiActivityRegisterTimestampCallback(Some(monotonic)), Status::SUCCESS);
    let kernel = work(activity::KERNEL, 2);
    enqueue(&kernel);
    let ended = end(&kernel);
    assert_eq!(flushed()[0].u64(KERNEL_END), ended.end_ns, "exactly");
    cuptiActivityRegisterTimestampCallback(Some(shifted));
    run_kernels(3, 1);
    let record = &flushed()[0];
    assert!(near(record.u64(KERNEL_END), now_ns() + 1_000_000_000_000));
    assert_eq!(record.u64(KERNEL_END) - record.u64(KERNEL_START), 1000);
    let mut timestamp = 0;
    // SAFETY: `timestamp` is valid for a write.
    assert_eq!(unsafe { cuptiGetTimestamp(&raw mut timestamp) }, Status::SUCCESS);
    assert!(near(timestamp, now_ns() + 1_000_000_000_000));
    assert_eq!(cuptiActivityRegisterTimestampCallback(None), Status::INVALID_PARAMETER);
}

#[test]
fn thread_ids_are_pthread_self_or_gettid() {
    let _turn = session("");
    listen(4096, &[kind::DRIVER]);
    exit_api(domain::DRIVER, 307, 1, 0);
    assert_eq!(cuptiSetThreadIdType(1), Status::SUCCESS);
    exit_api(domain::DRIVER, 307, 2, 7);
    let mut id_type = 9;
    // SAFETY: `id_type` is valid for a write; the others have no preconditions.
    let (pthread, tid) = unsafe {
        assert_eq!(cuptiGetThreadIdType(&raw mut id_type), Status::SUCCESS);
        (libc::pthread_self() as u32, libc::gettid() as u32)
    };
    assert_eq!(id_type, 1);
    assert_eq!(cuptiSetThreadIdType(2), Status::NOT_SUPPORTED);
    let records = flushed();
    assert_eq!([records[0].u32(28), records[1].u32(28)], [pthread, tid]);
    assert_eq!([24, 32, 36].map(|offset| records[1].u32(offset)), [std::process::id(), 2, 7]);
    assert_eq!(records[1].u64(16) - records[1].u64(8), 500);
}

#[test]
fn external_correlation_precedes_the_api_record() {
    let _turn = session("");
    listen(4096, &[kind::RUNTIME, kind::EXTERNAL_CORRELATION]);
    assert_eq!(cuptiActivityPushExternalCorrelationId(3, 100), Status::SUCCESS);
    assert_eq!(cuptiActivityPushExternalCorrelationId(3, 101), Status::SUCCESS);
    assert_eq!(cuptiActivityPushExternalCorrelationId(4, 200), Status::SUCCESS);
    assert_eq!(cuptiActivityPushExternalCorrelationId(0, 1), Status::INVALID_PARAMETER);
    exit_api(domain::RUNTIME, 211, 9, 0);
    let mut last = 0;
    // SAFETY: `last` is valid for a write, NULL is allowed.
    unsafe {
        assert_eq!(cuptiActivityPopExternalCorrelationId(3, &raw mut last), Status::SUCCESS);
        assert_eq!(last, 101);
        assert_eq!(cuptiActivityPopExternalCorrelationId(4, core::ptr::null_mut()), Status::SUCCESS);
        assert_eq!(cuptiActivityPopExternalCorrelationId(4, core::ptr::null_mut()), Status::QUEUE_EMPTY);
    }
    exit_api(domain::RUNTIME, 211, 10, 0);
    let records = flushed();
    let kinds: Vec<_> = records.iter().map(|record| record.kind).collect();
    assert_eq!(kinds, [39, 39, 5, 39, 5]);
    let external = |record: &crate::client::Record| (record.u32(4), record.u64(8), record.u32(16));
    assert_eq!(
        [&records[0], &records[1], &records[3]].map(external),
        [(3, 101, 9), (4, 200, 9), (3, 100, 10)]
    );
    // SAFETY: NULL is allowed.
    unsafe { cuptiActivityPopExternalCorrelationId(3, core::ptr::null_mut()) };
}

#[test]
fn what_exists_is_dumped_and_what_comes_is_recorded() {
    let _turn = session("cupti_gen=11");
    listen(4096, &[]);
    for kind in [kind::DEVICE, kind::CONTEXT, kind::STREAM] {
        assert_eq!(cuptiActivityEnableAndDump(kind), Status::SUCCESS);
    }
    let records = flushed();
    assert_eq!(records.iter().map(|record| record.kind).collect::<Vec<_>>(), [8, 8, 9, 9, 37, 37]);
    let (device, context) = (&records[1], &records[3]);
    assert_eq!((device.u32(112), device.bytes[120], device.u32(44)), (1, 2, 108), "id, uuid, SMs");
    assert_eq!((context.u32(4), context.u32(8), context.u32(12)), (2, 1, 7 << 16 | 1));
    announce(resource::CONTEXT_CREATED, 7, 0x10, 0);
    announce(resource::STREAM_CREATED, 13, 0x10, 0x20);
    announce(resource::STREAM_DESTROYED, 13, 0x10, 0x20);
    let records = flushed();
    assert_eq!(records.iter().map(|record| record.kind).collect::<Vec<_>>(), [9, 37]);
    assert_eq!((records[1].u32(4), records[1].u32(8)), (1, 13));
}

#[test]
fn cupti_reports_its_own_overhead() {
    let _turn = session("cupti_version=28");
    listen(4096, &[kind::OVERHEAD, kind::CONCURRENT_KERNEL]);
    run_kernels(1, 1);
    let overheads = |records: Vec<crate::client::Record>| -> Vec<u32> {
        let overheads = records.iter().filter(|record| record.kind == kind::OVERHEAD);
        overheads.map(|record| record.u32(4)).collect()
    };
    assert_eq!(overheads(flushed()), [7 << 16], "the request for the buffer");
    assert_eq!(overheads(flushed()), [1 << 16, 7 << 16], "the flush before, and its buffer");
}
