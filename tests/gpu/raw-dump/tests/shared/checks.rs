//! In: a recording. Out: how many records of each sort it holds. Refuses, as a failed assertion, a recording that
//! contradicts what the rest of the project believes of CUPTI.

use std::collections::{BTreeMap, BTreeSet};

use cupti_sys::record::{
    Api, Context, Device, Kernel, Memcpy, MemcpyKind, MemcpyPtoP, Memory, MemoryOperation, Memset, Overhead,
    Synchronization,
};
use cupti_sys::{ActivityKind, ApiVersion, RecordSizes, Status};
use gpu_agent_raw_dump::format::{Buffer, Recording};

/// How far the times of records may lie from the time at which their buffer was completed, in ns: an hour before, a
/// second after. It tells CLOCK_MONOTONIC from CLOCK_REALTIME.
const BEFORE_NS: u64 = 3_600_000_000_000;
const AFTER_NS: u64 = 1_000_000_000;

/// What a recording holds.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) kinds: BTreeMap<ActivityKind, usize>,
    pub(crate) kernels_by_name: BTreeMap<String, usize>,
    pub(crate) kernels_of_graphs: usize,
    pub(crate) copies: BTreeMap<MemcpyKind, usize>,
    pub(crate) copied_bytes: u64,
    pub(crate) memory: BTreeMap<MemoryOperation, usize>,
    pub(crate) devices: BTreeSet<String>,
    /// Correlation ids of API calls, and of work on a device.
    api: BTreeSet<u32>,
    work: BTreeSet<u32>,
}

/// Checks everything.
pub(crate) fn check(recording: &Recording<'_>) -> Summary {
    let sizes = RecordSizes::for_version(recording.cupti_version).expect("CUPTI 11.8 or later");
    let enabled: BTreeSet<_> =
        recording.kinds.iter().filter(|asked| asked.status.is_success()).map(|asked| asked.kind).collect();
    let mut summary = Summary::default();
    let mut kernel_strides = BTreeSet::new();
    for (number, buffer) in recording.buffers.iter().enumerate() {
        let place = format!("buffer {number}");
        assert_eq!(buffer.walk_end, Status::MAX_LIMIT_REACHED, "{place}: the walk ends regularly");
        for (kind, bytes, stride) in records(buffer) {
            let place = format!("{place}, {kind} record");
            assert!(enabled.contains(&kind), "{place}: nobody asked for it");
            assert_eq!(bytes[..4], kind.0.to_le_bytes(), "{place}: the kind that CUPTI's iterator saw");
            check_stride(recording.cupti_version, kind, stride, sizes.of(kind).expect(&place), &place);
            if kind == ActivityKind::CONCURRENT_KERNEL {
                kernel_strides.insert(stride);
            }
            *summary.kinds.entry(kind).or_default() += 1;
            check_record(recording, buffer, kind, sizes.cut(kind, bytes), &place, &mut summary);
        }
    }
    assert!(kernel_strides.len() <= 1, "kernel records of several lengths: {kernel_strides:?}");
    check_correlation(recording, &summary);
    summary
}

/// Kind, bytes up to the next record, and their number, of each record.
fn records<'a>(buffer: &Buffer<'a>) -> impl Iterator<Item = (ActivityKind, &'a [u8], usize)> {
    let offsets: Vec<_> = buffer.records.iter().map(|record| record.offset.get() as usize).collect();
    let ends: Vec<_> = offsets.iter().skip(1).copied().chain([buffer.valid.len()]).collect();
    assert_eq!(offsets.first().copied().unwrap_or(0), 0, "records begin at the buffer's start");
    let (kinds, valid) = (buffer.records, buffer.valid);
    kinds
        .iter()
        .zip(offsets)
        .zip(ends)
        .map(move |((record, from), to)| (ActivityKind(record.kind.get()), &valid[from..to], to - from))
}

/// Our walk by `size` meets CUPTI's own, which took `stride` bytes.
fn check_stride(version: ApiVersion, kind: ActivityKind, stride: usize, size: usize, place: &str) {
    let kernel = kind == ActivityKind::CONCURRENT_KERNEL;
    if version > ApiVersion(130_599) {
        assert!(
            stride >= size && stride.is_multiple_of(8),
            "{place}: {stride} bytes, at least {size} expected"
        );
    } else if version == ApiVersion::V11_8 && kernel {
        // 12.0 and 12.1 call themselves as 11.8 does, and write a longer kernel record.
        assert!([200, 208].contains(&stride), "{place}: {stride} bytes");
    } else {
        assert_eq!(stride, size, "{place}: bytes");
    }
}

