//! Every record has its place, whatever CUPTI does.

use std::time::Duration;

use gpu_agent_ring::layout::{Counter, kinds};
use gpu_agent_ring::record::{Dropped, Kernel, Memcpy, Memory, flag};

use crate::target::{KERNEL_NAME, Ring, Setup, assert_kernels, wait_for};

/// Arms for kernels and copies, has 3,000 of the first and 50 of the second made, and disarms.
fn run(simulator: &str) -> Ring {
    let mut target = Setup::new(simulator).start();
    target.tell("init");
    let mut ring = target.ring();
    ring.arm(kinds::KERNEL | kinds::MEMCPY);
    for _ in 0..5 {
        target.tell("launch 600");
        target.tell("copy 10 512");
    }
    target.tell("sync");
    ring.disarm();
    target.end_well();
    ring
}

#[test]
fn every_generation_of_records_gives_the_same() {
    for simulator in [
        "cupti_gen=9",
        "cupti_gen=9,cupti_version=18",
        "driver=13000,cupti_gen=10",
        "driver=13010,cupti_gen=11",
        "driver=13030,cupti_gen=12",
        "driver=13040,cupti_gen=13",
        "driver=13040,cupti_gen=13,larger=64",
    ] {
        let ring = run(simulator);
        assert_kernels(&ring, 3000);
        assert_eq!(ring.of::<Memcpy>().len(), 50, "{simulator}");
        for kernel in ring.of::<Kernel>() {
            assert_eq!((kernel.grid, kernel.block), ([3, 2, 1], [32, 4, 1]), "{simulator}");
            assert_eq!(ring.reader.name(kernel.name_id).as_deref(), Some(KERNEL_NAME), "{simulator}");
            assert_eq!(kernel.flags, 0, "{simulator}");
            assert!(kernel.end_ns >= kernel.start_ns && kernel.start_ns > 0, "{simulator}");
        }
    }
}

#[test]
fn late_partial_slow_and_reordered_buffers_lose_nothing() {
    for simulator in ["partial=on", "reorder=on", "late_ms=20", "slow_complete_us=500", "buffers=thread"] {
        let ring = run(simulator);
        assert_kernels(&ring, 3000);
        assert_eq!(ring.of::<Memcpy>().len(), 50, "{simulator}");
        assert_eq!(ring.counter(Counter::Incomplete), 0, "{simulator}");
    }
}

#[test]
fn what_cupti_dropped_is_counted_and_told() {
    let ring = run("drop_every=10");
    let dropped = ring.counter(Counter::CuptiDropped);
    assert!(dropped > 0);
    assert_eq!(ring.counter(Counter::Emitted) + dropped, 3050);
    assert_eq!(ring.of::<Dropped>().iter().map(|record| record.count).sum::<u64>(), dropped);
}

#[test]
fn what_cupti_dropped_for_another_profiler_is_not_counted() {
    let mut target = Setup::new("drop_every=10").start();
    target.tell("init");
    let mut ring = target.ring();
    target.tell("profile 1000");
    ring.arm(kinds::KERNEL);
    target.tell("launch 200");
    target.tell("sync");
    ring.disarm();
    let dropped = ring.counter(Counter::CuptiDropped);
    assert!(dropped > 0);
    assert_eq!(ring.counter(Counter::Emitted) + dropped, 200);
    target.end_well();
}

#[test]
fn unknown_kinds_are_counted_and_passed_over() {
    let ring = run("unknown_kind=on");
    assert!(ring.counter(Counter::Unknown) > 0);
    assert_kernels(&ring, 3000);
    assert_eq!(ring.of::<Memcpy>().len(), 50);
}

#[test]
fn records_without_an_end_are_marked() {
    let ring = run("incomplete=on");
    let incomplete = ring.of::<Kernel>().iter().filter(|kernel| kernel.flags & flag::INCOMPLETE != 0).count()
        + ring.of::<Memcpy>().iter().filter(|copy| copy.flags & flag::INCOMPLETE != 0).count();
    assert!(incomplete > 0);
    assert_eq!(ring.counter(Counter::Incomplete), incomplete as u64);
    assert_kernels(&ring, 3000);
}

