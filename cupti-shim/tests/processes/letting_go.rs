//! Letting go of CUPTI: detached for good, finalised, and without a trace.

use std::time::{Duration, Instant};

use gpu_agent_ring::control::{Finalized, HandOver, ShimState};
use gpu_agent_ring::layout::{Counter, ending, kinds};

use crate::arming::find_by_maps;
use crate::target::{Ring, Setup, Target, assert_kernels, wait_for};

/// CUPTI 12.6, the first that may be finalised, on a driver that has it.
const CAN: &str = "driver=12060,cupti_version=24";
/// The last one before it.
const CANNOT: &str = "driver=12050,cupti_version=23";

fn start(simulator: &str) -> (Target, Ring) {
    let mut target = Setup::new(simulator).start();
    target.tell("init");
    let ring = target.ring();
    (target, ring)
}

/// Has the target make calls that leave no kernel record until the wish is answered.
fn call_until(target: &mut Target, ring: &Ring, state: ShimState) {
    let generation = ring.control.generation();
    wait_for(&format!("{state:?}"), || {
        target.tell("sync");
        let report = ring.control.report();
        (report.generation == generation && report.state == Some(state)).then_some(())
    });
}

#[test]
fn no_lease_arms_a_detached_process_before_the_wish_is_taken_back() {
    let (mut target, mut ring) = start("");
    ring.arm(kinds::KERNEL);
    target.tell("launch 11");
    target.tell("sync");
    ring.control.hand_over(HandOver::Detach, 0);
    ring.await_answer(ShimState::Detached);
    ring.control.release();
    ring.await_answer(ShimState::Detached);
    ring.control.acquire(&Ring::lease(kinds::KERNEL, Duration::from_secs(600))).unwrap();
    ring.await_answer(ShimState::Detached);
    target.tell("launch 100");
    target.tell("sync");
    ring.control.hand_over(HandOver::None, 0);
    ring.await_answer(ShimState::Armed);
    target.tell("launch 13");
    target.tell("sync");
    ring.disarm();
    assert_kernels(&ring, 24);
    assert_eq!(ring.control.report().finalized, Finalized::No);
    target.end_well();
}

#[test]
fn a_finalised_process_is_measured_exactly_when_it_is_armed_again() {
    let (mut target, mut ring) = start(CAN);
    let mut expected = 0;
    for round in 1..=3 {
        ring.arm(kinds::KERNEL | kinds::API);
        target.tell("launch 50");
        target.tell("sync");
        expected += 50;
        ring.control.hand_over(HandOver::DetachAndFinalize, 0);
        let before = ring.control.report().armed;
        call_until(&mut target, &ring, ShimState::Detached);
        assert_eq!(ring.control.report().finalized, Finalized::Done, "round {round}");
        assert_eq!(ring.control.report().armed, before);
        target.tell("launch 1000");
        target.tell("sync");
        ring.read();
        let seen = ring.of::<gpu_agent_ring::record::Kernel>().len();
        assert_eq!(seen, expected, "round {round}");
        ring.assert_accounted();
        ring.control.hand_over(HandOver::None, 0);
    }
    ring.await_answer(ShimState::Armed);
    ring.disarm();
    assert_eq!(ring.counter(Counter::CuptiErrors), 0);
    target.end_well();
}

