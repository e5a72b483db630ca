//! Each record kind, each refusal, and any bytes at all.

use gpu_agent_ring::record::{self, Record, flag, kind};

use super::{DecodeError, Names, decode};
use crate::event::{Direction, Event, GraphMade, Interval, MemoryKind, NameId};

struct Echo;

impl Names for Echo {
    fn kernel(&mut self, ring_id: u32) -> NameId {
        NameId(ring_id)
    }

    fn text(&mut self, ring_id: u32) -> String {
        format!("text {ring_id}")
    }
}

fn kernel() -> record::Kernel {
    record::Kernel {
        kind: kind::KERNEL,
        correlation_id: 7,
        start_ns: 1000,
        end_ns: 3500,
        device_id: 1,
        context_id: 2,
        stream_id: 3,
        name_id: 9,
        static_shared_bytes: u32::MAX,
        dynamic_shared_bytes: 1,
        ..Default::default()
    }
}

fn of(record: &impl Record) -> Result<Event, DecodeError> {
    decode(&record.to_payload(), &mut Echo)
}

fn is_malformed(record: &impl Record) -> bool {
    matches!(of(record), Err(DecodeError::Malformed { .. }))
}

#[test]
fn a_kernel_keeps_its_times_place_and_name() {
    let Ok(Event::Kernel(event)) = of(&kernel()) else { panic!("no kernel") };
    assert_eq!(event.interval, Interval { start_ktime_ns: 1000, end_ktime_ns: 3500 });
    assert_eq!((event.place.device.0, event.place.stream.0, event.correlation.0), (1, 3, 7));
    assert_eq!(event.name, NameId(9));
    assert_eq!(event.shared_bytes, u32::MAX, "a sum that does not fit saturates");
    assert!(!event.incomplete);
}

#[test]
fn work_of_a_graph_says_when_the_graph_was_made() {
    let made = |flags| match of(&record::Kernel { flags, graph_id: 5, ..kernel() }) {
        Ok(Event::Kernel(event)) => (event.place.graph.0, event.place.graph_made),
        other => panic!("{other:?}"),
    };
    assert_eq!(made(0), (5, GraphMade::Attached));
    assert_eq!(made(flag::EARLIER_GRAPH), (5, GraphMade::Before));
    assert_eq!(made(flag::UNDATED_GRAPH), (5, GraphMade::Unknown));
}

#[test]
fn an_end_before_its_start_is_malformed() {
    assert!(is_malformed(&record::Kernel { end_ns: 999, ..kernel() }));
    assert!(is_malformed(&record::Kernel { start_ns: 0, ..kernel() }));
}

#[test]
fn a_record_without_times_is_incomplete_and_lasts_nothing() {
    for record in [
        record::Kernel { flags: flag::INCOMPLETE, end_ns: 0, ..kernel() },
        record::Kernel { start_ns: 0, end_ns: 0, ..kernel() },
    ] {
        let Ok(Event::Kernel(event)) = of(&record) else { panic!("no kernel") };
        assert!(event.incomplete);
        assert_eq!(event.interval.duration_ns(), 0);
    }
}

#[test]
fn copies_have_a_direction() {
    let direction = |copy_kind, flags| {
        let record = record::Memcpy {
            kind: kind::MEMCPY,
            flags,
            start_ns: 1,
            end_ns: 2,
            copy_kind,
            ..Default::default()
        };
        match of(&record) {
            Ok(Event::Memcpy(event)) => event.direction,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(direction(1, 0), Direction::HostToDevice);
    assert_eq!(direction(2, 0), Direction::DeviceToHost);
    assert_eq!(direction(8, 0), Direction::DeviceToDevice);
    assert_eq!(direction(8, flag::PEER), Direction::PeerToPeer);
    assert_eq!(direction(10, 0), Direction::PeerToPeer);
    assert_eq!(direction(200, 0), Direction::Unknown);
}

#[test]
fn an_allocation_from_a_pool_is_of_the_kind_pool() {
    let record = record::Memory {
        kind: kind::MEMORY,
        operation: 1,
        memory_kind: 3,
        pool_type: 1,
        bytes: 4096,
        ..Default::default()
    };
    let Ok(Event::Memory(event)) = of(&record) else { panic!("no memory event") };
    assert_eq!((event.memory, event.is_allocation), (MemoryKind::Pool, true));
    assert!(is_malformed(&record::Memory { operation: 3, ..record }));
}

#[test]
fn an_api_call_without_times_is_malformed() {
    let call =
        record::Api { kind: kind::API, flags: flag::RUNTIME, start_ns: 5, end_ns: 6, ..Default::default() };
    assert!(matches!(of(&call), Ok(Event::Api(api)) if api.is_runtime));
    assert!(is_malformed(&record::Api { start_ns: 0, end_ns: 0, ..call }));
}

#[test]
fn a_device_is_told_with_its_name() {
    let record = record::Device {
        kind: kind::DEVICE,
        flags: flag::MIG,
        name_id: 4,
        bandwidth_kb_s: u64::MAX,
        gpu_instance_id: 3,
        ..Default::default()
    };
    let Ok(Event::Device(device)) = of(&record) else { panic!("no device") };
    assert_eq!((device.name.as_str(), device.mig), ("text 4", Some((3, 0))));
    assert_eq!(device.bandwidth_bytes_per_s, u64::MAX);
}

#[test]
fn sessions_graphs_and_drops_are_told() {
    let session = record::Session { kind: kind::SESSION, state: 2, ..Default::default() };
    assert!(matches!(of(&session), Ok(Event::Session(session)) if session.armed));
    assert!(is_malformed(&record::Session { state: 99, ..session }));
    let graph = record::GraphTrace { kind: kind::GRAPH_TRACE, start_ns: 1, end_ns: 9, ..Default::default() };
    assert!(matches!(of(&graph), Ok(Event::GraphTrace(graph)) if graph.interval.duration_ns() == 8));
    assert!(is_malformed(&record::GraphTrace { end_ns: 0, ..graph }));
    let dropped = record::Dropped { kind: kind::DROPPED, count: 12, ..Default::default() };
    assert!(matches!(of(&dropped), Ok(Event::Dropped(dropped)) if dropped.count == 12));
}

#[test]
fn a_kind_of_a_later_version_is_unknown() {
    for kind in [0, 13, u16::MAX] {
        let found = of(&record::Dropped { kind, ..Default::default() });
        assert_eq!(found, Err(DecodeError::Unknown { kind }));
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(4096))]

    /// Any bits: no panic, and what comes out keeps its promise that an end is never before its start.
    #[test]
    fn any_payload_decodes_or_is_refused(kind in 0_u16..16, mut payload in proptest::array::uniform11(proptest::num::u64::ANY)) {
        payload[0] = payload[0] & !0xFFFF | u64::from(kind);
        if let Ok(Event::Kernel(event)) = decode(&payload, &mut Echo) {
            proptest::prop_assert!(event.interval.end_ktime_ns >= event.interval.start_ktime_ns);
        }
    }
}
