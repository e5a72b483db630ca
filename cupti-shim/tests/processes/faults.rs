//! CUPTI functions that fail, and CUPTIs that cannot be used.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use gpu_agent_ring::control::ShimState;
use gpu_agent_ring::layout::{Counter, kinds};
use gpu_agent_ring::record::{Context, Kernel};

use crate::target::{Ring, Setup, Target, assert_kernels, built};

/// Everything that the shim can ask for.
const ALL: u32 = 0x7f;

fn start(simulator: &str) -> (Target, Ring) {
    let mut target = Setup::new(simulator).start();
    target.tell("init");
    let ring = target.ring();
    (target, ring)
}

/// The target runs on as if nothing had been, and CUPTI has nothing enabled.
fn assert_quiet(target: &mut Target, ring: &Ring) {
    let before = ring.control.report();
    target.tell("launch 500");
    target.tell("copy 5 64");
    target.tell("sync");
    std::thread::sleep(Duration::from_millis(50));
    let after = ring.control.report();
    for counter in [Counter::Seen, Counter::BuffersRequested, Counter::Flushes] {
        assert_eq!(after.counter(counter), before.counter(counter), "{counter:?}");
    }
    assert_eq!(after.counter(Counter::BuffersRequested), after.counter(Counter::BuffersCompleted));
}

#[test]
fn any_call_that_fails_while_arming_is_undone_and_told() {
    let functions = [
        ("", "cuptiSubscribe", 1),
        ("", "cuptiSetThreadIdType", 1),
        ("", "cuptiActivityRegisterTimestampCallback", 1),
        ("", "cuptiActivityRegisterCallbacks", 1),
        ("cupti_version=22,", "cuptiEnableCallback", 1),
        ("", "cuptiActivitySetAttribute", 1),
        ("", "cuptiActivitySetAttribute", 2),
        ("", "cuptiActivityEnableAndDump", 1),
        ("", "cuptiActivityEnableAndDump", 2),
        ("", "cuptiActivityEnable", 1),
        ("", "cuptiActivityEnable", 5),
        ("cupti_version=22,", "cuptiActivityEnable", 9),
        ("driver=12050,cupti_version=23,", "cuptiActivityEnableDriverApi", 1),
        ("driver=12050,cupti_version=23,", "cuptiActivityEnableDriverApi", 40),
        ("driver=12050,cupti_version=23,", "cuptiActivityEnableRuntimeApi", 30),
    ];
    for (settings, function, call) in functions {
        let (mut target, mut ring) = start(&format!("{settings}fail={function}:999@{call}"));
        ring.control.acquire(&Ring::lease(ALL, Duration::from_secs(600))).unwrap();
        println!("{function}, call {call}");
        ring.await_answer(ShimState::Failed);
        assert_eq!(ring.control.report().status, 999);
        assert_eq!(ring.function().as_deref(), Some(function));
        assert_eq!(ring.counter(Counter::CuptiErrors), 1, "{function}");
        assert_eq!(ring.control.report().kinds, 0, "{function}");
        assert_quiet(&mut target, &ring);

        // Only that one call fails: the next lease finds everything as if it had never been.
        ring.control.release();
        ring.await_state(ShimState::Dormant);
        assert_eq!(ring.control.report().status, 0, "{function}");
        ring.arm(ALL);
        target.tell("launch 40");
        target.tell("sync");
        ring.disarm();
        assert_kernels(&ring, 40);
        target.end_well();
    }
}

#[test]
fn any_call_that_fails_while_armed_disarms_and_is_told() {
    for (function, call) in [
        ("cuptiActivityFlushAll", 3),
        ("cuptiActivityGetNumDroppedRecords", 3),
        ("cuptiActivityGetNextRecord", 200),
    ] {
        let (mut target, mut ring) = start(&format!("fail={function}:999@{call}"));
        ring.arm(ALL);
        target.tell("launch 1000");
        target.tell("sync");
        ring.await_state(ShimState::Failed);
        assert_eq!(ring.control.report().status, 999, "{function}");
        assert_eq!(ring.function().as_deref(), Some(function));
        assert!(ring.counter(Counter::CuptiErrors) >= 1, "{function}");
        assert_quiet(&mut target, &ring);
        ring.read();
        ring.assert_accounted();
        target.end_well();
    }
}

