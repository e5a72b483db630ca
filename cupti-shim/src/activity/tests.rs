//! Buffers made by hand, walked by a stand-in for CUPTI's iterator.
#![allow(unsafe_code, reason = "stands in for a C library")]

use std::ffi::{CStr, c_void};
use std::ptr::null_mut;

use cupti_sys::{ActivityKind, ApiVersion, CallError, Cupti, RecordSizes, Status};
use gpu_agent_ring::control::ShimState;
use gpu_agent_ring::record::{
    Api, Context, Device, GraphTrace, Kernel, Memcpy, Memory, Memset, Overhead, Payload, Record, Session,
    Synchronization, flag,
};
use gpu_agent_ring::writer::Identity;
use gpu_agent_ring::{Geometry, Reader, Writer};

use super::{Copier, Mode, Source, Tally};
use crate::graphs::GRAPHS;

/// A kind that no CUPTI has.
const NO_KIND: ActivityKind = ActivityKind(60);
/// A kind at which the stand-in gives up.
const BROKEN: ActivityKind = ActivityKind(61);

type NextRecord = unsafe extern "C" fn(*mut u8, usize, *mut *mut u8) -> Status;

/// Steps over 248 bytes, the longest of all records, whatever the kind.
unsafe extern "C" fn next_record(buffer: *mut u8, valid_bytes: usize, record: *mut *mut u8) -> Status {
    // SAFETY: the caller passes a live out-pointer.
    let current = unsafe { *record };
    let offset = if current.is_null() { 0 } else { current.addr() - buffer.addr() + STRIDE };
    if offset >= valid_bytes {
        return Status::MAX_LIMIT_REACHED;
    }
    let next = buffer.wrapping_add(offset);
    // SAFETY: within the buffer, whose records begin with their kind.
    if unsafe { next.cast::<u32>().read_unaligned() } == BROKEN.0 {
        return Status::INVALID_KIND;
    }
    // SAFETY: as above.
    unsafe { *record = next };
    Status::SUCCESS
}

const STRIDE: usize = 248;

/// A CUPTI that can do nothing but walk buffers.
pub(crate) fn source(version: ApiVersion) -> Source {
    let lookup = |name: &CStr| match name.to_bytes() {
        b"cuptiActivityGetNextRecord" => next_record as NextRecord as *mut c_void,
        _ => null_mut(),
    };
    Source {
        graphs: &GRAPHS,
        // SAFETY: the one function that is looked up has the signature of its name.
        cupti: unsafe { Cupti::from_lookup(lookup) },
        version,
        sizes: RecordSizes::for_version(version).unwrap(),
        driver_version: 13_040,
    }
}

/// One record: its kind, and numbers at offsets.
pub(crate) struct Bytes([u8; STRIDE]);

impl Bytes {
    pub(crate) fn new(kind: ActivityKind) -> Self {
        Self([0; STRIDE]).u32(0, kind.0)
    }

    fn put(mut self, offset: usize, value: &[u8]) -> Self {
        self.0[offset..offset + value.len()].copy_from_slice(value);
        self
    }

    fn u8(self, offset: usize, value: u8) -> Self {
        self.put(offset, &[value])
    }

    fn u16(self, offset: usize, value: u16) -> Self {
        self.put(offset, &value.to_le_bytes())
    }

    pub(crate) fn u32(self, offset: usize, value: u32) -> Self {
        self.put(offset, &value.to_le_bytes())
    }

    pub(crate) fn u64(self, offset: usize, value: u64) -> Self {
        self.put(offset, &value.to_le_bytes())
    }

    fn name(self, offset: usize, name: &'static CStr) -> Self {
        self.u64(offset, name.as_ptr().expose_provenance() as u64)
    }
}

pub(crate) fn buffer(records: impl IntoIterator<Item = Bytes>) -> Vec<u8> {
    records.into_iter().flat_map(|record| record.0).collect()
}

/// A kernel from `start_ns` to `start_ns` + 5.
pub(crate) fn kernel(start_ns: u64) -> Bytes {
    Bytes::new(ActivityKind::CONCURRENT_KERNEL).u64(16, start_ns).u64(24, start_ns + 5)
}

fn call(kind: ActivityKind, cbid: u32) -> Bytes {
    Bytes::new(kind).u32(4, cbid).u64(8, 1).u64(16, 2)
}

struct Fixture {
    copier: Copier,
    reader: Reader,
}

impl Fixture {
    fn new() -> Self {
        let writer =
            Writer::create(Geometry { slots: 1024, names_bytes: 4096 }, Identity::default()).unwrap();
        let reader = Reader::open(writer.file().unwrap()).unwrap();
        Self { copier: Copier::new(writer), reader }
    }

