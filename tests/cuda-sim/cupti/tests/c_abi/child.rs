//! What ends a process, and what happens in a forked one: run in child processes of this test.

use crate::client::{BUFFER_BYTES, completed, flushed, listen, requested};
use crate::correlations;
use crate::mock::{announce, finalize_at_exit, run_kernels, session, subscribe_to_finalize};
use core::sync::atomic::Ordering;
use cuda_sim_abi::resource;
use cuda_sim_cupti::entry::activity::{
    cuptiActivityEnable, cuptiActivityFlushAll, cuptiActivityGetNumDroppedRecords,
    cuptiActivityRegisterCallbacks,
};
use cuda_sim_cupti::entry::attribute::cuptiSetThreadIdType;
use cuda_sim_cupti::entry::callback::cuptiFinalize;
use cuda_sim_cupti::entry::query::{cuptiGetTimestamp, cuptiGetVersion};
use cuda_sim_cupti::kind;
use cuda_sim_cupti::status::Status;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Output};
use std::sync::Mutex;

/// Set in a child to the part it plays.
const PART: &str = "CUPTI_SIM_TEST_PART";

/// Runs the test of that name in a child, with `GPU_AGENT_CUDA_SIM=text`.
fn child(test: &str, text: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("child::{test}"), "--nocapture"])
        .env(PART, test)
        .env("GPU_AGENT_CUDA_SIM", text)
        .output()
        .unwrap()
}

fn is_child(test: &str) -> bool {
    std::env::var(PART).is_ok_and(|part| part == test)
}

fn assert_aborted(output: &Output, why: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{stderr}");
    assert!(stderr.contains(why), "{stderr}");
}

#[test]
fn null_buffer_below_27_aborts() {
    if is_child("null_buffer_below_27_aborts") {
        let _turn = session("cupti_version=26");
        listen(0, &[kind::CONCURRENT_KERNEL]);
        run_kernels(1, 1);
        return;
    }
    let why = "simulated CUPTI: NULL buffer below API 27 crashes the real one";
    assert_aborted(&child("null_buffer_below_27_aborts", ""), why);
}

#[test]
fn dropped_count_under_a_lock_that_buffer_requested_takes_aborts() {
    static CLIENT: Mutex<()> = Mutex::new(());
    unsafe extern "C" fn locking(buffer: *mut *mut u8, size: *mut usize, max_records: *mut usize) {
        let _held = CLIENT.lock().unwrap();
        // SAFETY: passed through.
        unsafe { requested(buffer, size, max_records) }
    }
    if is_child("dropped_count_under_a_lock_that_buffer_requested_takes_aborts") {
        let _turn = session("");
        listen(4096, &[kind::CONCURRENT_KERNEL]);
        cuptiActivityRegisterCallbacks(Some(locking), Some(completed));
        let held = CLIENT.lock().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| run_kernels(1, 1));
            std::thread::sleep(std::time::Duration::from_millis(100));
            let mut dropped = 0;
            // SAFETY: `dropped` is valid for a write.
            unsafe { cuptiActivityGetNumDroppedRecords(core::ptr::null_mut(), 0, &raw mut dropped) };
            drop(held);
        });
        return;
    }
    let test = "dropped_count_under_a_lock_that_buffer_requested_takes_aborts";
    assert_aborted(&child(test, ""), "the real CUPTI would deadlock");
}

#[test]
fn a_buffer_that_is_not_aligned_aborts() {
    unsafe extern "C" fn misaligned(buffer: *mut *mut u8, size: *mut usize, max_records: *mut usize) {
        // SAFETY: passed through; moving 4 bytes into memory that is then not used.
        unsafe {
            requested(buffer, size, max_records);
            *buffer = (*buffer).add(4);
        }
    }
    if is_child("a_buffer_that_is_not_aligned_aborts") {
        let _turn = session("");
        listen(4096, &[kind::CONCURRENT_KERNEL]);
        cuptiActivityRegisterCallbacks(Some(misaligned), Some(completed));
        run_kernels(1, 1);
        return;
    }
    assert_aborted(&child("a_buffer_that_is_not_aligned_aborts", ""), "not aligned to 8 bytes");
}

