//! *read + lost = written*, exactly, whatever the writer and the reader do.

use std::sync::atomic::{AtomicU64, Ordering};

use gpu_agent_ring::record::Payload;
use gpu_agent_ring::writer::Identity;
use gpu_agent_ring::{Geometry, Reader, Writer};

use crate::forked::{Child, SharedWords};
use crate::memfd::random;

const RECORDS: u64 = 40_000;

/// A payload whose every word follows from the record's number: a torn copy shows.
fn payload(number: u64) -> Payload {
    core::array::from_fn(|word| number.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(word as u64))
}

fn ring(slots: u32) -> (Writer, Reader) {
    let writer = Writer::create(Geometry { slots, names_bytes: 4096 }, Identity::default()).unwrap();
    let reader = Reader::open(writer.file().unwrap()).unwrap();
    (writer, reader)
}

/// Pushes [`RECORDS`] records in bursts that differ by seed.
fn write(writer: &mut Writer, mut seed: u64) {
    let mut number = 0;
    while number < RECORDS {
        let burst = (1 + random(&mut seed) % 40).min(RECORDS - number);
        for _ in 0..burst {
            writer.push_payload(&payload(number));
            number += 1;
        }
        if random(&mut seed).is_multiple_of(4) {
            std::thread::yield_now();
        }
    }
}

/// Reads until `done` says that the writer has ended; every record must be whole and in order.
fn read(reader: &mut Reader, mut seed: u64, done: impl Fn() -> bool) -> (u64, u64) {
    let (mut read, mut lost, mut last) = (0, 0, None);
    loop {
        let last_round = done();
        loop {
            let max = 1 + random(&mut seed) % 64;
            let progress = reader.poll(max, |number, seen| {
                assert_eq!(*seen, payload(number), "record {number} is torn");
                assert!(last < Some(number), "record {number} came after {last:?}");
                last = Some(number);
            });
            assert!(progress.read <= max);
            read += progress.read;
            lost += progress.lost;
            assert_eq!(read + lost, reader.position());
            if progress.pending == 0 {
                break;
            }
        }
        if last_round {
            return (read, lost);
        }
        if random(&mut seed).is_multiple_of(3) {
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_writer_thread_loses_nothing_uncounted() {
    let (mut total_read, mut total_lost) = (0, 0);
    for seed in 0..24 {
        let (mut writer, mut reader) = ring(1 << (seed % 8));
        let written = AtomicU64::new(0);
        let (read, lost) = std::thread::scope(|scope| {
            scope.spawn(|| {
                write(&mut writer, seed);
                written.store(writer.written(), Ordering::Release);
            });
            read(&mut reader, !seed, || written.load(Ordering::Acquire) == RECORDS)
        });
        assert_eq!(read + lost, RECORDS, "seed {seed}");
        total_read += read;
        total_lost += lost;
    }
    assert!(total_read > 0 && total_lost > 0, "the seeds must bring both: {total_read} and {total_lost}");
}

#[test]
fn a_writer_process_loses_nothing_uncounted() {
    for seed in 100..112 {
        let (mut writer, mut reader) = ring(4 << (seed % 6));
        let words = SharedWords::new();
        let child = Child::spawn(|| {
            write(&mut writer, seed);
            words.get(0).store(writer.written(), Ordering::Release);
            0
        });
        let (read, lost) = read(&mut reader, !seed, || words.get(0).load(Ordering::Acquire) == RECORDS);
        assert_eq!(read + lost, RECORDS, "seed {seed}");
        assert_eq!(child.join(), 0);
    }
}

#[test]
fn a_writer_killed_anywhere_leaves_an_exact_account_of_what_it_published() {
    for seed in 0..60 {
        let (mut writer, mut reader) = ring(16);
        let child = Child::spawn(|| {
            let mut number = 0;
            loop {
                writer.push_payload(&payload(number));
                number += 1;
            }
        });
        let mut state = seed;
        let goal = random(&mut state) % 5_000;
        let (mut read, mut lost) = (0, 0);
        let mut poll = |reader: &mut Reader| {
            let progress = reader.poll(u64::MAX, |number, seen| assert_eq!(*seen, payload(number)));
            read += progress.read;
            lost += progress.lost;
        };
        while reader.head() < goal {
            poll(&mut reader);
        }
        child.kill();
        poll(&mut reader);
        assert_eq!(reader.position(), reader.head());
        assert_eq!(read + lost, reader.head(), "seed {seed}");
        // Of the last 16 records, only the one whose slot was being overwritten may be missing.
        let mut late = Reader::open(writer.file().unwrap()).unwrap();
        let progress = late.poll(u64::MAX, |_, _| {});
        assert!(progress.read + 1 >= 16.min(progress.read + progress.lost), "{progress:?}");
    }
}

#[test]
fn records_overwritten_between_two_copies_are_lost_and_the_reader_catches_up() {
    let (mut writer, mut reader) = ring(64);
    for number in 0..64 {
        writer.push_payload(&payload(number));
    }
    let mut seen = Vec::new();
    let progress = reader.poll(u64::MAX, |number, copied| {
        assert_eq!(*copied, payload(number));
        seen.push(number);
        // At its 10th record the reader is held up while the writer goes around three times.
        if seen.len() == 10 {
            for number in 64..64 + 192 {
                writer.push_payload(&payload(number));
            }
        }
    });
    assert_eq!(progress.read + progress.lost, 256);
    assert_eq!(progress.pending, 0);
    assert_eq!(seen[..10], (0..10).collect::<Vec<_>>()[..]);
    // After the first miss it leaves the writer a lead of 64 / 8 slots.
    assert_eq!(seen[10], 256 - 64 + 8);
    assert_eq!(seen.len() as u64, progress.read);
    assert_eq!(*seen.last().unwrap(), 255);
}

#[test]
fn a_full_ring_of_a_silent_writer_is_read_to_its_oldest_record() {
    let (mut writer, mut reader) = ring(8);
    for number in 0..20 {
        writer.push_payload(&payload(number));
    }
    let mut seen = Vec::new();
    let progress = reader.poll(u64::MAX, |number, _| seen.push(number));
    assert_eq!((progress.read, progress.lost, progress.pending), (8, 12, 0));
    assert_eq!(seen, (12..20).collect::<Vec<_>>());
}

#[test]
fn a_poll_stops_at_its_maximum_and_says_what_waits() {
    let (mut writer, mut reader) = ring(8);
    for number in 0..6 {
        writer.push_payload(&payload(number));
    }
    let progress = reader.poll(4, |_, _| {});
    assert_eq!((progress.read, progress.lost, progress.pending), (4, 0, 2));
    reader.seek(reader.head());
    assert_eq!(reader.poll(4, |_, _| panic!("nothing is new")).pending, 0);
}