    fn read(&mut self) -> Vec<Payload> {
        let mut payloads = Vec::new();
        self.reader.poll(u64::MAX, |_, payload| payloads.push(*payload));
        payloads
    }
}

/// Copies records as a CUPTI of `version` would have made them.
fn copy(version: ApiVersion, records: impl IntoIterator<Item = Bytes>) -> (Fixture, Tally, Vec<Payload>) {
    let mut fixture = Fixture::new();
    let (tally, outcome) = fixture.copier.copy(&source(version), &buffer(records), Mode::Copy);
    assert_eq!(outcome, Ok(()));
    let payloads = fixture.read();
    (fixture, tally, payloads)
}

/// The one ring record that the one record becomes.
fn convert<R: Record>(record: Bytes) -> (R, Fixture) {
    let (fixture, tally, payloads) = copy(ApiVersion::V13_4, [record]);
    let [payload] = payloads[..] else { panic!("{} records, {tally:?}", payloads.len()) };
    assert_eq!(payload[0] as u16, R::KIND);
    (R::from_payload(&payload).unwrap(), fixture)
}

#[test]
fn a_kernel_keeps_its_fields() {
    let record = Bytes::new(ActivityKind::CONCURRENT_KERNEL)
        .u16(6, 40)
        .u64(16, 1000)
        .u64(24, 2000)
        .u32(40, 1)
        .u32(44, 2)
        .u32(48, 3)
        .u32(52, 10)
        .u32(56, 11)
        .u32(60, 12)
        .u32(64, 64)
        .u32(68, 2)
        .u32(72, 70_000)
        .u32(76, 100)
        .u32(80, 200)
        .u32(84, 300)
        .u32(92, 77)
        .name(104, c"_Z6kernelv")
        .u8(136, 1)
        .u32(140, 400)
        .u64(144, 0x1_0000_0005)
        .u32(156, 6)
        .u8(208, 1);
    let (kernel, fixture) = convert::<Kernel>(record);
    assert_eq!(fixture.reader.name(kernel.name_id).as_deref(), Some("_Z6kernelv"));
    let expected = Kernel {
        kind: Kernel::KIND,
        flags: flag::COOPERATIVE | flag::DEVICE_LAUNCHED | flag::UNDATED_GRAPH,
        correlation_id: 77,
        start_ns: 1000,
        end_ns: 2000,
        device_id: 1,
        context_id: 2,
        stream_id: 3,
        name_id: kernel.name_id,
        graph_node_id: 0x1_0000_0005,
        graph_id: 6,
        grid: [10, 11, 12],
        block: [64, 2, u16::MAX],
        registers: 40,
        static_shared_bytes: 100,
        dynamic_shared_bytes: 200,
        local_bytes_per_thread: 300,
        shared_executed_bytes: 400,
    };
    assert_eq!(kernel, expected);
}

#[test]
fn a_copy_keeps_its_fields() {
    let record = Bytes::new(ActivityKind::MEMCPY)
        .u8(4, 8)
        .u8(5, 3)
        .u8(6, 2)
        .u8(7, 1)
        .u64(8, 4096)
        .u64(16, 10)
        .u64(24, 20)
        .u32(32, 1)
        .u32(36, 2)
        .u32(40, 3)
        .u32(44, 4)
        .u64(64, 5)
        .u32(72, 6)
        .u8(84, 1)
        .u64(88, 7);
    let (copy, _) = convert::<Memcpy>(record);
    let expected = Memcpy {
        kind: Memcpy::KIND,
        flags: flag::ASYNC | flag::DEVICE_LAUNCHED | flag::UNDATED_GRAPH,
        correlation_id: 4,
        start_ns: 10,
        end_ns: 20,
        device_id: 1,
        context_id: 2,
        stream_id: 3,
        copy_kind: 8,
        source_kind: 3,
        destination_kind: 2,
        graph_node_id: 5,
        graph_id: 6,
        destination_device_id: 1,
        destination_context_id: 2,
        copy_count: 7,
        bytes: 4096,
        ..Memcpy::default()
    };
    assert_eq!(copy, expected);
}

#[test]
fn a_copy_of_a_cupti_that_does_not_count_copies_is_one() {
    let (_, _, payloads) =
        copy(ApiVersion::V12_4, [Bytes::new(ActivityKind::MEMCPY).u64(24, 1).u64(88, 9).u8(84, 1)]);
    let copy = Memcpy::from_payload(&payloads[0]).unwrap();
    assert_eq!((copy.copy_count, copy.flags), (1, 0));
}