#[test]
fn any_call_that_fails_while_disarming_keeps_nothing_else_from_being_undone() {
    for function in ["cuptiActivityDisable", "cuptiUnsubscribe"] {
        let (mut target, mut ring) = start(&format!("fail={function}:999@1"));
        ring.arm(ALL);
        target.tell("launch 100");
        target.tell("sync");
        ring.control.release();
        ring.await_state(ShimState::Dormant);
        assert_eq!(ring.counter(Counter::CuptiErrors), 1, "{function}");
        ring.read();
        assert_kernels(&ring, 100);
        target.tell("launch 10");
        target.tell("sync");
        target.end_well();
    }
}

#[test]
fn a_call_that_always_fails_costs_the_target_nothing() {
    for function in [
        "cuptiActivityFlushAll",
        "cuptiActivityDisable",
        "cuptiUnsubscribe",
        "cuptiActivityGetNextRecord",
        "cuptiActivityGetNumDroppedRecords",
    ] {
        let (mut target, ring) = start(&format!("fail={function}:999"));
        ring.control.acquire(&Ring::lease(ALL, Duration::from_millis(400))).unwrap();
        ring.await_state(ShimState::Armed);
        target.tell("launch 1000");
        target.tell("sync");
        ring.await_state(ShimState::Dormant);
        assert!(ring.counter(Counter::CuptiErrors) >= 1, "{function}");
        target.tell("launch 1000");
        target.tell("sync");
        target.end_well();
    }
}

#[test]
fn a_cupti_that_does_not_know_single_functions_is_asked_for_all() {
    // CUPTI_ERROR_INVALID_PARAMETER.
    let (mut target, mut ring) = start("driver=12050,cupti_version=23,fail=cuptiActivityEnableDriverApi:1");
    ring.arm(kinds::API);
    target.tell("launch 25");
    target.tell("sync");
    ring.disarm();
    let launches = ring.of::<gpu_agent_ring::record::Api>().iter().filter(|call| call.cbid == 307).count();
    assert_eq!(launches, 25);
    assert_eq!(ring.counter(Counter::CuptiErrors), 0);
    target.end_well();
}

#[test]
fn a_setting_that_cannot_be_read_is_not_changed() {
    let mut target =
        Setup::new("fail=cuptiActivityGetAttribute:999@1;cuptiActivitySetAttribute:999@2").start();
    target.tell("init");
    let mut ring = target.ring();
    // One setting is unreadable; the other's second change is the way back.
    ring.arm(kinds::KERNEL);
    assert_eq!(target.tell("cupti-attribute 0"), "3200000");
    assert_eq!(target.tell("cupti-attribute 2"), "64");
    ring.control.release();
    ring.await_state(ShimState::Dormant);
    assert_eq!(ring.counter(Counter::CuptiErrors), 1);
    ring.read();
    ring.assert_accounted();
    target.end_well();
}

#[test]
fn a_cupti_that_cannot_dump_inside_cuinit_is_armed_there_all_the_same() {
    // CUPTI_ERROR_NOT_INITIALIZED, for devices and for contexts.
    let simulator = "fail=cuptiActivityEnableAndDump:15@1;cuptiActivityEnableAndDump:15@2";
    let mut target = Setup::new(simulator).with("GPU_AGENT_ARM", "kernels").start();
    target.tell("init");
    let mut ring = target.ring();
    assert_eq!(ring.control.report().state, Some(ShimState::Armed));
    assert_eq!(ring.counter(Counter::CuptiErrors), 0);
    target.tell("launch 8");
    target.tell("sync");
    ring.read_until::<Kernel>(8);
    assert!(!ring.of::<Context>().is_empty(), "a context that was made afterwards");
    target.end_well();
}

