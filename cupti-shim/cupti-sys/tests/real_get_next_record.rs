//! Buffers laid out by the fixture, walked by NVIDIA's own `cuptiActivityGetNextRecord` and read through the views.
//!
//! Each library is loaded by a process of its own, the example `walk`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure has to fail the test"
)]

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use cupti_sys::record::{
    Api, Context, Device, ExternalCorrelation, GraphTrace, Kernel, Memcpy, MemcpyPtoP, Memory, Memset,
    Overhead, Stream, Synchronization,
};
use cupti_sys::{ActivityKind, RecordSizes};

#[path = "shared/callable.rs"]
mod callable;
#[path = "shared/libraries.rs"]
mod libraries;
#[path = "shared/releases.rs"]
mod releases;
#[path = "shared/versions.rs"]
mod versions;
use libraries::Library;
use releases::{KINDS, Release, Struct};

/// A buffer, and what was put into it.
struct Buffer<'a> {
    bytes: Vec<u8>,
    records: Vec<(usize, ActivityKind, &'a Struct)>,
}

/// What a field of the record at `offset` holds: different for each record and field, never 0.
fn value(offset: usize, field: &str) -> u64 {
    field.bytes().fold(0xcbf2_9ce4_8422_2325 ^ offset as u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    }) | 1
}

/// Records back to back: in the first round each kind once, in each further round as many in another order.
fn mixed_buffer(release: &Release, rounds: usize) -> Buffer<'_> {
    let mut buffer = Buffer { bytes: Vec::new(), records: Vec::new() };
    for round in 0..rounds {
        for step in 0..KINDS.len() {
            let (kind, family) = KINDS[(round + step * (round + 1)) % KINDS.len()];
            let layout = release.emitted(family);
            let offset = buffer.bytes.len();
            buffer.bytes.resize(offset + layout.size, 0xa5);
            let record = &mut buffer.bytes[offset..];
            // In the order of names, so that a member comes after the struct that it lies in.
            for (field, &(at, size)) in &layout.fields {
                let bytes = value(offset, field).to_le_bytes().repeat(2);
                record[at..at + size.min(16)].copy_from_slice(&bytes[..size.min(16)]);
            }
            record[..4].copy_from_slice(&kind.0.to_le_bytes());
            buffer.records.push((offset, kind, layout));
        }
    }
    buffer
}

/// Runs `walk` on the first `valid_bytes` of `bytes`. Gives the exit status, the `(offset, kind)` pairs, and stderr.
fn walk(library: &Library, bytes: &[u8], valid_bytes: usize) -> (bool, Vec<(usize, u32)>, String) {
    static FILES: AtomicU32 = AtomicU32::new(0);
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    let file = std::env::temp_dir().join(format!("cupti-walk-{}-{number}", std::process::id()));
    std::fs::write(&file, bytes).unwrap();
    let output = Command::new(callable::program("walk"))
        .arg(&library.path)
        .arg(&file)
        .arg(valid_bytes.to_string())
        .output()
        .unwrap();
    std::fs::remove_file(&file).unwrap();
    let pairs = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            let (offset, kind) = line.split_once(' ').unwrap();
            (offset.parse().unwrap(), kind.parse().unwrap())
        })
        .collect();
    (output.status.success(), pairs, String::from_utf8(output.stderr).unwrap())
}

/// The libraries to walk with, each with its release.
fn each_library(mut check: impl FnMut(&Library, &Release)) {
    let releases = releases::all();
    for library in callable::libraries() {
        check(&library, releases.iter().find(|release| release.name == library.release).unwrap());
    }
}

#[test]
fn cupti_steps_by_the_sizes_of_the_fixture() {
    each_library(|library, release| {
        let buffer = mixed_buffer(release, 20);
        let expected: Vec<_> = buffer.records.iter().map(|&(offset, kind, _)| (offset, kind.0)).collect();
        let (success, walked, said) = walk(library, &buffer.bytes, buffer.bytes.len());
        assert!(success, "CUPTI {}: {said}", release.name);
        assert_eq!(walked, expected, "CUPTI {}", release.name);
    });
}

#[test]
fn the_views_read_the_records_that_cupti_finds() {
    each_library(|library, release| {
        let sizes = RecordSizes::for_version(release.version).unwrap();
        let buffer = mixed_buffer(release, 3);
        let (_, walked, _) = walk(library, &buffer.bytes, buffer.bytes.len());
        assert_eq!(walked.len(), buffer.records.len(), "CUPTI {}", release.name);
        for ((offset, kind), &(_, _, layout)) in walked.into_iter().zip(&buffer.records) {
            let kind = ActivityKind(kind);
            check_record(kind, sizes.cut(kind, &buffer.bytes[offset..]), layout, offset);
        }
    });
}

#[test]
fn cupti_hands_out_no_record_that_the_valid_part_cuts_off() {
    each_library(|library, release| {
        let buffer = mixed_buffer(release, 1);
        let last = buffer.records.last().unwrap().0;
        for valid_bytes in [last + 4, buffer.bytes.len() - 1] {
            let (success, walked, said) = walk(library, &buffer.bytes, valid_bytes);
            assert!(success, "CUPTI {}: {said}", release.name);
            assert_eq!(walked.len(), buffer.records.len() - 1, "CUPTI {}", release.name);
        }
    });
}