#[test]
fn a_copy_between_devices_keeps_both_ends() {
    let record = Bytes::new(ActivityKind::MEMCPY2)
        .u8(4, 10)
        .u64(8, 512)
        .u64(24, 20)
        .u32(32, 9)
        .u32(40, 3)
        .u32(44, 1)
        .u32(48, 11)
        .u32(52, 2)
        .u32(56, 22)
        .u32(60, 4);
    let (copy, _) = convert::<Memcpy>(record);
    assert_eq!(copy.flags, flag::PEER);
    assert_eq!((copy.device_id, copy.context_id), (1, 11));
    assert_eq!((copy.destination_device_id, copy.destination_context_id), (2, 22));
    assert_eq!((copy.correlation_id, copy.bytes, copy.copy_count, copy.copy_kind), (4, 512, 1, 10));
}

#[test]
fn memsets_and_allocations_keep_their_fields() {
    let record =
        Bytes::new(ActivityKind::MEMSET).u32(4, 255).u64(8, 64).u64(24, 2).u32(44, 4).u16(48, 1).u16(50, 3);
    let (memset, _) = convert::<Memset>(record);
    assert_eq!((memset.value, memset.bytes, memset.memory_kind, memset.flags), (255, 64, 3, flag::ASYNC));

    let record = Bytes::new(ActivityKind::MEMORY2)
        .u32(4, 2)
        .u32(8, 3)
        .u32(12, 5)
        .u64(16, 0xDEAD_0000)
        .u64(24, 1 << 40)
        .u64(32, 99)
        .u32(72, 1)
        .u32(80, 1)
        .u64(88, 0xBEEF);
    let (memory, _) = convert::<Memory>(record);
    assert_eq!((memory.operation, memory.memory_kind, memory.correlation_id), (2, 3, 5));
    assert_eq!((memory.address, memory.bytes, memory.timestamp_ns), (0xDEAD_0000, 1 << 40, 99));
    assert_eq!((memory.pool_type, memory.pool_address, memory.flags), (1, 0xBEEF, flag::ASYNC));
}

#[test]
fn the_other_kinds_keep_their_fields() {
    let (api, _) = convert::<Api>(call(ActivityKind::RUNTIME, 211).u32(28, 1234).u32(32, 5).u32(36, 2));
    assert_eq!((api.cbid, api.thread_id, api.correlation_id, api.return_value), (211, 1234, 5, 2));
    assert_eq!(api.flags, flag::RUNTIME);

    let record = Bytes::new(ActivityKind::SYNCHRONIZATION)
        .u32(4, 3)
        .u64(8, 1)
        .u64(16, 2)
        .u32(24, 9)
        .u32(32, u32::MAX)
        .u32(36, 8)
        .u32(48, 700);
    let (wait, _) = convert::<Synchronization>(record);
    assert_eq!((wait.sync_type, wait.correlation_id, wait.stream_id), (3, 9, u32::MAX));
    assert_eq!((wait.event_id, wait.return_value), (8, 700));

    let record =
        Bytes::new(ActivityKind::OVERHEAD).u32(4, 1 << 16).u32(8, 1).u64(24, 1).u64(32, 2).u32(40, 6);
    let (overhead, _) = convert::<Overhead>(record);
    assert_eq!((overhead.overhead_kind, overhead.object_kind, overhead.correlation_id), (1 << 16, 1, 6));

    let record =
        Bytes::new(ActivityKind::GRAPH_TRACE).u32(4, 3).u64(8, 1).u64(16, 2).u32(24, 1).u32(28, 8).u32(36, 7);
    let (graph, _) = convert::<GraphTrace>(record);
    assert_eq!((graph.correlation_id, graph.device_id, graph.graph_id, graph.stream_id), (3, 1, 8, 7));
}

#[test]
fn a_mig_device_is_known_by_the_uuid_of_its_instance() {
    let device = || {
        Bytes::new(ActivityKind::DEVICE)
            .u64(16, 1 << 34)
            .u32(44, 132)
            .u32(104, 9)
            .u32(112, 3)
            .put(120, &[1; 16])
            .name(136, c"NVIDIA H200")
            .u32(152, 5)
            .put(160, &[2; 16])
    };
    let (whole, fixture) = convert::<Device>(device());
    assert_eq!((whole.uuid, whole.flags, whole.device_id, whole.compute_major), ([1; 16], 0, 3, 9));
    assert_eq!((whole.memory_bytes, whole.multiprocessors), (1 << 34, 132));
    assert_eq!(fixture.reader.name(whole.name_id).as_deref(), Some("NVIDIA H200"));
    let (instance, _) = convert::<Device>(device().u8(145, 1));
    assert_eq!((instance.uuid, instance.flags, instance.gpu_instance_id), ([2; 16], flag::MIG, 5));
}

