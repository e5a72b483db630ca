//! What is written is read; what is not a recording is refused, never with a panic.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure has to fail the test")]

use cupti_sys::{ActivityKind, Status};
use gpu_agent_raw_dump::format::{FormatError, KindAsked, RecordEntry, Recording};
use gpu_agent_raw_dump::{Delivery, Origin, Recorder};
use proptest::collection::vec;
use proptest::prelude::*;

const ORIGIN: Origin<'static> =
    Origin { cupti_version: 28, driver_version: 12_090, simulated: false, library: "libcupti.so.2025.2.1" };

/// A buffer of `kinds`, 64 bytes each, filled with `fill`.
fn delivery(kinds: &[u32], fill: u8, names: Vec<(u64, String)>) -> Delivery<'static> {
    let mut valid = vec![fill; 64 * kinds.len()];
    for (record, kind) in valid.chunks_exact_mut(64).zip(kinds) {
        record[..4].copy_from_slice(&kind.to_le_bytes());
    }
    Delivery {
        context: 7,
        completed_ns: u64::from(fill) << 40,
        stream_id: 3,
        thread_id: 99,
        forced: fill % 2 == 1,
        size_bytes: 32_768,
        valid: valid.leak(),
        records: (0..).step_by(64).zip(kinds).map(|(offset, &kind)| RecordEntry::new(offset, kind)).collect(),
        walk_end: 12,
        names,
    }
}

prop_compose! {
    fn deliveries()(
        shapes in vec((vec(1_u32..60, 0..20), any::<u8>(), vec((1_u64..5, "[a-z<>é]{0,12}"), 0..4)), 0..8)
    ) -> Vec<Delivery<'static>> {
        shapes
            .into_iter()
            .map(|(kinds, fill, mut names)| {
                names.sort();
                names.dedup_by_key(|(address, _)| *address);
                delivery(&kinds, fill, names)
            })
            .collect()
    }
}

