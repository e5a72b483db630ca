//! A process that writes anything anywhere in its ring while the agent reads it.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gpu_agent_ring::layout::{PAGE_BYTES, SLOT_BYTES};
use gpu_agent_ring::map::Map;
use gpu_agent_ring::{Reader, Writer};
use rustix::fs::{MemfdFlags, fcntl_add_seals, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap};

use crate::forked::{Child, SharedWords};
use crate::memfd::{SEALS, SMALL, image, random};

/// A writable mapping of a file that passes for a ring, kept by the hostile process.
struct Scribbler {
    base: *mut AtomicU64,
    words: usize,
}

impl Scribbler {
    /// A file with the bytes of a ring, sealed only after it was mapped for writing.
    fn create(bytes: &[u8]) -> (OwnedFd, Self) {
        let file = memfd_create("gpu-agent-ring", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&file, bytes.len() as u64).unwrap();
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address of Linux's choice.
        let base =
            unsafe { mmap(core::ptr::null_mut(), bytes.len(), protection, MapFlags::SHARED, &file, 0) };
        fcntl_add_seals(&file, SEALS).unwrap();
        let scribbler = Self { base: base.unwrap().cast(), words: bytes.len() / 8 };
        scribbler.restore(bytes);
        (file, scribbler)
    }

    fn restore(&self, bytes: &[u8]) {
        for (word, value) in bytes.chunks_exact(8).enumerate() {
            self.store(word, u64::from_le_bytes(value.try_into().unwrap()));
        }
    }

    fn store(&self, word: usize, value: u64) {
        assert!(word < self.words);
        // SAFETY: in bounds of the mapping.
        unsafe { &*self.base.add(word) }.store(value, Ordering::Relaxed);
    }

    /// Stores something into one word: often where it hurts, often a value that hurts.
    fn scribble(&self, state: &mut u64) {
        const HEAD: usize = 1024 / 8;
        const NAMES_LEN: usize = 1088 / 8;
        let word = match random(state) % 4 {
            0 => HEAD,
            1 => NAMES_LEN,
            2 => 1 + PAGE_BYTES / 8 + (random(state) % 64) as usize,
            _ => (random(state) % self.words as u64) as usize,
        };
        let value = match random(state) % 6 {
            0 => 0,
            1 => u64::MAX,
            2 => random(state) % 32,
            3 => 1 << (random(state) % 64),
            4 => u64::MAX - random(state) % 32,
            _ => random(state),
        };
        self.store(word, value);
    }
}

#[test]
fn a_reader_survives_a_process_that_scribbles_everywhere() {
    let bytes = image(SMALL, 20);
    let (file, scribbler) = Scribbler::create(&bytes);
    let words = SharedWords::new();
    let child = Child::spawn(|| {
        let mut state = 1;
        while words.get(0).load(Ordering::Relaxed) == 0 {
            scribbler.scribble(&mut state);
            words.get(1).fetch_add(1, Ordering::Relaxed);
        }
        0
    });
    let started = Instant::now();
    let (mut polls, mut opened) = (0u64, 0u64);
    let mut state = 2;
    while started.elapsed() < Duration::from_millis(1_500) {
        scribbler.restore(&bytes);
        let Ok(mut reader) = Reader::open(&file) else { continue };
        opened += 1;
        for _ in 0..200 {
            let before = reader.position();
            let mut handed = 0;
            let progress = reader.poll(64, |number, _| {
                assert!(number >= before);
                handed += 1;
            });
            polls += 1;
            assert_eq!(progress.read, handed);
            assert!(progress.read <= 64);
            assert_eq!(reader.position(), before + progress.read + progress.lost);
            let id = random(&mut state) as u32 % 1_024;
            if let Some(name) = reader.name(id) {
                // Each invalid byte becomes a replacement character of three.
                assert!(name.len() <= 3 * 8192);
            }
        }
    }
    words.get(0).store(1, Ordering::Relaxed);
    assert_eq!(child.join(), 0);
    assert!(opened > 10 && polls > 2_000, "opened {opened}, polled {polls}");
    assert!(words.get(1).load(Ordering::Relaxed) > 10_000);
}

#[test]
fn a_head_from_nowhere_costs_one_poll_no_more_than_its_maximum() {
    let mut bytes = image(SMALL, 8);
    let slots = bytes.len() - 8 * SLOT_BYTES;
    bytes[1024..1032].copy_from_slice(&u64::MAX.to_le_bytes());
    let fd = crate::memfd::sealed(&bytes, SEALS);
    let mut reader = Reader::open(&fd).unwrap();
    assert_eq!(slots, PAGE_BYTES + 4096);
    let mut calls = 0;
    let progress = reader.poll(1 << 20, |_, _| calls += 1);
    assert_eq!((progress.read, calls), (0, 0));
    assert_eq!(progress.lost, u64::MAX);
    assert_eq!(reader.position(), u64::MAX);
    assert_eq!(reader.poll(1 << 20, |_, _| {}).lost, 0);
}

#[test]
fn a_head_that_goes_backwards_is_nothing_new() {
    let bytes = image(SMALL, 8);
    let (file, scribbler) = Scribbler::create(&bytes);
    let mut reader = Reader::open(&file).unwrap();
    assert_eq!(reader.poll(100, |_, _| {}).read, 8);
    scribbler.store(1024 / 8, 3);
    let progress = reader.poll(100, |_, _| panic!("record numbers never go back"));
    assert_eq!((progress.read, progress.lost, progress.pending), (0, 0, 0));
    assert_eq!(reader.position(), 8);
}

#[test]
fn a_child_does_not_inherit_a_ring_that_asked_for_it() {
    let writer = Writer::create(SMALL, gpu_agent_ring::writer::Identity::default()).unwrap();
    writer.dont_fork().unwrap();
    let map = Map::open(writer.file().unwrap(), PAGE_BYTES, false).unwrap();
    assert!(map.load(0, Ordering::Relaxed).is_some());
    let words = SharedWords::new();
    let child = Child::spawn(|| {
        // The child has the page mapped by `map`, which was not kept out, and not the writer's own.
        words.get(0).store(map.load(0, Ordering::Relaxed).unwrap_or(0), Ordering::Relaxed);
        // Asking Linux about an unmapped page fails with ENOMEM; a store would be the end of the child.
        i32::from(writer.dont_fork().is_err())
    });
    assert_eq!(child.join(), 1, "the child still has the writer's mapping");
    assert_eq!(words.get(0).load(Ordering::Relaxed), gpu_agent_ring::layout::RING_MAGIC);
}
