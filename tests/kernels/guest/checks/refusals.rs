//! What a Linux may withhold.
//!
//! Enters: this program again, with less. Leaves: what it says. Refuses: an answer that names no remedy.

use std::error::Error;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use gpu_agent_tests::probed::prober::Prober;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::counting;

/// The user nobody.
const NOBODY: u32 = 65534;

/// An error and its causes, on one line.
pub(super) fn in_full(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", in_full(cause)),
        None => error.to_string(),
    }
}

/// What this program does as the user nobody: says why it cannot load the probes.
pub(crate) fn load_and_say() {
    match Prober::load() {
        Ok(_) => println!("loaded"),
        Err(why) => println!("{}", in_full(&why)),
    }
}

/// As a user without any capability.
pub(super) fn unprivileged() -> String {
    let own = std::env::current_exe().expect("a path");
    let output = Command::new(own).arg("load").uid(NOBODY).gid(NOBODY).output().expect("this program");
    let words = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(output.status.success(), "{words} {}", String::from_utf8_lossy(&output.stderr));
    for named in ["CAP_BPF", "CAP_PERFMON", "setcap"] {
        assert!(words.contains(named), "{named} is not named: {words}");
    }
    words
}

/// Linux without CONFIG_DEBUG_INFO_BTF has no file with its types.
pub(super) fn without_btf() -> String {
    const TYPES: &str = "/sys/kernel/btf";
    assert!(Path::new(TYPES).join("vmlinux").exists(), "this Linux has none in any case");
    mount("tmpfs", TYPES, "tmpfs", MountFlags::empty(), None).expect("a mount");
    let seen = std::panic::catch_unwind(counting::only_of_targets);
    unmount(TYPES, UnmountFlags::empty()).expect("what was mounted");
    seen.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