#[test]
fn a_cupti_that_does_not_tell_its_version_is_not_used() {
    let (mut target, ring) = start("fail=cuptiGetVersion:999");
    ring.control.acquire(&Ring::lease(ALL, Duration::from_secs(600))).unwrap();
    let report = ring.await_state(ShimState::NoCupti);
    assert_eq!(report.status, 999);
    assert_eq!(ring.function().as_deref(), Some("cuptiGetVersion"));
    assert_quiet(&mut target, &ring);
    target.end_well();
}

/// A folder with the simulated driver and those of its companions that are named.
fn cuda_folder(name: &str, libraries: &[&str]) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    for library in libraries {
        // A copy, so that the linker does not see the original's folder.
        std::fs::copy(built().cuda.join(library), folder.join(library)).unwrap();
    }
    folder
}

#[test]
fn without_a_cupti_the_shim_says_so_and_the_target_runs() {
    let folder = cuda_folder("no-cupti", &["libcuda.so.1"]);
    let mut target = Setup::new("").cuda_from(&folder).start();
    target.tell("init");
    let ring = target.ring();
    ring.control.acquire(&Ring::lease(ALL, Duration::from_secs(600))).unwrap();
    ring.await_answer(ShimState::NoCupti);
    assert_quiet(&mut target, &ring);
    target.end_well();
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_cupti_newer_than_the_driver_is_not_used() {
    // By its soname, and by what it answers.
    let folder = cuda_folder("newer-cupti", &["libcuda.so.1", "libcupti.so.13"]);
    let mut target = Setup::new("driver=12040").cuda_from(&folder).start();
    target.tell("init");
    let ring = target.ring();
    ring.control.acquire(&Ring::lease(ALL, Duration::from_secs(600))).unwrap();
    assert_eq!(ring.await_state(ShimState::NoCupti).status, 0);
    assert!(!target.maps().contains("libcupti"));
    target.end_well();
    std::fs::remove_dir_all(folder).unwrap();

    let (target, ring) = start("driver=12040,cupti_version=26");
    ring.control.acquire(&Ring::lease(ALL, Duration::from_secs(600))).unwrap();
    // CUPTI_ERROR_NOT_COMPATIBLE.
    assert_eq!(ring.await_state(ShimState::NoCupti).status, 14);
    assert_eq!(ring.function().as_deref(), Some("cuptiGetVersion"));
    // The copy stays loaded, which does not make it the process's own choice at the next attempts.
    std::thread::sleep(2 * gpu_agent_cupti::phase::RETRY + Duration::from_millis(200));
    let report = ring.control.report();
    assert_eq!((report.state, report.status, report.armed), (Some(ShimState::NoCupti), 14, 0));
    target.end_well();
}

#[test]
fn the_copy_that_the_agent_names_is_the_last_resort() {
    let folder = cuda_folder("named-cupti", &["libcuda.so.1"]);
    std::fs::create_dir_all(folder.join("agent")).unwrap();
    let named = folder.join("agent/libcupti.so.12");
    symlink(built().cuda.join("libcupti.so.12"), &named).unwrap();
    let mut target =
        Setup::new("").cuda_from(&folder).with("GPU_AGENT_CUPTI", named.to_str().unwrap()).start();
    target.tell("init");
    let mut ring = target.ring();
    ring.arm(kinds::KERNEL);
    target.tell("launch 12");
    target.tell("sync");
    ring.disarm();
    assert_kernels(&ring, 12);
    target.end_well();
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_newer_driver_gets_the_newer_cupti() {
    for (driver, library) in [(12_040, "libcupti.so.12"), (13_000, "libcupti.so.13")] {
        let (mut target, ring) = start(&format!("driver={driver}"));
        ring.arm(kinds::KERNEL);
        target.tell("launch 1");
        assert!(target.maps().contains(library), "{}", target.maps());
        target.end_well();
    }
}
