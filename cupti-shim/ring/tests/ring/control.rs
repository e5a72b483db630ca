//! The control page: wishes, reports, waking, and pages that are none.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gpu_agent_ring::control::{Finalized, HandOver, ShimState, mono_ns};
use gpu_agent_ring::layout::{Counter, FORMAT_VERSION, PAGE_BYTES, ending, kinds};
use gpu_agent_ring::{AgentControl, Lease, OpenError, ShimControl};

use crate::forked::{Child, SharedWords};
use crate::memfd::{SEALS, random, sealed};

pub(crate) const LEASE: Lease = Lease {
    kinds: kinds::KERNEL | kinds::MEMCPY,
    flush_period: Duration::from_millis(20),
    budget_ppm: 10_000,
    duration: Duration::from_secs(5),
    ending: 0,
};

#[test]
fn wishes_arrive_at_the_shim() {
    let shim = ShimControl::create(3).unwrap();
    let agent = AgentControl::open(shim.file().unwrap(), 3, 99).unwrap();
    let before = shim.wish();
    assert!(before.deadline_ns < mono_ns());
    agent.acquire(&LEASE).unwrap();
    let wish = shim.wish();
    assert_ne!(wish.generation, before.generation);
    assert_eq!(wish.generation, agent.generation());
    assert!(wish.deadline_ns > mono_ns() + 4_000_000_000);
    assert!(wish.deadline_ns <= mono_ns() + 5_000_000_001);
    assert_eq!((wish.kinds, wish.budget_ppm, wish.ending), (LEASE.kinds, 10_000, 0));
    assert_eq!(wish.flush_period, Duration::from_millis(20));
    assert_eq!(wish.hand_over, HandOver::None);
    for hand_over in [HandOver::Yield, HandOver::Detach, HandOver::DetachAndFinalize, HandOver::None] {
        agent.hand_over(hand_over, 0);
        assert_eq!(shim.wish().hand_over, hand_over);
    }
    agent.hand_over(HandOver::Detach, ending::CLOSE_FILES);
    assert_eq!(shim.wish().ending, ending::CLOSE_FILES);
}

#[test]
fn a_wish_that_stands_is_changed_and_no_other() {
    let shim = ShimControl::create(3).unwrap();
    let agent = AgentControl::open(shim.file().unwrap(), 3, 99).unwrap();
    assert!(agent.change_hand_over(HandOver::None, HandOver::Yield));
    let lent = shim.wish();
    assert_eq!((lent.hand_over, lent.generation), (HandOver::Yield, agent.generation()));
    assert!(!agent.change_hand_over(HandOver::None, HandOver::Yield));
    assert_eq!(shim.wish(), lent, "nobody is woken for nothing");
    assert!(agent.change_hand_over(HandOver::Yield, HandOver::None));
    assert_eq!(shim.wish().hand_over, HandOver::None);
    assert_ne!(shim.wish().generation, lent.generation);
    for detached in [HandOver::Detach, HandOver::DetachAndFinalize] {
        agent.hand_over(detached, 0);
        assert!(!agent.change_hand_over(HandOver::Yield, HandOver::None));
        assert_eq!(shim.wish().hand_over, detached);
    }
}

#[test]
fn a_flush_period_out_of_range_is_clamped() {
    let shim = ShimControl::create(3).unwrap();
    let agent = AgentControl::open(shim.file().unwrap(), 3, 99).unwrap();
    for (asked, got) in [
        (Duration::ZERO, Duration::from_millis(1)),
        (Duration::MAX, Duration::from_secs(60)),
        (Duration::from_secs(7), Duration::from_secs(7)),
    ] {
        agent.acquire(&Lease { flush_period: asked, ..LEASE }).unwrap();
        assert_eq!(shim.wish().flush_period, got);
    }
}

