//! Processes that have used up what they may have.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use gpu_agent::inject::Error;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::rig::{Busy, program};

fn limit(busy: &Busy, resource: Resource, value: u64) -> Rlimit {
    let pid = Pid::from_raw(busy.pid().0.cast_signed()).unwrap();
    // The upper limit, which the process has inherited from this one, stays: to raise it again takes CAP_SYS_RESOURCE.
    let maximum = rustix::process::getrlimit(resource).maximum;
    let current = Some(maximum.map_or(value, |maximum| value.min(maximum)));
    prlimit(Some(pid), resource, Rlimit { current, maximum }).unwrap()
}

fn call(error: &Error) -> (&'static str, Option<i32>) {
    match error {
        Error::Call { call, source, .. } => (call, source.raw_os_error()),
        other => panic!("{other}"),
    }
}

#[test]
fn a_process_without_a_free_descriptor_is_told_to_have_more() {
    let busy = Busy::start(&[]);
    let before = limit(&busy, Resource::Nofile, 3);
    let error = busy.refusal();
    assert_eq!(call(&error), ("make a memory file (memfd_create)", Some(libc::EMFILE)));
    assert!(error.to_string().contains("RLIMIT_NOFILE"), "{error}");
    limit(&busy, Resource::Nofile, before.current.unwrap_or(1024));
    busy.inject().unwrap();
    assert_eq!(busy.end().injections, 1);
}

#[test]
fn a_process_without_memory_keeps_neither_descriptor_nor_mapping() {
    let busy = Busy::start(&[]);
    let descriptors = busy.descriptors();
    limit(&busy, Resource::As, 4096);
    let error = busy.refusal();
    assert_eq!(call(&error), ("map memory (mmap)", Some(libc::ENOMEM)));
    assert!(error.to_string().contains("RLIMIT_AS"), "{error}");
    assert_eq!(busy.descriptors(), descriptors);
    assert!(busy.memory_files().is_empty());
    limit(&busy, Resource::As, 1 << 40);
    busy.inject().unwrap();
    assert_eq!(busy.end().injections, 1);
}

#[test]
fn a_process_without_room_for_a_thread_is_told_so() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root, to start a process as another user");
        return;
    }
    // As a user that has no other process: its limit counts all of that user's.
    let folder = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    let copy = folder.path().join("busy");
    std::fs::copy(program(), &copy).unwrap();
    let other_user = ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"];
    let busy = Busy::from(Command::new("prlimit").arg("--nproc=1:").args(other_user).arg(&copy));
    let descriptors = busy.descriptors();
    let error = busy.refusal();
    assert_eq!(call(&error), ("make a thread (pthread_create)", Some(libc::EAGAIN)));
    assert!(error.to_string().contains("RLIMIT_NPROC"), "{error}");
    assert_eq!(busy.descriptors(), descriptors);
    assert!(busy.memory_files().is_empty());
    assert_eq!(busy.end().injections, 0);
}