#[test]
fn many_threads_may_launch_while_cupti_is_finalised() {
    let (mut target, mut ring) = start(CAN);
    let mut done = 0;
    // A round counts where the threads were not through yet when the wish was acted on.
    for round in 0.. {
        if done == 3 {
            break;
        }
        assert!(round < 20, "finalised {done} times in 20 rounds");
        ring.control.hand_over(HandOver::None, 0);
        ring.arm(kinds::KERNEL | kinds::MEMCPY | kinds::API);
        target.send("threads 8 40000");
        ring.control.hand_over(HandOver::DetachAndFinalize, 0);
        ring.await_answer(ShimState::Detached);
        target.answer("threads");
        let outcome = ring.control.report().finalized;
        assert!(matches!(outcome, Finalized::Done | Finalized::NoCall), "{outcome:?}");
        done += u32::from(outcome == Finalized::Done);
        ring.read();
        // A thread between the last flush and the finalising, inside of a launch, keeps its buffer; none has two.
        let report = ring.control.report();
        let requested = report.counter(Counter::BuffersRequested);
        let kept = requested - report.counter(Counter::BuffersCompleted) - ring.kept;
        assert!(kept <= 8 && (kept == 0 || outcome == Finalized::Done), "{report:?}");
        ring.kept += kept;
        ring.assert_accounted();
    }
    ring.control.hand_over(HandOver::None, 0);
    ring.arm(kinds::KERNEL);
    let before = ring.of::<gpu_agent_ring::record::Kernel>().len();
    target.tell("threads 8 1000");
    target.tell("sync");
    ring.disarm();
    assert_eq!(ring.of::<gpu_agent_ring::record::Kernel>().len() - before, 8000);
    target.end_well();
}

#[test]
fn a_cupti_before_12_6_is_let_go_and_not_finalised() {
    let (mut target, mut ring) = start(CANNOT);
    ring.arm(kinds::KERNEL);
    // The simulated one ends the process if it is finalised with a graph there.
    target.tell("graph 2");
    target.tell("launch 5");
    ring.control.hand_over(HandOver::DetachAndFinalize, 0);
    ring.await_answer(ShimState::Detached);
    let report = ring.control.report();
    assert_eq!((report.finalized, report.status), (Finalized::TooOld, 0));
    let requested = report.counter(Counter::BuffersRequested);
    target.tell("launch 100");
    target.tell("sync");
    assert_eq!(ring.counter(Counter::BuffersRequested), requested);
    ring.read();
    assert_kernels(&ring, 5);
    target.end_well();
}

#[test]
fn a_process_that_calls_nothing_is_let_go_when_the_patience_ends() {
    let (mut target, mut ring) = start(CAN);
    ring.arm(kinds::KERNEL);
    target.tell("launch 5");
    target.tell("sync");
    let start = Instant::now();
    ring.control.hand_over(HandOver::DetachAndFinalize, 0);
    ring.await_answer(ShimState::Detached);
    assert!(start.elapsed() >= gpu_agent_cupti::finalize::PATIENCE);
    assert_eq!(ring.control.report().finalized, Finalized::NoCall);
    // A call that comes later finds nobody who waits.
    target.tell("launch 10");
    assert_eq!(ring.control.report().finalized, Finalized::NoCall);
    // The same wish once more, while the process works.
    ring.control.hand_over(HandOver::DetachAndFinalize, 0);
    call_until(&mut target, &ring, ShimState::Detached);
    assert_eq!(ring.control.report().finalized, Finalized::Done);
    ring.control.hand_over(HandOver::None, 0);
    ring.arm(kinds::KERNEL);
    target.tell("launch 6");
    target.tell("sync");
    ring.disarm();
    assert_kernels(&ring, 11);
    target.end_well();
}

#[test]
fn what_was_let_go_already_can_be_finalised_later() {
    let (mut target, mut ring) = start(CAN);
    ring.arm(kinds::KERNEL);
    target.tell("launch 5");
    target.tell("sync");
    ring.disarm();
    ring.control.hand_over(HandOver::Detach, 0);
    ring.await_answer(ShimState::Detached);
    ring.control.hand_over(HandOver::DetachAndFinalize, 0);
    call_until(&mut target, &ring, ShimState::Detached);
    assert_eq!(ring.control.report().finalized, Finalized::Done);
    target.end_well();

    // Nothing was ever armed: there is no CUPTI to take out, and none is loaded for it.
    let (target, ring) = start(CAN);
    ring.control.hand_over(HandOver::DetachAndFinalize, 0);
    ring.await_answer(ShimState::Detached);
    assert_eq!(ring.control.report().finalized, Finalized::No);
    assert!(!target.maps().contains("libcupti"));
    target.end_well();
}

