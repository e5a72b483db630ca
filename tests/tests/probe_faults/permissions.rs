//! Agents that may not do everything.
//!
//! Enters: users and capabilities. Leaves: nothing. Refuses: words that do not name what is missing and how to grant it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use gpu_agent_tests::process::Running;
use gpu_agent_tests::{json_log, programs};
use tempfile::TempDir;

use super::rig::{self, CLIMB, Program};

/// What an agent in a folder that everybody may read said, and how many calls it saw.
struct Said {
    words: String,
    calls: usize,
}

/// A copy of the agent and a specification, for any user to use.
fn installed() -> TempDir {
    let folder = rig::folder_of(CLIMB);
    fs::copy(programs::program("gpu-agent"), folder.path().join("gpu-agent")).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    folder
}

/// Attaches to a target that works, after `setpriv` with these options.
fn attach_with(options: &[&str]) -> Said {
    let (folder, program) = (installed(), Program::of("jumping.c"));
    let mut target = program.start();
    let log = folder.path().join("log");
    let mut command = Command::new("setpriv");
    command.args(options).arg(folder.path().join("gpu-agent"));
    command.args(["attach", "--listen", "off", "--probe-cache", "off", "--log-filter", "trace"]);
    command.args(["--duration", "2s", "--pid", &target.pid().to_string(), "--probes"]).arg(folder.path());
    let mut agent = Running::start(command.arg("--json-log").arg(&log));
    while !agent.has_ended() {
        target.round();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    target.end();
    let log = json_log::lines(&fs::read_to_string(log).unwrap_or_default());
    let calls = log.iter().filter(|line| line["target"] == "op" && line["probe"] == "climb").count();
    Said { words: agent.finish().stderr, calls }
}

#[test]
fn the_four_capabilities_that_are_documented_suffice() {
    if rig::prober().is_none() {
        return;
    }
    let said = attach_with(&["--bounding-set=-all,+bpf,+perfmon,+sys_ptrace,+checkpoint_restore"]);
    assert!(said.calls > 0, "{}", said.words);
    assert!(!said.words.contains("CAP_"), "{}", said.words);
}

#[test]
fn a_capability_that_is_missing_is_named_with_how_to_grant_it() {
    if rig::prober().is_none() {
        return;
    }
    for (left, missing) in [
        ("+perfmon,+sys_ptrace,+checkpoint_restore", "CAP_BPF"),
        ("+bpf,+sys_ptrace,+checkpoint_restore", "CAP_PERFMON"),
        ("+bpf,+perfmon,+checkpoint_restore", "CAP_SYS_PTRACE"),
    ] {
        let said = attach_with(&[&format!("--bounding-set=-all,{left}")]);
        assert_eq!(said.calls, 0, "without {missing}");
        assert!(said.words.contains(missing), "{missing}: {}", said.words);
        assert!(said.words.contains("run the agent as root"), "{missing}: {}", said.words);
    }
}

#[test]
fn a_user_without_any_capability_is_told_which_to_grant() {
    if rig::prober().is_none() {
        return;
    }
    let said = attach_with(&["--reuid=65534", "--regid=65534", "--clear-groups"]);
    assert_eq!(said.calls, 0);
    for named in ["CAP_BPF", "CAP_PERFMON", "setcap"] {
        assert!(said.words.contains(named), "{named}: {}", said.words);
    }
}