fn check_record(
    recording: &Recording<'_>,
    buffer: &Buffer<'_>,
    kind: ActivityKind,
    bytes: &[u8],
    place: &str,
    summary: &mut Summary,
) {
    let near = |time_ns: u64| {
        time_ns > buffer.completed_ns.saturating_sub(BEFORE_NS) && time_ns < buffer.completed_ns + AFTER_NS
    };
    let span = |start_ns: u64, end_ns: u64| {
        let incomplete = buffer.forced && (start_ns == 0 || end_ns == 0);
        assert!(incomplete || start_ns <= end_ns, "{place}: ends before it starts");
        assert!(incomplete || (near(start_ns) && near(end_ns)), "{place}: another clock");
    };
    let name = |address| {
        let text = recording.name(buffer, address).unwrap_or_else(|| panic!("{place}: no name"));
        assert!(!text.is_empty(), "{place}: empty name");
        text.to_owned()
    };
    match kind {
        ActivityKind::CONCURRENT_KERNEL => {
            let kernel = Kernel::new(bytes).expect(place);
            span(kernel.start_ns(), kernel.end_ns());
            assert!(
                kernel.grid_x() > 0 && kernel.block_x() > 0 && kernel.correlation_id() > 0,
                "{place}: {kernel:?}"
            );
            summary.work.insert(kernel.correlation_id());
            *summary.kernels_by_name.entry(name(kernel.name_address())).or_default() += 1;
            summary.kernels_of_graphs += usize::from(kernel.graph_node_id().is_some_and(|node| node != 0));
        }
        ActivityKind::MEMCPY => {
            let copy = Memcpy::new(bytes).expect(place);
            span(copy.start_ns(), copy.end_ns());
            assert!(copy.copy_kind().name().is_some() && copy.size_bytes() > 0, "{place}: {copy:?}");
            summary.work.insert(copy.correlation_id());
            *summary.copies.entry(copy.copy_kind()).or_default() += 1;
            summary.copied_bytes += copy.size_bytes();
        }
        ActivityKind::MEMCPY2 => {
            let copy = MemcpyPtoP::new(bytes).expect(place);
            span(copy.start_ns(), copy.end_ns());
            assert_ne!(copy.src_device_id(), copy.dst_device_id(), "{place}: {copy:?}");
            summary.work.insert(copy.correlation_id());
            *summary.copies.entry(copy.copy_kind()).or_default() += 1;
            summary.copied_bytes += copy.size_bytes();
        }
        ActivityKind::MEMSET => {
            let fill = Memset::new(bytes).expect(place);
            span(fill.start_ns(), fill.end_ns());
            summary.work.insert(fill.correlation_id());
        }
        ActivityKind::MEMORY2 => {
            let memory = Memory::new(bytes).expect(place);
            assert!(near(memory.timestamp_ns()), "{place}: another clock");
            assert!(
                memory.operation().name().is_some() && memory.memory_kind().name().is_some(),
                "{place}: {memory:?}"
            );
            *summary.memory.entry(memory.operation()).or_default() += 1;
        }
        ActivityKind::DRIVER | ActivityKind::RUNTIME => {
            let api = Api::new(bytes).expect(place);
            span(api.start_ns(), api.end_ns());
            assert!(api.cbid() > 0 && api.process_id() > 0 && api.thread_id() > 0, "{place}: {api:?}");
            summary.api.insert(api.correlation_id());
        }
        ActivityKind::SYNCHRONIZATION => {
            let wait = Synchronization::new(bytes).expect(place);
            span(wait.start_ns(), wait.end_ns());
            assert!(wait.sync_type().name().is_some(), "{place}: {wait:?}");
        }
        ActivityKind::OVERHEAD => {
            let overhead = Overhead::new(bytes).expect(place);
            span(overhead.start_ns(), overhead.end_ns());
        }
        ActivityKind::DEVICE => {
            let device = Device::new(bytes).expect(place);
            assert!(
                device.multiprocessors() > 0 && device.compute_capability_major() > 0,
                "{place}: {device:?}"
            );
            assert_eq!(
                (device.uuid(), device.mig_uuid()),
                ([0; 16], [0; 16]),
                "{place}: a UUID left the machine"
            );
            summary.devices.insert(name(device.name_address()));
        }
        ActivityKind::CONTEXT => {
            let context = Context::new(bytes).expect(place);
            assert!(context.context_id() > 0, "{place}: {context:?}");
        }
        other => panic!("{place}: no view for {other}"),
    }
}

/// All work has the record of the call that caused it, unless that is among what is missing.
fn check_correlation(recording: &Recording<'_>, summary: &Summary) {
    let missing = recording.left_out.api_records + recording.left_out.dropped;
    let orphans: Vec<_> = summary.work.difference(&summary.api).collect();
    assert!(orphans.len() as u64 <= missing, "{missing} API records are missing, and {orphans:?} have none");
}
