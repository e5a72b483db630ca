//! A shim that nobody listens to costs nothing.

use std::path::Path;
use std::time::Duration;

use gpu_agent_ring::control::ShimState;
use gpu_agent_ring::layout::kinds;

use crate::target::{Setup, built, wait_for};

fn field(thread: &Path, name: &str) -> String {
    let status = std::fs::read_to_string(thread.join("status")).unwrap();
    let line =
        status.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {status}"));
    line.split_once(':').unwrap().1.trim().to_owned()
}

/// What the thread has done so far: time on a CPU, time waiting for one, turns; and how often it went to sleep.
fn activity(thread: &Path) -> (String, String) {
    (std::fs::read_to_string(thread.join("schedstat")).unwrap(), field(thread, "voluntary_ctxt_switches"))
}

#[test]
fn a_dormant_shim_is_one_thread_that_never_runs_and_no_cupti() {
    let mut target = Setup::new("").start();
    target.tell("init");
    let ring = target.ring();
    let thread = wait_for("the shim's thread", || target.shim_thread());
    wait_for("sleep", || field(&thread, "State").starts_with('S').then_some(()));
    let before = activity(&thread);
    for _ in 0..20 {
        target.tell("launch 5000");
        target.tell("sync");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(activity(&thread), before, "the shim's thread ran during 100,000 launches and 2 s");
    assert!(field(&thread, "State").starts_with('S'));
    // Neither does any other code of ours run: without CUPTI nothing can call the shim.
    assert!(!target.maps().contains("libcupti"), "{}", target.maps());
    assert_eq!(ring.reader.head(), 0);
    target.end_well();
}

#[test]
fn a_shim_is_dormant_again_after_its_lease() {
    let mut target = Setup::new("").start();
    target.tell("init");
    let mut ring = target.ring();
    ring.arm(kinds::KERNEL);
    target.tell("launch 100");
    ring.disarm();
    let thread = wait_for("the shim's thread", || target.shim_thread());
    wait_for("sleep", || field(&thread, "State").starts_with('S').then_some(()));
    // The state is reported before the thread has gone to sleep.
    std::thread::sleep(Duration::from_millis(300));
    let before = activity(&thread);
    let head = ring.reader.head();
    for _ in 0..20 {
        target.tell("launch 5000");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(activity(&thread), before);
    assert_eq!(ring.reader.head(), head);
    target.end_well();
}

#[test]
fn the_thread_leaves_all_signals_to_the_program() {
    let mut target = Setup::new("").start();
    target.tell("init");
    let _ring = target.ring();
    let thread = wait_for("the shim's thread", || target.shim_thread());
    let blocked = u64::from_str_radix(&field(&thread, "SigBlk"), 16).unwrap();
    // All but SIGKILL (9) and SIGSTOP (19), and the two that the C library keeps for itself (32, 33).
    let cannot_be = [9, 19, 32, 33].iter().fold(0, |set, signal| set | 1u64 << (signal - 1));
    assert_eq!(blocked | cannot_be, u64::MAX);
    let main = Path::new("/proc").join(target.pid().to_string());
    assert_eq!(field(&main, "SigBlk"), "0000000000000000");
    target.end_well();
}

#[test]
fn switched_off_it_does_nothing_at_all() {
    let mut target = Setup::new("").with("GPU_AGENT_SHIM", "off").with("GPU_AGENT_ARM", "kernels").start();
    assert_eq!(target.tell("getenv CUDA_INJECTION64_PATH"), "");
    target.tell("init");
    target.tell(&format!("load {}", built().shim.display()));
    target.tell("launch 10");
    assert!(target.shim_thread().is_none());
    assert!(target.has_announced().is_none());
    assert!(!target.maps().contains("memfd:"));
    target.end_well();
}

#[test]
fn a_program_without_cuda_gets_a_variable_and_nothing_else() {
    let mut target = Setup::new("").start();
    let path = target.tell("getenv CUDA_INJECTION64_PATH");
    assert_eq!(Path::new(&path), built().shim.canonicalize().unwrap());
    assert!(target.shim_thread().is_none());
    assert!(!target.maps().contains("memfd:"));
    target.end_well();
}

#[test]
fn another_injection_library_is_left_in_place() {
    let mut target = Setup::new("").with("CUDA_INJECTION64_PATH", "/somebody/else.so").start();
    assert_eq!(target.tell("getenv CUDA_INJECTION64_PATH"), "/somebody/else.so");
    target.end_well();
}

#[test]
fn odd_settings_do_not_keep_the_shim_from_working() {
    let mut target = Setup::new("")
        .with("GPU_AGENT_RING_SLOTS", "banana")
        .with("GPU_AGENT_NAMES_KIB", "-3")
        .with("GPU_AGENT_ARM", "everything")
        .with("GPU_AGENT_CUPTI", "/nonexistent")
        .start();
    target.tell("init");
    let ring = target.ring();
    assert_eq!(ring.reader.capacity(), 1 << 16);
    assert_eq!(ring.control.report().state, Some(ShimState::Dormant));
    target.end_well();
}
