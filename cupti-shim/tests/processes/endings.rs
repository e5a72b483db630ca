//! The ends of processes, of libraries, and of agents.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use gpu_agent_ring::control::ShimState;
use gpu_agent_ring::layout::{Counter, kinds};
use gpu_agent_ring::record::{Kernel, Session};

use crate::target::{Ring, Setup, assert_kernels, built};

#[test]
fn a_process_that_ends_with_work_in_flight_leaves_all_its_records() {
    for simulator in ["", "late_ms=2000", "driver=13040,cupti_gen=13", "slow_complete_us=1000"] {
        let mut target = Setup::new(simulator).start();
        target.tell("init");
        let mut ring = target.ring();
        let mut lease = Ring::lease(kinds::KERNEL, Duration::from_secs(600));
        // No flush comes before the end.
        lease.flush_period = Duration::from_secs(60);
        ring.control.acquire(&lease).unwrap();
        ring.await_answer(ShimState::Armed);
        target.tell("launch 500");
        let start = Instant::now();
        target.end_well();
        let took = start.elapsed();
        assert!(took < Duration::from_secs(10), "{simulator}: the end took {took:?}");
        assert_eq!(ring.control.report().state, Some(ShimState::Finished), "{simulator}");
        ring.read();
        assert_eq!(ring.of::<Kernel>().len(), 500, "{simulator}: {:?}", ring.control.report());
        ring.assert_accounted();
        assert_eq!(ring.of::<Session>().last().unwrap().state, ShimState::Finished as u32);
    }
}

#[test]
fn a_cupti_that_hangs_does_not_hold_the_end_up() {
    // The first buffer that CUPTI hands out takes it a minute.
    let mut target = Setup::new("slow_complete_us=60000000").start();
    target.tell("init");
    let ring = target.ring();
    ring.arm(kinds::KERNEL);
    target.tell("launch 1000");
    let start = Instant::now();
    target.end_well();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "the end took {took:?}, 500 ms of which may be the shim's");
}

#[test]
fn a_dormant_process_ends_at_once() {
    let mut target = Setup::new("").start();
    target.tell("init");
    let ring = target.ring();
    target.end_well();
    assert_eq!(ring.control.report().state, Some(ShimState::Finished));
}

#[test]
fn why_nothing_was_recorded_can_be_read_after_the_end() {
    let busy = ("subscriber=busy", ShimState::Busy);
    for (simulator, state) in [busy, ("fail=cuptiActivityRegisterCallbacks:999", ShimState::Failed)] {
        let mut target = Setup::new(simulator).start();
        target.tell("init");
        let ring = target.ring();
        ring.control.acquire(&Ring::lease(kinds::KERNEL, Duration::from_secs(600))).unwrap();
        ring.await_answer(state);
        target.end_well();
        let report = ring.control.report();
        assert_eq!(report.state, Some(state), "{simulator}");
        assert_ne!(report.status, 0, "{simulator}");
    }
}

#[test]
fn a_killed_process_leaves_what_was_flushed() {
    let mut target = Setup::new("").start();
    target.tell("init");
    let mut ring = target.ring();
    ring.arm(kinds::KERNEL);
    target.tell("launch 700");
    target.tell("sync");
    ring.read_until::<Kernel>(700);
    target.send("launch 100000");
    target.send("abort");
    let (status, _) = target.end();
    assert_eq!(status.signal(), Some(9));
    ring.read();
    assert_eq!(ring.reader.head(), ring.records.len() as u64 + ring.lost);
    assert!(ring.of::<Kernel>().len() >= 700);
}

#[test]
fn a_process_that_ends_by_exit_without_handlers_is_not_held_up() {
    let mut target = Setup::new("").start();
    target.tell("init");
    let ring = target.ring();
    ring.arm(kinds::KERNEL);
    target.tell("launch 10");
    target.send("quit");
    target.end_well();
    assert_eq!(ring.control.report().state, Some(ShimState::Armed));
}

#[test]
#[allow(unsafe_code, reason = "a second process that is an agent, with nothing but this test's memory")]
fn an_agent_that_is_killed_leaves_a_dormant_shim_to_the_next() {
    let mut target = Setup::new("").start();
    target.tell("init");
    let mut ring = target.ring();
    // SAFETY: the child only stores to the control page, sleeps, and is killed.
    let agent = unsafe { libc::fork() };
    if agent == 0 {
        let _ = ring.control.acquire(&Ring::lease(kinds::KERNEL, Duration::from_millis(500)));
        loop {
            std::thread::sleep(Duration::from_millis(50));
            let _ = ring.control.renew(Duration::from_millis(500));
        }
    }
    ring.await_state(ShimState::Armed);
    target.tell("launch 100");
    target.tell("sync");
    ring.read_until::<Kernel>(100);
    // Renewed all along.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(ring.control.report().state, Some(ShimState::Armed));

    // SAFETY: our own child, which nobody has waited for yet.
    unsafe {
        libc::kill(agent, libc::SIGKILL);
        libc::waitpid(agent, std::ptr::null_mut(), 0);
    }
    let killed = Instant::now();
    ring.await_state(ShimState::Dormant);
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(5), "dormant {took:?} after the agent's end, with a lease of 500 ms");
    target.tell("launch 50");
    target.tell("sync");
    ring.arm(kinds::KERNEL);
    target.tell("launch 60");
    target.tell("sync");
    ring.disarm();
    assert_kernels(&ring, 160);
    target.end_well();
}

#[test]
fn a_shim_that_is_closed_stays() {
    let mut target = Setup::new("").without_preload().start();
    target.tell("init");
    target.tell("threads 1 1");
    assert!(target.has_announced().is_none());
    let shim = built().shim.to_str().unwrap().to_owned();
    for _ in 0..3 {
        target.tell(&format!("load {shim}"));
    }
    let mut ring = target.ring();
    assert!(target.has_announced().is_none());
    // The program has threads by now, so its environment must not be touched.
    assert_eq!(target.tell("getenv CUDA_INJECTION64_PATH"), "");
    assert!(target.maps().contains("libgpu_agent_cupti.so"));
    ring.arm(kinds::KERNEL);
    target.tell("launch 15");
    target.tell("sync");
    ring.disarm();
    assert_kernels(&ring, 15);
    assert_eq!(ring.counter(Counter::CuptiErrors), 0);
    target.end_well();
}
