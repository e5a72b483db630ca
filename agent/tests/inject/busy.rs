//! Processes that do everything at once.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use gpu_agent::inject::mailbox::SHARED_BYTES;

use super::rig::{ALL, Busy, QUIET, cycles, example, library};

/// Longest time for one cycle, on a host with much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_busy_process_is_entered_again_and_again_and_notices_nothing() {
    let busy = Busy::start(&ALL);
    let cycles = cycles(1000);
    let before = busy.descriptors();
    for cycle in 0..cycles {
        // One of its threads holds the dynamic linker's lock nearly all the time: the borrowed one may have to give up on it.
        let started = Instant::now();
        while let Err(error) = busy.inject() {
            assert!(error.may_pass() && started.elapsed() < PATIENCE, "cycle {cycle}: {error}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let kept = busy.descriptors();
    let left: Vec<_> = kept.iter().filter(|line| line.contains("memfd")).collect();
    assert!(left.is_empty(), "{left:?}, before {before:?}");
    let noticed = busy.end();
    assert_eq!(noticed.injections, u64::from(cycles));
    assert!(noticed.done > 10_000, "{noticed:?}");
}

#[test]
fn no_call_of_a_process_ends_early_because_of_the_agent() {
    let busy = Busy::start(&QUIET);
    let cycles = cycles(100);
    for cycle in 0..cycles {
        busy.inject().unwrap_or_else(|error| panic!("cycle {cycle}: {error}"));
    }
    let noticed = busy.end();
    assert_eq!((noticed.injections, noticed.interrupted), (u64::from(cycles), 0), "{noticed:?}");
}

#[test]
fn each_sort_of_waiting_thread_can_be_borrowed_alone() {
    // With one thread that waits like this, and the first, which reads.
    for work in ["read", "nanosleep", "timeouts", "epoll", "condition", "io_uring", "registers", "setuid"] {
        let busy = Busy::start(&[work]);
        for _ in 0..3 {
            busy.inject().unwrap_or_else(|error| panic!("{work}: {error}"));
        }
        let noticed = busy.end();
        assert_eq!((noticed.injections, noticed.interrupted), (3, 0), "{work}: {noticed:?}");
    }
}

#[test]
fn nothing_is_left_but_the_library() {
    let busy = Busy::start(&["read"]);
    let (descriptors, threads) = (busy.descriptors(), threads(&busy));
    busy.inject().unwrap();
    let first = busy.memory_files();
    assert_eq!(busy.descriptors(), descriptors);
    assert_eq!(threads_in_the_end(&busy, threads), threads);
    assert!(first.iter().all(|line| line.contains("/memfd:libgpu_agent_cupti.so")), "{first:?}");
    busy.inject().unwrap();
    assert_eq!(threads_in_the_end(&busy, threads), threads);
    assert_eq!(busy.memory_files(), first, "neither code nor mailbox stay mapped");
    assert_eq!(busy.mappings_of(SHARED_BYTES), 0, "nor what was shared");
    let status = std::fs::read_to_string(format!("/proc/{}/status", busy.pid())).unwrap();
    assert!(status.contains("TracerPid:\t0"), "{status}");
}

/// Runs an agent that comes to this end at its `request`-th request.
fn agent(busy: &Busy, end: &str, request: u32) -> Output {
    let pid = busy.pid().to_string();
    let mut command = Command::new(example("inject_until"));
    command.arg(pid).arg(library()).arg(end).arg(request.to_string()).output().unwrap()
}

#[test]
fn an_agent_killed_at_any_request_leaves_a_process_that_runs_on() {
    let mut busy = Busy::start(&ALL);
    let mut killed = 0;
    for request in 1..300 {
        let agent = agent(&busy, "kill", request);
        assert!(busy.is_alive(), "after request {request}");
        match agent.status.code() {
            None => killed += 1,
            Some(0) => break,
            Some(_) => panic!("request {request}: {}", String::from_utf8_lossy(&agent.stderr)),
        }
    }
    assert!(killed >= 40, "{killed} requests were reached");
    busy.inject().unwrap();
    let noticed = busy.end();
    assert!(noticed.injections >= 1, "{noticed:?}");
}

#[test]
fn a_request_that_fails_leaves_a_process_that_is_as_before_and_can_be_entered() {
    let mut busy = Busy::start(&QUIET);
    let mut failed = 0;
    for request in 1..300 {
        let agent = agent(&busy, "fail", request);
        assert!(busy.is_alive(), "after request {request}");
        let status = std::fs::read_to_string(format!("/proc/{}/status", busy.pid())).unwrap();
        assert!(status.contains("TracerPid:\t0"), "{status}");
        let said = String::from_utf8_lossy(&agent.stderr);
        failed += u32::from(said.contains("refused for a test"));
        // A request that failed may be made up for: a thread that could not be stopped is left for another.
        if agent.status.success() && failed >= 20 {
            break;
        }
    }
    assert!(failed >= 20, "{failed} requests failed");
    busy.inject().unwrap();
    assert!(busy.end().injections >= 1);
}

#[test]
fn a_request_that_fails_before_the_thread_is_borrowed_ends_no_call() {
    // Once its registers are known: vectors, signal mask, the frame, the registers of a thread that is borrowed.
    for request in 4..8 {
        let busy = Busy::start(&["epoll-alone"]);
        let agent = agent(&busy, "fail", request);
        let said = String::from_utf8_lossy(&agent.stderr);
        assert!(said.contains("refused for a test"), "request {request}: {said}");
        assert_eq!(busy.end().interrupted, 0, "request {request}");
    }
}

fn threads(busy: &Busy) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", busy.pid())).unwrap().count()
}

/// The new thread has told that it is done a moment before it ends.
fn threads_in_the_end(busy: &Busy, wanted: usize) -> usize {
    for _ in 0..1000 {
        if threads(busy) == wanted {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    threads(busy)
}