#[test]
fn devices_and_contexts_are_told_again_at_each_arming() {
    let devices = [Bytes::new(ActivityKind::DEVICE).u32(112, 1), Bytes::new(ActivityKind::CONTEXT).u32(4, 8)];
    let (mut fixture, tally, payloads) = copy(ApiVersion::V12_4, devices);
    assert_eq!((tally.metadata, tally.seen, payloads.len()), (2, 0, 2));
    let session = Session { kind: Session::KIND, state: ShimState::Armed as u32, ..Session::default() };
    assert_eq!(fixture.copier.session(session, true), 3);
    assert_eq!(fixture.copier.session(session, false), 1);
    let kinds: Vec<u16> = fixture.read().iter().map(|payload| payload[0] as u16).collect();
    assert_eq!(kinds, [Session::KIND, Device::KIND, Context::KIND, Session::KIND]);
}

#[test]
fn every_record_is_counted_once() {
    let records = [
        kernel(1),
        Bytes::new(NO_KIND),
        Bytes::new(ActivityKind::MARKER),
        kernel(2),
        // cuCtxGetCurrent was not asked for.
        call(ActivityKind::DRIVER, 304),
        call(ActivityKind::DRIVER, 307),
        Bytes::new(ActivityKind::CONCURRENT_KERNEL),
    ];
    let (_, tally, payloads) = copy(ApiVersion::V12_4, records);
    let expected = Tally { seen: 6, emitted: 4, unknown: 2, incomplete: 1, ..Tally::default() };
    assert_eq!(tally, expected);
    assert_eq!(payloads.len(), 4);
    assert_eq!(Kernel::from_payload(&payloads[3]).unwrap().flags, flag::INCOMPLETE);
}

#[test]
fn a_record_cut_short_by_the_buffers_end_is_malformed() {
    let mut fixture = Fixture::new();
    let mut bytes = buffer([kernel(1), kernel(2)]);
    bytes.truncate(STRIDE + 100);
    let (tally, outcome) = fixture.copier.copy(&source(ApiVersion::V12_4), &bytes, Mode::Copy);
    assert_eq!(outcome, Ok(()));
    assert_eq!(tally, Tally { seen: 2, emitted: 1, malformed: 1, ..Tally::default() });
}

#[test]
fn a_walk_that_breaks_off_is_told_and_counted() {
    let mut fixture = Fixture::new();
    let bytes = buffer([kernel(1), Bytes::new(BROKEN), kernel(2)]);
    let (tally, outcome) = fixture.copier.copy(&source(ApiVersion::V12_4), &bytes, Mode::Copy);
    let error = CallError::Failed { function: "cuptiActivityGetNextRecord", status: Status::INVALID_KIND };
    assert_eq!(outcome, Err(error));
    assert_eq!(tally, Tally { seen: 2, emitted: 1, malformed: 1, ..Tally::default() });
}

#[test]
fn over_budget_only_devices_and_contexts_are_copied() {
    let mut fixture = Fixture::new();
    let records = [
        kernel(1),
        Bytes::new(ActivityKind::DEVICE).u32(112, 1),
        call(ActivityKind::DRIVER, 304),
        call(ActivityKind::DRIVER, 307),
    ];
    let (tally, outcome) = fixture.copier.copy(&source(ApiVersion::V12_4), &buffer(records), Mode::Count);
    assert_eq!(outcome, Ok(()));
    assert_eq!(tally, Tally { seen: 2, over_budget: 2, metadata: 1, ..Tally::default() });
    assert_eq!(fixture.read().len(), 1);
}

#[test]
fn names_that_no_longer_fit_are_counted() {
    let mut fixture = Fixture::new();
    let names: Vec<_> =
        (0..20).map(|number| std::ffi::CString::new(format!("{number:0500}")).unwrap()).collect();
    let records = names.iter().map(|name| kernel(1).u64(104, name.as_ptr().expose_provenance() as u64));
    let (tally, _) = fixture.copier.copy(&source(ApiVersion::V12_4), &buffer(records), Mode::Copy);
    assert_eq!(tally.emitted, 20);
    // 4,096 bytes hold 7 names of 500.
    assert!(tally.names_full >= 12, "{tally:?}");
    let nameless = fixture.read().iter().filter(|p| Kernel::from_payload(p).unwrap().name_id == 0).count();
    assert_eq!(nameless as u64, tally.names_full);
}