#[test]
fn an_unknown_kind_ends_the_walk_with_an_error() {
    each_library(|library, release| {
        let mut buffer = mixed_buffer(release, 1);
        let (third, _, _) = buffer.records[2];
        buffer.bytes[third..third + 4].copy_from_slice(&200_u32.to_le_bytes());
        let (success, walked, said) = walk(library, &buffer.bytes, buffer.bytes.len());
        assert!(!success, "CUPTI {}", release.name);
        assert_eq!(walked.len(), 2, "CUPTI {}", release.name);
        assert!(said.contains("cuptiActivityGetNextRecord failed"), "CUPTI {}: {said}", release.name);
    });
}

/// Compares what the view of `kind` reads from `bytes` with what [`mixed_buffer`] wrote.
fn check_record(kind: ActivityKind, bytes: &[u8], layout: &Struct, offset: usize) {
    let written = |field: &str| {
        let &(at, size) = layout.fields.get(field).filter(|(at, size)| at + size <= bytes.len())?;
        assert!(at >= 4);
        Some(value(offset, field) & (u64::MAX >> (64 - 8 * size)))
    };
    macro_rules! check {
        ($view:ident; $($getter:ident $field:literal),*; $($late:ident $late_field:literal),*) => {{
            let view = $view::new(bytes).unwrap();
            $(assert_eq!(Some(u64::from(view.$getter())), written($field), "{} of {}", $field, layout.name);)*
            $(assert_eq!(view.$late().map(u64::from), written($late_field), "{} of {}", $late_field, layout.name);)*
        }};
    }
    match kind {
        ActivityKind::KERNEL | ActivityKind::CONCURRENT_KERNEL => check!(
            Kernel;
            start_ns "start", end_ns "end", device_id "deviceId", context_id "contextId", stream_id "streamId",
            grid_x "gridX", block_z "blockZ", registers_per_thread "registersPerThread",
            dynamic_shared_memory_bytes "dynamicSharedMemory", correlation_id "correlationId", name_address "name";
            graph_node_id "graphNodeId", graph_id "graphId", cluster_x "clusterX",
            max_active_clusters "maxActiveClusters", source_graph_node_id "sourceGraphNodeId"
        ),
        ActivityKind::MEMCPY => check!(
            Memcpy;
            flags "flags", size_bytes "bytes", start_ns "start", end_ns "end", stream_id "streamId",
            correlation_id "correlationId", graph_node_id "graphNodeId", channel_id "channelID";
            copy_count "copyCount", source_graph_id "sourceGraphId"
        ),
        ActivityKind::MEMCPY2 => check!(
            MemcpyPtoP;
            size_bytes "bytes", start_ns "start", end_ns "end", src_device_id "srcDeviceId",
            dst_device_id "dstDeviceId", correlation_id "correlationId", graph_node_id "graphNodeId";
        ),
        ActivityKind::MEMSET => check!(
            Memset;
            value "value", size_bytes "bytes", start_ns "start", end_ns "end", flags "flags",
            correlation_id "correlationId", graph_node_id "graphNodeId";
            source_graph_id "sourceGraphId"
        ),
        ActivityKind::MEMORY2 => check!(
            Memory;
            address "address", size_bytes "bytes", timestamp_ns "timestamp", correlation_id "correlationId",
            pool_address "memoryPoolConfig.address", pool_utilized_bytes "memoryPoolConfig.utilizedSize";
            source_address "source"
        ),
        ActivityKind::DRIVER | ActivityKind::RUNTIME => check!(
            Api;
            cbid "cbid", start_ns "start", end_ns "end", process_id "processId", thread_id "threadId",
            correlation_id "correlationId", return_value "returnValue";
        ),
        ActivityKind::EXTERNAL_CORRELATION => check!(
            ExternalCorrelation;
            external_id "externalId", correlation_id "correlationId";
        ),
        ActivityKind::SYNCHRONIZATION => check!(
            Synchronization;
            start_ns "start", end_ns "end", correlation_id "correlationId", stream_id "streamId";
            cuda_event_sync_id "cudaEventSyncId", return_value "returnValue"
        ),
        ActivityKind::GRAPH_TRACE => check!(
            GraphTrace;
            correlation_id "correlationId", start_ns "start", end_ns "end", graph_id "graphId";
            end_device_id "endDeviceId", end_context_id "endContextId"
        ),
        ActivityKind::OVERHEAD => check!(
            Overhead;
            object_kind "objectKind", start_ns "start", end_ns "end";
            correlation_id "correlationId", overhead_data_address "overheadData"
        ),
        ActivityKind::DEVICE => check!(
            Device;
            device_id "id", multiprocessors "numMultiprocessors", global_memory_bytes "globalMemorySize",
            name_address "name", compute_instance_id "computeInstanceId";
            numa_id "numaId", tpcs "numTpcs"
        ),
        ActivityKind::CONTEXT => check!(
            Context;
            context_id "contextId", device_id "deviceId", null_stream_id "nullStreamId";
            parent_context_id "parentContextId", cig_mode "cigMode", process_id "processId"
        ),
        ActivityKind::STREAM => check!(
            Stream;
            context_id "contextId", stream_id "streamId", priority "priority", correlation_id "correlationId";
        ),
        other => panic!("{other} has no check"),
    }
}