#[test]
fn state_faults_and_counters_arrive_at_the_agent() {
    let shim = ShimControl::create(3).unwrap();
    let agent = AgentControl::open(shim.file().unwrap(), 3, 99).unwrap();
    assert_eq!(agent.report().state, Some(ShimState::Dormant));
    shim.report(ShimState::Armed, 4, kinds::KERNEL);
    shim.report(ShimState::Armed, 5, kinds::KERNEL | kinds::API);
    shim.fault(-39, 12);
    shim.finalized(Finalized::NoCall);
    shim.add(Counter::Seen, 10);
    shim.add(Counter::Seen, 5);
    shim.add(Counter::Metadata, 1);
    let report = agent.report();
    assert_eq!((report.state, report.generation, report.kinds), (Some(ShimState::Armed), 5, 0x11));
    assert_eq!((report.armed, report.status, report.function), (1, -39, 12));
    assert_eq!(report.finalized, Finalized::NoCall);
    assert_eq!((report.counter(Counter::Seen), report.counter(Counter::Metadata)), (15, 1));
    shim.report(ShimState::Dormant, 6, 0);
    shim.report(ShimState::Armed, 7, 1);
    assert_eq!(agent.report().armed, 2);
}

#[test]
fn every_state_has_a_number_and_no_other_number_has_a_state() {
    let states: Vec<ShimState> = (0..100).filter_map(ShimState::from_number).collect();
    assert_eq!(states.len(), 8);
    assert!(states.iter().enumerate().all(|(index, &state)| state as usize == index + 1));
}

#[test]
fn an_agent_in_another_process_wakes_the_shim() {
    let shim = ShimControl::create(3).unwrap();
    let agent = AgentControl::open(shim.file().unwrap(), 3, 99).unwrap();
    let words = SharedWords::new();
    let generation = shim.wish().generation;
    let child = Child::spawn(|| {
        words.get(0).store(1, Ordering::Release);
        shim.wait(generation, Some(Duration::from_secs(20)));
        i32::from(shim.wish().generation == generation)
    });
    while words.get(0).load(Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
    // Long enough for the child to be asleep in most runs; whether it is, is not part of the promise.
    std::thread::sleep(Duration::from_millis(30));
    let started = Instant::now();
    agent.acquire(&LEASE).unwrap();
    assert_eq!(child.join(), 0);
    assert!(started.elapsed() < Duration::from_secs(10), "woken by time-out, not by the agent");
}

#[test]
fn a_wait_for_what_has_happened_already_returns_at_once() {
    let shim = ShimControl::create(3).unwrap();
    let generation = shim.wish().generation;
    shim.wake();
    let started = Instant::now();
    shim.wait(generation, Some(Duration::from_secs(20)));
    assert!(started.elapsed() < Duration::from_secs(10));
    shim.wait(shim.wish().generation, Some(Duration::from_millis(1)));
}

#[test]
fn pages_that_are_none_are_refused() {
    let shim = ShimControl::create(3).unwrap();
    assert!(matches!(
        AgentControl::open(shim.file().unwrap(), 4, 1),
        Err(OpenError::Header { value: 3, .. })
    ));
    let mut page = vec![0; PAGE_BYTES];
    page[..8].copy_from_slice(b"GPUACTRL");
    let unsealed = sealed(&page, rustix::fs::SealFlags::empty());
    assert!(matches!(AgentControl::open(unsealed, 0, 1), Err(OpenError::Unsealed { .. })));
    assert!(matches!(
        AgentControl::open(sealed(&page[..4000], SEALS), 0, 1),
        Err(OpenError::Size { bytes: 4000 })
    ));
    assert!(matches!(AgentControl::open(sealed(&page, SEALS), 0, 1), Err(OpenError::Version { found: 0 })));
    page[8] = FORMAT_VERSION as u8;
    assert!(AgentControl::open(sealed(&page, SEALS), 0, 1).is_ok());
    page[0] = b'X';
    assert!(matches!(AgentControl::open(sealed(&page, SEALS), 0, 1), Err(OpenError::Magic { .. })));
}

#[test]
fn both_sides_read_a_page_of_garbage_without_harm() {
    let mut state = 5;
    for _ in 0..2_000 {
        let mut page: Vec<u8> = (0..PAGE_BYTES / 8).flat_map(|_| random(&mut state).to_le_bytes()).collect();
        page[..8].copy_from_slice(b"GPUACTRL");
        page[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        page[16..24].copy_from_slice(&3u64.to_le_bytes());
        let agent = AgentControl::open(sealed(&page, SEALS), 3, 1).unwrap();
        let report = agent.report();
        assert_eq!(report.counters.len(), Counter::COUNT);
        assert!(agent.renew(Duration::from_secs(1)).is_err());
        let acquired = agent.acquire(&LEASE);
        if acquired.is_ok() {
            agent.renew(Duration::from_secs(1)).unwrap();
        }
        agent.release();
    }
}