#[test]
fn a_thousand_threads_launch_at_once() {
    for simulator in ["cupti_gen=9", "driver=13040,cupti_gen=13"] {
        let mut target = Setup::new(simulator).start();
        target.tell("init");
        let mut ring = target.ring();
        ring.arm(kinds::KERNEL);
        target.tell("threads 1000 20");
        target.tell("sync");
        ring.disarm();
        assert_kernels(&ring, 20_000);
        target.end_well();
    }
}

#[test]
fn a_full_ring_costs_its_oldest_records_and_says_how_many() {
    let mut target = Setup::new("").with("GPU_AGENT_RING_SLOTS", "1024").start();
    target.tell("init");
    let mut ring = target.ring();
    ring.arm(kinds::KERNEL);
    target.tell("launch 10000");
    target.tell("sync");
    ring.disarm();
    assert_eq!(ring.counter(Counter::Emitted), 10_000);
    assert!(ring.lost >= ring.reader.head() - 1024);
    let ids: Vec<u32> = ring.of::<Kernel>().iter().map(|kernel| kernel.correlation_id).collect();
    assert!(ids.len() > 512, "{}", ids.len());
    assert!(ids.is_sorted_by(|one, next| one < next));
    target.end_well();
}

#[test]
fn a_spent_budget_leaves_records_out_and_counts_them() {
    let mut target = Setup::new("").start();
    target.tell("init");
    let mut ring = target.ring();
    let mut lease = Ring::lease(kinds::KERNEL, Duration::from_secs(600));
    // 1 µs in each second: the first buffer spends it.
    lease.budget_ppm = 1;
    ring.control.acquire(&lease).unwrap();
    ring.await_answer(gpu_agent_ring::control::ShimState::Armed);
    target.tell("launch 20000");
    target.tell("sync");
    ring.disarm();
    let over = ring.counter(Counter::OverBudget);
    assert!(over > 10_000, "{over}");
    assert_eq!(ring.counter(Counter::Seen), 20_000);
    assert_eq!(ring.of::<Kernel>().len() as u64, 20_000 - over);
    target.end_well();
}

#[test]
fn a_flush_that_hangs_past_the_lease_copies_nothing_more() {
    // Each buffer takes CUPTI 50 ms; 20,000 kernels fill some 70 buffers, so the flush outlasts the lease by far.
    let mut target = Setup::new("slow_complete_us=50000").start();
    target.tell("init");
    let mut ring = target.ring();
    ring.arm_for(kinds::KERNEL, Duration::from_millis(1500));
    target.tell("launch 20000");
    target.tell("sync");
    ring.await_state(gpu_agent_ring::control::ShimState::Dormant);
    ring.read();
    ring.assert_accounted();
    assert_eq!(ring.counter(Counter::Seen), 20_000);
    assert!(ring.counter(Counter::OverBudget) > 0);
    target.end_well();
}

#[test]
fn allocations_are_seen_with_their_sizes() {
    let mut target = Setup::new("").with("GPU_AGENT_ARM", "memory").start();
    target.tell("init");
    let mut ring = target.ring();
    ring.read_until::<Memory>(1);
    let memory = ring.of::<Memory>()[0];
    assert_eq!((memory.bytes, memory.operation), (1 << 20, 1));
    assert_ne!(memory.address, 0);
    target.end_well();
}

#[test]
fn buffers_are_reused_and_the_pool_suffices() {
    let mut target = Setup::new("").start();
    target.tell("init");
    let mut ring = target.ring();
    ring.arm(kinds::KERNEL);
    for round in 1..=20 {
        target.tell("launch 2000");
        target.tell("sync");
        wait_for("the round's records", || (ring.counter(Counter::Seen) == round * 2000).then_some(()));
    }
    ring.disarm();
    assert_kernels(&ring, 40_000);
    // 2,000 records fill 7 buffers.
    assert!(ring.counter(Counter::BuffersRequested) >= 20 * 6);
    assert_eq!(ring.counter(Counter::BuffersExtra), 0);
    target.end_well();
}
