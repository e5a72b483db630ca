//! Processes that are left alone, each for a reason that has a name.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use gpu_agent::event::Pid;
use gpu_agent::identity::Process;
use gpu_agent::inject::door::{Door, Linux, Stop, Tid};
use gpu_agent::inject::{self, Error, Options, Refusal};
use rustix::process::Signal;

use super::rig::{Busy, library, program, static_program};

fn refused(error: Error) -> Refusal {
    match error {
        Error::Refused { refusal, .. } => refusal,
        other => panic!("{other}"),
    }
}

#[test]
fn a_process_under_a_debugger_is_left_to_it() {
    let busy = Busy::start(&[]);
    let tid = Tid(busy.pid().0);
    Linux.seize(tid).unwrap();
    let error = busy.refusal();
    assert!(error.may_pass());
    assert_eq!(
        refused(error),
        Refusal::Traced { tracer: rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned() }
    );
    Linux.interrupt(tid).unwrap();
    while Linux.stopped(tid).unwrap() != Some(Stop::Interrupted) {}
    Linux.detach(tid).unwrap();
    busy.inject().unwrap();
    assert_eq!(busy.end().injections, 1);
}

#[test]
fn a_stopped_process_stays_stopped_and_untouched() {
    let busy = Busy::start(&[]);
    let pid = rustix::process::Pid::from_raw(busy.pid().0.cast_signed()).unwrap();
    rustix::process::kill_process(pid, Signal::STOP).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(refused(busy.refusal()), Refusal::Stopped);
    let status = std::fs::read_to_string(format!("/proc/{}/status", busy.pid())).unwrap();
    assert!(status.contains("State:\tT"), "{status}");
    rustix::process::kill_process(pid, Signal::CONT).unwrap();
    busy.inject().unwrap();
    assert_eq!(busy.end().injections, 1);
}

#[test]
fn a_static_program_has_no_dynamic_linker_to_ask() {
    let busy = Busy::from(&mut Command::new(static_program()));
    assert_eq!(refused(busy.refusal()), Refusal::Static);
    busy.end();
}

#[test]
fn a_process_whose_environment_switches_the_shim_off_is_left_alone() {
    let busy = Busy::from(Command::new(program()).env("GPU_AGENT_SHIM", "off"));
    assert_eq!(refused(busy.refusal()), Refusal::SwitchedOff);
    busy.end();
}

#[test]
fn a_seccomp_filter_that_stands_in_the_way_is_read_before_it_is_met() {
    let busy = Busy::start(&["memfd-fails"]);
    assert_eq!(refused(busy.refusal()), Refusal::Seccomp { call: "memfd_create", kills: false });
    busy.end();
    let busy = Busy::start(&["mprotect-kills"]);
    assert_eq!(refused(busy.refusal()), Refusal::Seccomp { call: "mprotect", kills: true });
    busy.end();
    let busy = Busy::start(&["reboot-kills"]);
    busy.inject().unwrap();
    assert_eq!(busy.end().injections, 1);
}

#[test]
fn a_process_that_never_rests_is_given_up_after_the_time_that_was_said() {
    let mut spinning =
        Command::new("sh").args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let process = Process::look_up(Pid(spinning.id())).unwrap();
    let options = Options { timeout: Duration::from_millis(300), force: false };
    let error = inject::inject(&process, &library(), options).unwrap_err();
    assert!(matches!(error, Error::NoThreadAtRest { .. }), "{error}");
    assert!(spinning.try_wait().unwrap().is_none());
    spinning.kill().unwrap();
    spinning.wait().unwrap();
}

#[test]
fn a_library_that_cannot_be_loaded_is_told_in_the_words_of_the_dynamic_linker() {
    let busy = Busy::start(&[]);
    let process = Process::look_up(busy.pid()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.so");
    std::fs::write(&broken, b"no library").unwrap();
    let before = busy.descriptors();
    let error = inject::inject(&process, &broken, Options::default()).unwrap_err();
    assert!(
        error.to_string().contains("invalid ELF header") || error.to_string().contains("too short"),
        "{error}"
    );
    assert_eq!(busy.descriptors(), before);
    busy.inject().unwrap();
    assert_eq!(busy.end().injections, 1);
}

#[test]
fn another_users_process_is_refused_without_the_capability() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root, to be another user");
        return;
    }
    let busy = Busy::start(&[]);
    let agent = Command::new(super::rig::example("inject_until"))
        .args([busy.pid().to_string(), library().display().to_string(), "fail".to_owned(), "0".to_owned()])
        .uid(65_534)
        .output();
    match agent {
        // The folder of the build may be closed to that user.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            println!("skipped: another user may not run programs from here");
        }
        agent => {
            let agent = agent.unwrap();
            let said = String::from_utf8_lossy(&agent.stderr);
            assert!(!agent.status.success() && !said.is_empty(), "{said}");
        }
    }
    assert_eq!(busy.end().injections, 0);
}
