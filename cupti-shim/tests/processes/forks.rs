//! Children by fork, and new programs by exec.

use gpu_agent_ring::control::ShimState;
use gpu_agent_ring::layout::kinds;
use gpu_agent_ring::record::Kernel;

use crate::target::{Setup, assert_kernels};

#[test]
fn a_child_made_before_cuda_gets_its_own_ring_and_the_parent_another() {
    let mut target = Setup::new("").with("GPU_AGENT_ARM", "kernels").start();
    target.tell("fork init;launch 33;sync");
    let mut child = target.ring();
    assert_ne!(child.reader.writer().pid, target.pid());
    child.read();
    assert_kernels(&child, 33);
    assert_eq!(child.control.report().state, Some(ShimState::Finished));

    target.tell("init");
    let mut parent = target.ring();
    assert_eq!(parent.reader.writer().pid, target.pid());
    assert_ne!(parent.reader.writer().ring_id, child.reader.writer().ring_id);
    target.tell("launch 44");
    target.tell("sync");
    parent.read_until::<Kernel>(44);
    assert_kernels(&parent, 44);
    target.end_well();
}

#[test]
fn a_child_of_an_armed_process_neither_writes_nor_disturbs() {
    let mut target = Setup::new("").start();
    target.tell("init");
    let mut ring = target.ring();
    ring.arm(kinds::KERNEL);
    target.tell("launch 100");
    for _ in 0..20 {
        target.tell("fork getenv HOME");
    }
    target.tell("launch 100");
    target.tell("sync");
    assert_eq!(ring.control.report().state, Some(ShimState::Armed));
    ring.disarm();
    assert_kernels(&ring, 200);
    assert!(target.has_announced().is_none());
    target.end_well();
}

#[test]
fn a_child_that_the_c_library_does_not_know_of_ends_well() {
    let mut target = Setup::new("").start();
    target.tell("init");
    let mut ring = target.ring();
    ring.arm(kinds::KERNEL);
    target.tell("launch 10");
    // Without the handlers of fork: the shim learns nothing of this child before it exits.
    target.tell("clone getenv HOME");
    target.tell("sync");
    assert_eq!(ring.control.report().state, Some(ShimState::Armed));
    ring.disarm();
    assert_kernels(&ring, 10);
    target.end_well();
}

#[test]
fn a_child_holds_nothing_of_its_parents_ring() {
    let mut target = Setup::new("").start();
    target.tell("init");
    let ring = target.ring();
    ring.arm(kinds::KERNEL);
    target.send("fork sleep 400");
    let child = crate::target::wait_for("the child", || {
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", target.pid())).unwrap();
        children.split_ascii_whitespace().next().map(str::to_owned)
    });
    let maps = std::fs::read_to_string(format!("/proc/{child}/maps")).unwrap();
    assert!(!maps.contains("memfd:gpu-agent"), "{maps}");
    let holds_files = || {
        std::fs::read_dir(format!("/proc/{child}/fd"))
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .any(|path| path.to_string_lossy().contains("gpu-agent"))
    };
    // The child is seen before its handlers have run.
    crate::target::wait_for("the child's descriptors to be closed", || (!holds_files()).then_some(()));
    let threads = std::fs::read_dir(format!("/proc/{child}/task")).unwrap().count();
    assert_eq!(threads, 1);
    target.answer("fork");
    target.end_well();
}

#[test]
fn a_child_keeps_a_file_that_took_the_number_of_the_rings() {
    let mut target = Setup::new("").start();
    target.tell("init");
    let ring = target.ring();
    target.tell("reopen /dev/null");
    target.tell("fork check /dev/null");
    // The mappings, not the descriptors, are what counts.
    ring.arm(kinds::KERNEL);
    target.end_well();
}

#[test]
fn a_new_program_gets_a_new_ring_and_the_old_one_stays_readable() {
    let mut target = Setup::new("").with("GPU_AGENT_ARM", "kernels").start();
    target.tell("init");
    let mut before = target.ring();
    target.tell("launch 21");
    target.tell("sync");
    before.read_until::<Kernel>(21);
    target.tell("exec");
    target.tell("init");
    let mut after = target.ring();
    assert_eq!(after.reader.writer().pid, target.pid());
    assert_ne!(after.reader.writer().ring_id, before.reader.writer().ring_id);
    target.tell("launch 22");
    target.tell("sync");
    after.read_until::<Kernel>(22);
    before.read();
    assert_kernels(&before, 21);
    assert_kernels(&after, 22);
    target.end_well();
}
