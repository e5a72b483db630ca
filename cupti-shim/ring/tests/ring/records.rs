//! Every record type, there and back.

use gpu_agent_ring::record::{
    Api, Context, Device, Dropped, GraphTrace, Kernel, Memcpy, Memory, Memset, Overhead, Payload, Record,
    Session, Synchronization,
};
use gpu_agent_ring::writer::Identity;
use gpu_agent_ring::{Geometry, Reader, Writer};
use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};

type Through = fn(&Payload) -> Payload;

fn through_a_ring<T: Record>(payload: &Payload) -> Payload {
    let record = T::from_payload(payload).unwrap();
    let mut writer = Writer::create(Geometry { slots: 2, names_bytes: 4096 }, Identity::default()).unwrap();
    let mut reader = Reader::open(writer.file().unwrap()).unwrap();
    writer.push(&record);
    let mut seen = Vec::new();
    let progress = reader.poll(10, |number, payload| seen.push((number, *payload)));
    assert_eq!((progress.read, progress.lost, progress.pending), (1, 0, 0));
    assert_eq!(seen[0].0, 0);
    T::from_payload(&seen[0].1).unwrap().to_payload()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_record_type_keeps_every_bit(payload in any::<Payload>()) {
        let types: [(u16, Through); 12] = [
            (Kernel::KIND, through_a_ring::<Kernel>),
            (Memcpy::KIND, through_a_ring::<Memcpy>),
            (Memset::KIND, through_a_ring::<Memset>),
            (Memory::KIND, through_a_ring::<Memory>),
            (Api::KIND, through_a_ring::<Api>),
            (Synchronization::KIND, through_a_ring::<Synchronization>),
            (Overhead::KIND, through_a_ring::<Overhead>),
            (GraphTrace::KIND, through_a_ring::<GraphTrace>),
            (Device::KIND, through_a_ring::<Device>),
            (Context::KIND, through_a_ring::<Context>),
            (Session::KIND, through_a_ring::<Session>),
            (Dropped::KIND, through_a_ring::<Dropped>),
        ];
        for (index, (kind, through)) in types.into_iter().enumerate() {
            prop_assert_eq!(usize::from(kind), index + 1, "kinds are numbered from 1 without a gap");
            prop_assert_eq!(through(&payload), payload, "record kind {}", kind);
        }
    }
}

#[test]
fn the_first_eight_bytes_are_kind_flags_and_correlation_id() {
    let kernel = Kernel { kind: 1, flags: 0x0203, correlation_id: 0x0405_0607, ..Kernel::default() };
    assert_eq!(kernel.to_payload()[0], 0x0405_0607_0203_0001);
    let dropped = Dropped { kind: 12, timestamp_ns: 5, count: 6, ..Dropped::default() };
    assert_eq!(dropped.to_payload()[..3], [12, 5, 6]);
}
