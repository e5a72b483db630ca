//! Processes that cannot be attached to: each is refused with a message that says what to do, and harms nothing.

use std::process::Command;

use gpu_agent::event::Pid;
use gpu_agent::identity::Process;
use gpu_agent::pipeline::State;
use gpu_agent::source::cupti::{self, AttachError};

use super::rig::{Fake, agent, counter, pipeline, snapshot, stderr, wait_for};

fn refusal(pid: Pid) -> String {
    match cupti::find(pid) {
        Ok(_) => panic!("attached"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn no_such_process() {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    assert!(refusal(Pid(child.id())).contains("there is no process with pid"));
}

#[test]
fn a_process_without_cuda() {
    let fake = Fake::start(&["--no-ring"]);
    assert!(refusal(fake.pid()).contains("has not loaded CUDA"));
}

#[test]
fn a_process_with_cuda_and_without_the_shim() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libcuda.so.1");
    std::fs::write(&library, [0; 4096]).unwrap();
    let fake = Fake::start(&["--no-ring", "--map", library.to_str().unwrap()]);
    let text = refusal(fake.pid());
    assert!(text.contains("gpu-agent run --") && text.contains("CUDA_INJECTION64_PATH"), "{text}");
}

#[test]
fn a_process_with_the_shim_that_has_not_used_cuda_yet() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libgpu_agent_cupti.so");
    std::fs::write(&library, [0; 4096]).unwrap();
    let fake = Fake::start(&["--no-ring", "--map", library.to_str().unwrap()]);
    let error = cupti::find(fake.pid()).unwrap_err();
    assert!(error.may_pass());
    assert!(error.to_string().contains("has not initialised CUDA yet"), "{error}");
}

#[test]
fn forged_rings_are_refused_by_what_is_wrong_with_them() {
    for (forgery, message) in [
        ("magic", "instead of the magic"),
        ("version", "has format version"),
        ("truncated", "file size"),
        ("tiny", "bytes"),
        ("unsealed", "not sealed"),
        ("slots", "slot count"),
        ("offsets", "slots offset"),
        ("names", "names size"),
        ("foreign", "was written by process 1"),
    ] {
        let fake = Fake::start(&["--forge", forgery]);
        let text = refusal(fake.pid());
        assert!(text.contains(message), "{forgery}: {text}");
    }
}

#[test]
fn a_ring_full_of_lies_spoils_only_its_own_numbers() {
    let fake = Fake::start(&["--forge", "garbage"]);
    let pipeline = pipeline();
    // From the start, so that there is something to read: its head lies at the end of all numbers.
    pipeline.attach(cupti::find(fake.pid()).unwrap(), true).unwrap();
    let target = wait_for(pipeline.shared(), |target| target.hops.lost > 0);
    assert_eq!(target.hops.decoded + target.hops.unknown + target.hops.malformed, target.hops.read);
    let mut honest = Fake::start(&[]);
    pipeline.attach(cupti::find(honest.pid()).unwrap(), false).unwrap();
    honest.order("push 100 gemm_f16");
    honest.end();
    wait_for(pipeline.shared(), |target| target.state == State::Ended && target.hops.decoded == 100);
    assert_eq!(
        counter(&snapshot(pipeline.shared()), "gpu.kernel.executions", &[("kernel.class", "gemm")]),
        100
    );
}

#[test]
fn a_pid_that_changed_hands_is_told_apart() {
    let mut fake = Fake::start(&[]);
    let process = Process::look_up(fake.pid()).unwrap();
    fake.kill();
    fake.reap();
    assert!(matches!(cupti::open(process), Err(AttachError::Reused { .. })), "the pid is free");

    let fake = Fake::start(&[]);
    let mut before = Process::look_up(fake.pid()).unwrap();
    // As if another process had had the pid when it was looked up.
    before.start_time_ticks -= 1;
    assert!(matches!(cupti::open(before), Err(AttachError::Reused { .. })), "the pid is another's");
}

#[test]
fn a_process_of_another_user() {
    if !super::rig::is_root() {
        println!("skipped: not root, so no agent of another user can be started");
        return;
    }
    let fake = Fake::start(&[]);
    let setpriv = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(env!("CARGO_BIN_EXE_gpu-agent"))
        .args(["attach", "--listen", "off", "--pid", &fake.pid().to_string()])
        .output();
    let Ok(output) = setpriv else {
        println!("skipped: setpriv (util-linux) is not installed");
        return;
    };
    let text = stderr(&output);
    if text.contains("setpriv: failed to execute") {
        println!("skipped: the agent's program lies where another user cannot reach it");
        return;
    }
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("belongs to user 0") && text.contains("CAP_SYS_PTRACE"), "{text}");
}

#[test]
fn the_program_says_why_and_exits_with_2() {
    let output = agent(&["attach", "--pid", "0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("gpu-agent: there is no process with pid 0"), "{}", stderr(&output));
}