#[test]
fn finalizing_outside_the_exit_of_a_call_aborts() {
    if is_child("finalizing_outside_the_exit_of_a_call_aborts") {
        let _turn = session("");
        cuptiFinalize();
        return;
    }
    let output = child("finalizing_outside_the_exit_of_a_call_aborts", "");
    assert_aborted(&output, "outside a callback at the exit of an API call");
}

#[test]
fn finalizing_before_12_6_with_graphs_aborts() {
    if is_child("finalizing_before_12_6_with_graphs_aborts") {
        let _turn = session("cupti_version=23");
        subscribe_to_finalize();
        listen(4096, &[kind::CONCURRENT_KERNEL]);
        announce(resource::GRAPH_INSTANTIATED, 1, 0x100, 0x300);
        finalize_at_exit();
        return;
    }
    assert_aborted(
        &child("finalizing_before_12_6_with_graphs_aborts", ""),
        "before CUPTI 12.6 with CUDA graphs",
    );
}

#[test]
fn a_malformed_variable_ends_the_process_with_the_reason() {
    if is_child("a_malformed_variable_ends_the_process_with_the_reason") {
        cuptiFinalize();
        return;
    }
    let output = child("a_malformed_variable_ends_the_process_with_the_reason", "nonsense=1");
    assert_aborted(&output, "unknown key \"nonsense\"");
}

#[test]
fn without_libcuda_only_what_the_real_library_answers_is_answered() {
    if is_child("without_libcuda_only_what_the_real_library_answers_is_answered") {
        let (mut version, mut time) = (0, 0);
        // SAFETY: both are valid for a write.
        let (got_version, got_time) =
            unsafe { (cuptiGetVersion(&raw mut version), cuptiGetTimestamp(&raw mut time)) };
        let answers = [
            got_version,
            got_time,
            cuptiActivityRegisterCallbacks(Some(requested), Some(completed)),
            cuptiFinalize(),
            cuptiActivityEnable(10),
            cuptiActivityFlushAll(0),
            cuptiSetThreadIdType(1),
        ];
        println!("answers {}", answers.map(|status| status.0.to_string()).join(" "));
        return;
    }
    // Measured on the real 12.4.127, 12.9.79, 13.0.85 and 13.4.92 without a driver.
    for (text, expected) in [
        ("cupti_version=22", "answers 0 0 0 0 15 15 15"),
        ("cupti_version=28", "answers 0 0 0 0 15 15 15"),
        ("cupti_gen=10", "answers 0 0 0 0 999 999 999"),
        ("cupti_gen=13", "answers 999 999 999 999 999 999 999"),
    ] {
        let output = child("without_libcuda_only_what_the_real_library_answers_is_answered", text);
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(stdout.contains(expected), "{text}: {stdout}");
    }
}

#[test]
fn a_forked_child_works_on_without_cupti() {
    if is_child("a_forked_child_works_on_without_cupti") {
        let _turn = session("");
        listen(512, &[kind::CONCURRENT_KERNEL]);
        std::thread::scope(|scope| {
            let busy = scope.spawn(|| run_kernels(100, 20_000));
            // SAFETY: the child calls only CUPTI and exit.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                run_kernels(1, 10);
                let refused = cuptiActivityEnable(10) == Status::NOT_INITIALIZED
                    && cuptiActivityFlushAll(1) == Status::NOT_INITIALIZED;
                // SAFETY: runs what the C library runs at exit, thread-local destructors among it.
                unsafe { libc::exit(if refused { 0 } else { 3 }) };
            }
            let mut status = 0;
            // SAFETY: `status` is valid for a write.
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
            assert_eq!(status, 0, "the child");
            busy.join().unwrap();
        });
        BUFFER_BYTES.store(4096, Ordering::SeqCst);
        drop(flushed());
        run_kernels(7, 1);
        assert_eq!(correlations(&flushed()), [7], "the parent goes on");
        return;
    }
    let output = child("a_forked_child_works_on_without_cupti", "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
