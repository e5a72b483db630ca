//! Processes that are left alone, each for a reason that has a name.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
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
fn a_filter_that_only_the_borrowed_thread_has_is_read_too() {
    let busy = Busy::start(&["restless", "filtered"]);
    assert_eq!(refused(busy.refusal()), Refusal::Seccomp { call: "memfd_create", kills: true });
    busy.end();
}

#[test]
fn nothing_is_written_into_a_file_of_the_program_that_has_the_number_of_ours() {
    let busy = Busy::start(&["restless", "files"]);
    let error = busy.refusal().to_string();
    assert!(error.contains("another file has its descriptor's number"), "{error}");
    assert_eq!(busy.end().injections, 0);
}

#[test]
fn a_thread_in_a_handler_is_not_borrowed() {
    let busy = Busy::start(&["restless", "handler"]);
    let error = busy.refusal();
    assert!(matches!(error, Error::NoThreadAtRest { .. }), "{error}");
    busy.end();
}

#[test]
fn a_process_that_never_rests_is_given_up_after_the_time_that_was_said() {
    let mut spinning =
        Command::new("sh").args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let process = Process::look_up(Pid(spinning.id())).unwrap();
    let options = Options { timeout: Duration::from_millis(300), ..Options::default() };
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

/// An agent of another user than root, with these capabilities alone.
fn agent_with(capabilities: &str, busy: &Busy) -> Option<Output> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root, to be another user");
        return None;
    }
    // The folder of the build may be closed to that user.
    let folder = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    let [program, library] = [super::rig::example("inject_until"), library()].map(|file| {
        let copy = folder.path().join(file.file_name().unwrap());
        std::fs::copy(file, &copy).unwrap();
        std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
        copy
    });
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set"]);
    command.arg(format!("-all{capabilities}"));
    command.args([
        "--inh-caps",
        &format!("-all{capabilities}"),
        "--ambient-caps",
        &format!("-all{capabilities}"),
    ]);
    command.arg(program).arg(busy.pid().to_string()).arg(library).args(["fail", "0"]);
    Some(command.output().unwrap())
}

#[test]
fn another_users_process_is_refused_without_capabilities_and_entered_with_two_of_them_alone() {
    let busy = Busy::start(&["read"]);
    let Some(without) = agent_with("", &busy) else { return };
    let said = String::from_utf8_lossy(&without.stderr);
    assert!(!without.status.success() && said.contains("CAP_SYS_PTRACE"), "{said}");
    let with = agent_with(",+sys_ptrace,+dac_read_search", &busy).unwrap();
    assert!(with.status.success(), "{}", String::from_utf8_lossy(&with.stderr));
    assert_eq!(busy.end().injections, 1);
}