fn recording_of(deliveries: &[Delivery<'_>], limit_bytes: usize) -> Vec<u8> {
    let mut recorder = Recorder::new(&ORIGIN, limit_bytes);
    for delivery in deliveries {
        recorder.buffer(delivery);
    }
    recorder.finish(5)
}

#[test]
fn a_recording_without_buffers_says_what_went_wrong() {
    let mut recorder = Recorder::new(&ORIGIN, 4_096);
    let asked = KindAsked { kind: ActivityKind::DEVICE, status: Status::INVALID_KIND, dumped: true };
    recorder.kind(asked);
    recorder.failure("cuptiSubscribe failed", Status::MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED);
    let file = recorder.finish(0);
    let recording = Recording::parse(&file).unwrap();
    assert_eq!((recording.cupti_version.0, recording.driver_version), (28, 12_090));
    assert_eq!(recording.library, "libcupti.so.2025.2.1");
    assert!(!recording.simulated);
    assert_eq!(recording.kinds, [asked]);
    assert_eq!(recording.failures[0].step, "cuptiSubscribe failed");
    assert_eq!(recording.failures[0].status, Status::MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED);
}

#[test]
fn a_later_name_of_an_address_holds_from_its_buffer_on() {
    let named = |name: &str| delivery(&[10], 0, vec![(4096, name.to_owned())]);
    let file = recording_of(&[named("first"), named("second"), named("second")], 10_000);
    let recording = Recording::parse(&file).unwrap();
    let names: Vec<_> =
        recording.buffers.iter().map(|buffer| recording.name(buffer, 4096).unwrap()).collect();
    assert_eq!(names, ["first", "second", "second"]);
    assert_eq!(recording.name(&recording.buffers[0], 4097), None);
}

#[test]
fn the_uuids_of_a_device_do_not_leave() {
    let mut bytes = vec![0xab_u8; 200];
    bytes[..4].copy_from_slice(&ActivityKind::DEVICE.0.to_le_bytes());
    let device = Delivery {
        valid: &bytes,
        size_bytes: 200,
        records: vec![RecordEntry::new(0, ActivityKind::DEVICE.0)],
        ..Delivery::default()
    };
    let file = recording_of(&[device], 10_000);
    let recording = Recording::parse(&file).unwrap();
    let hidden: Vec<_> = (4..200).filter(|&at| recording.buffers[0].valid[at] == 0).collect();
    let expected: Vec<_> = (120..136).chain(160..176).collect();
    assert_eq!(hidden, expected);
}

#[test]
fn a_failure_is_noted_though_no_further_buffer_fits() {
    let mut recorder = Recorder::new(&ORIGIN, 4_096);
    for _ in 0..10 {
        recorder.buffer(&delivery(&[4; 10], 0, vec![]));
    }
    recorder.failure("cuptiActivityFlushAll failed", Status::UNKNOWN);
    let file = recorder.finish(0);
    let recording = Recording::parse(&file).unwrap();
    assert_eq!(
        (recording.buffers.len(), recording.left_out.buffers, recording.left_out.api_records),
        (3, 7, 70)
    );
    assert_eq!(recording.failures.len(), 1);
}

#[test]
fn another_version_is_named() {
    let mut file = recording_of(&[], 4_096);
    file[8] = 2;
    assert_eq!(Recording::parse(&file).unwrap_err(), FormatError::Version { expected: 1, found: 2 });
}

#[test]
fn records_outside_of_the_valid_bytes_are_refused() {
    let mut outside = delivery(&[10, 10], 0, vec![]);
    outside.records[1] = RecordEntry::new(125, 10);
    let file = recording_of(&[outside.clone()], 4_096);
    assert!(matches!(Recording::parse(&file).unwrap_err(), FormatError::Broken { .. }));
    outside.records[1] = RecordEntry::new(0, 10);
    let file = recording_of(&[outside], 4_096);
    assert!(matches!(Recording::parse(&file).unwrap_err(), FormatError::Broken { .. }));
}

proptest! {
    #[test]
    fn what_is_written_is_read(deliveries in deliveries()) {
        let file = recording_of(&deliveries, 1_000_000);
        let recording = Recording::parse(&file).unwrap();
        prop_assert_eq!(recording.left_out.buffers, 0);
        prop_assert_eq!(recording.left_out.dropped, 5);
        prop_assert_eq!(recording.buffers.len(), deliveries.len());
        for (read, written) in recording.buffers.iter().zip(&deliveries) {
            prop_assert_eq!(read.context.0 as u64, written.context);
            prop_assert_eq!(read.completed_ns, written.completed_ns);
            prop_assert_eq!((read.stream_id, read.thread_id), (written.stream_id, written.thread_id));
            prop_assert_eq!(read.forced, written.forced);
            prop_assert_eq!(read.size_bytes, written.size_bytes);
            prop_assert_eq!(read.walk_end.0, written.walk_end);
            prop_assert_eq!(read.records, &written.records);
            let device = written.records.iter().any(|record| record.kind.get() == ActivityKind::DEVICE.0);
            prop_assert!(device || read.valid == written.valid);
            for (address, text) in &written.names {
                prop_assert_eq!(recording.name(read, *address), Some(text.as_str()));
            }
        }
    }

    #[test]
    fn the_limit_holds_and_what_is_left_out_adds_up(deliveries in deliveries(), limit in 4_096_usize..12_000) {
        let file = recording_of(&deliveries, limit);
        prop_assert!(file.len() <= limit);
        let recording = Recording::parse(&file).unwrap();
        let kept = recording.buffers.len();
        let left_out = &deliveries[kept..];
        prop_assert_eq!(recording.left_out.buffers, left_out.len() as u64);
        let sum = |size: fn(&Delivery<'_>) -> usize| left_out.iter().map(size).sum::<usize>() as u64;
        prop_assert_eq!(recording.left_out.records, sum(|delivery| delivery.records.len()));
        prop_assert_eq!(recording.left_out.bytes, sum(|delivery| delivery.valid.len()));
        let api = |delivery: &Delivery<'_>| {
            delivery.records.iter().filter(|record| [4, 5].contains(&record.kind.get())).count()
        };
        prop_assert_eq!(recording.left_out.api_records, sum(api));
    }

    #[test]
    fn every_beginning_of_a_recording_is_refused(deliveries in deliveries(), cut in any::<prop::sample::Index>()) {
        let file = recording_of(&deliveries, 1_000_000);
        prop_assert!(Recording::parse(&file[..cut.index(file.len())]).is_err());
    }

    #[test]
    fn a_recording_with_something_behind_it_is_refused(more in vec(any::<u8>(), 1..40)) {
        let mut file = recording_of(&[], 4_096);
        file.extend(more);
        prop_assert!(Recording::parse(&file).is_err());
    }

    #[test]
    fn garbage_never_panics(garbage in vec(any::<u8>(), 0..2_000)) {
        prop_assert!(Recording::parse(&garbage).is_err());
    }

    #[test]
    fn a_damaged_recording_never_panics(
        deliveries in deliveries(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut file = recording_of(&deliveries, 1_000_000);
        for (at, byte) in damage {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Ok(recording) = Recording::parse(&file) {
            for buffer in &recording.buffers {
                prop_assert!(buffer.records.iter().all(|record| (record.offset.get() as usize) < buffer.valid.len()));
                let _ = recording.name(buffer, 1);
            }
        }
    }
}