#[test]
fn a_lease_may_end_in_finalising() {
    let (mut target, ring) = start(CAN);
    let lease = Ring::lease(kinds::KERNEL, Duration::from_secs(600));
    ring.control.acquire(&gpu_agent_ring::Lease { ending: ending::FINALIZE, ..lease }).unwrap();
    ring.await_answer(ShimState::Armed);
    ring.control.release();
    call_until(&mut target, &ring, ShimState::Dormant);
    assert_eq!(ring.control.report().finalized, Finalized::Done);
    target.end_well();
}

#[test]
fn a_lease_that_ends_while_cupti_is_lent_finalises_it_too() {
    let (mut target, ring) = start(CAN);
    let lease = Ring::lease(kinds::KERNEL, Duration::from_secs(600));
    ring.control.acquire(&gpu_agent_ring::Lease { ending: ending::FINALIZE, ..lease }).unwrap();
    ring.await_answer(ShimState::Armed);
    ring.control.hand_over(HandOver::Yield, 0);
    ring.await_answer(ShimState::Yielded);
    ring.control.release();
    call_until(&mut target, &ring, ShimState::Dormant);
    assert_eq!(ring.control.report().finalized, Finalized::Done);
    target.end_well();
}

#[test]
fn a_detachment_that_does_not_finalise_outweighs_a_lease_that_would_and_says_so() {
    let (mut target, ring) = start(CAN);
    let lease = Ring::lease(kinds::KERNEL, Duration::from_secs(600));
    ring.control.acquire(&gpu_agent_ring::Lease { ending: ending::FINALIZE, ..lease }).unwrap();
    ring.await_answer(ShimState::Armed);
    ring.control.hand_over(HandOver::Detach, 0);
    ring.await_answer(ShimState::Detached);
    ring.control.release();
    call_until(&mut target, &ring, ShimState::Detached);
    assert_eq!(ring.control.report().finalized, Finalized::Detached);
    target.end_well();
}

#[test]
fn a_call_that_ends_while_calls_are_being_enabled_does_not_finalise_yet() {
    // The simulated one ends the process if it is finalised then.
    let (mut target, ring) = start(&format!("{CAN},slow=cuptiEnableDomain:100"));
    ring.arm(kinds::KERNEL);
    ring.control.hand_over(HandOver::DetachAndFinalize, 0);
    call_until(&mut target, &ring, ShimState::Detached);
    assert_eq!(ring.control.report().finalized, Finalized::Done);
    target.end_well();
}

#[test]
fn records_that_cupti_dropped_before_it_was_finalised_are_counted() {
    let (mut target, ring) = start(&format!("{CAN},drop_every=1"));
    // No flush but the last, so that the first count is that of letting go.
    let lease = Ring::lease(kinds::KERNEL, Duration::from_secs(600));
    ring.control.acquire(&gpu_agent_ring::Lease { flush_period: Duration::from_secs(60), ..lease }).unwrap();
    ring.await_answer(ShimState::Armed);
    target.tell("launch 5");
    ring.control.hand_over(HandOver::DetachAndFinalize, 0);
    let before = wait_for("dropped records", || {
        Some(ring.counter(Counter::CuptiDropped)).filter(|&dropped| dropped > 0)
    });
    let concurrent_kernel = 10;
    target.tell(&format!("cupti-enable {concurrent_kernel}"));
    target.tell("launch 1");
    call_until(&mut target, &ring, ShimState::Detached);
    assert_eq!(ring.control.report().finalized, Finalized::Done);
    assert_eq!(ring.counter(Counter::CuptiDropped), before + 1);
    target.end_well();
}

