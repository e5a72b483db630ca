//! Agents that are killed half-way, and the next ones.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use gpu_agent::event::Pid;
use gpu_agent::inject::cupti::Cuda;
use gpu_agent::source::cupti::{self, AttachError};
use gpu_agent::symbols::process::mapped;

use super::rig::{Hostile, copy, library};

/// Longest that a thread which waits for its agent, or loads, keeps the next agent waiting.
const PATIENCE: Duration = Duration::from_secs(20);

/// An agent that dies at this request, or does not if that is 0; whether it has loaded the library.
fn agent(pid: u32, request: u32) -> bool {
    // …/target/debug/deps/hostile-0123
    let test = std::env::current_exe().unwrap();
    let program = test.parent().and_then(Path::parent).unwrap().join("examples/inject_until");
    let output = Command::new(program)
        .arg(pid.to_string())
        .arg(library())
        .args(["kill", &request.to_string()])
        .output()
        .unwrap();
    assert!(output.status.success() || request > 0, "{}", String::from_utf8_lossy(&output.stderr));
    output.status.success()
}

/// How many copies of the library the process has.
fn copies(pid: u32) -> usize {
    let files = mapped(Pid(pid)).unwrap();
    files.iter().filter(|file| Cuda::of(std::slice::from_ref(file)).has_shim).count()
}

/// Waits until the process has the library, or may be entered; whether it has it.
fn settle(pid: u32) -> bool {
    let started = Instant::now();
    loop {
        match cupti::find(Pid(pid)) {
            Err(AttachError::NotYet { .. }) if copies(pid) > 0 => return true,
            Err(AttachError::NoShim { .. }) => return false,
            Err(AttachError::NotYet { .. }) if started.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(20));
            }
            outcome => panic!("{outcome:?} after {:?}", started.elapsed()),
        }
    }
}

#[test]
fn whatever_a_killed_agent_left_the_next_one_loads_the_library_once() {
    let folder = tempfile::tempdir().unwrap();
    let driver: PathBuf = copy(folder.path(), "libcuda.so.535.1.2").0;
    let mut entered = 0;
    for request in 1.. {
        let mut process = Hostile::start("wait", std::slice::from_ref(&driver));
        let pid = process.pid();
        println!("killed at request {request}");
        let is_through = agent(pid, request);
        if !settle(pid) {
            entered += 1;
            agent(pid, 0);
        }
        assert_eq!(copies(pid), 1);
        process.answer();
        if is_through {
            break;
        }
    }
    assert!(entered > 10, "{entered} were left without the library");
}
