//! Targets in namespaces of their own, as in containers.

use std::process::Command;

use gpu_agent::event::Pid;
use gpu_agent::pipeline::State;
use gpu_agent::source::cupti;

use super::rig::{Fake, example, is_root, pipeline, wait_for};

#[test]
fn a_target_in_other_mount_pid_and_network_namespaces_is_attached_to() {
    if !is_root() {
        println!("skipped: not root, so no namespaces can be made");
        return;
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--mount-proc", "--kill-child"]);
    let works = Command::new("unshare").args(["--mount", "--pid", "--fork", "--mount-proc", "true"]).status();
    if !works.is_ok_and(|status| status.success()) {
        println!("skipped: unshare is missing, or not allowed here");
        return;
    }
    let mut fake = Fake::from(unshare.arg(example("fake_target")));
    // `unshare` waits outside; the target is its only child.
    let parent = fake.pid();
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    let pid = Pid(children.trim().parse().unwrap());
    let pipeline = pipeline();
    pipeline.attach(cupti::find(pid).unwrap(), false).unwrap();
    wait_for(pipeline.shared(), |target| target.state == State::Armed);
    fake.order("push 40 gemm_f16");
    wait_for(pipeline.shared(), |target| target.hops.decoded == 40);
    fake.end();
    wait_for(pipeline.shared(), |target| target.state == State::Ended);
}