#[test]
fn an_agent_that_comes_while_a_call_is_waited_for_is_heard_at_once() {
    let (target, mut ring) = start(CAN);
    ring.arm(kinds::KERNEL);
    ring.control.hand_over(HandOver::DetachAndFinalize, 0);
    // Once all is switched off, a call is waited for.
    let flushes = ring.counter(Counter::Flushes);
    wait_for("the last flush", || (ring.counter(Counter::Flushes) > flushes).then_some(()));
    std::thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    ring.control.hand_over(HandOver::None, 0);
    ring.await_answer(ShimState::Armed);
    assert!(start.elapsed() < gpu_agent_cupti::finalize::PATIENCE / 2);
    assert_eq!(ring.control.report().finalized, Finalized::No);
    ring.disarm();
    target.end_well();
}

#[test]
fn a_cupti_that_refuses_to_be_finalised_is_let_go_and_told() {
    let (mut target, mut ring) = start(&format!("{CAN},fail=cuptiFinalize:999"));
    ring.arm(kinds::KERNEL);
    ring.control.hand_over(HandOver::DetachAndFinalize, 0);
    call_until(&mut target, &ring, ShimState::Detached);
    let report = ring.control.report();
    assert_eq!((report.finalized, report.status), (Finalized::Failed, 999));
    assert_eq!(ring.function().as_deref(), Some("cuptiFinalize"));
    ring.control.hand_over(HandOver::None, 0);
    ring.control.release();
    ring.await_answer(ShimState::Dormant);
    ring.arm(kinds::KERNEL);
    target.tell("launch 9");
    target.tell("sync");
    ring.disarm();
    assert_kernels(&ring, 9);
    target.end_well();
}

#[test]
fn a_process_may_end_while_a_call_is_waited_for() {
    let (target, ring) = start(CAN);
    ring.arm(kinds::KERNEL);
    ring.control.hand_over(HandOver::DetachAndFinalize, 0);
    target.end_well();
}

#[test]
fn descriptors_are_closed_where_the_agent_does_not_need_them_and_the_ring_is_found_all_the_same() {
    for detach in [true, false] {
        let (mut target, ring) = start("");
        assert_eq!(target.tell("descriptors"), "2");
        let lease = Ring::lease(kinds::KERNEL, Duration::from_secs(600));
        ring.control.acquire(&gpu_agent_ring::Lease { ending: ending::CLOSE_FILES, ..lease }).unwrap();
        ring.await_answer(ShimState::Armed);
        assert_eq!(target.tell("descriptors"), "2");
        if detach {
            ring.control.hand_over(HandOver::Detach, 0);
            ring.await_answer(ShimState::Detached);
        } else {
            ring.control.release();
            ring.await_answer(ShimState::Dormant);
        }
        assert_eq!(target.tell("descriptors"), "0");

        let (reader, control) = find_by_maps(target.pid(), ring.reader.writer().ring_id);
        ring.control.release();
        let mut second = Ring { reader, control, records: Vec::new(), lost: 0, kept: 0 };
        second.reader.seek(second.reader.head());
        second.control.hand_over(HandOver::None, 0);
        second.arm(kinds::KERNEL);
        target.tell("launch 30");
        target.tell("sync");
        second.read_until::<gpu_agent_ring::record::Kernel>(30);
        assert_kernels(&second, 30);
        target.tell("fork init");
        target.end_well();
    }
}

#[test]
fn descriptors_stay_where_an_agent_may_need_them() {
    let (mut target, mut ring) = start("");
    ring.arm(kinds::KERNEL);
    ring.disarm();
    ring.control.hand_over(HandOver::Detach, 0);
    ring.await_answer(ShimState::Detached);
    assert_eq!(target.tell("descriptors"), "2");
    // Another detachment, by an agent that does not need them.
    ring.control.hand_over(HandOver::Detach, ending::CLOSE_FILES);
    ring.await_answer(ShimState::Detached);
    assert_eq!(target.tell("descriptors"), "0");
    target.end_well();
}

#[test]
fn a_number_that_the_program_gave_to_a_file_of_its_own_is_not_closed() {
    let (mut target, ring) = start("");
    target.tell("reopen /dev/null");
    ring.control.hand_over(HandOver::Detach, ending::CLOSE_FILES);
    ring.await_answer(ShimState::Detached);
    target.tell("check /dev/null");
    target.end_well();
}
