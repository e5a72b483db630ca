//! Processes in namespaces of their own, with nothing of the agent's in sight.

use std::process::Command;

use gpu_agent::inject::Error;

use super::rig::{Busy, program};

/// Runs `script` with the program as `$0` in new namespaces, as unshare(1) names them; the program is what it execs.
fn in_namespaces(flags: &[&str], script: &str) -> Option<Busy> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root, to make namespaces");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(flags).args(["--fork", "sh", "-c", script]).arg(program());
    Some(Busy::below(&mut command))
}

fn is_entered(flags: &[&str], script: &str) {
    let Some(busy) = in_namespaces(flags, script) else { return };
    busy.inject().unwrap_or_else(|error| panic!("{flags:?} {script}: {error}"));
    let noticed = busy.end();
    assert_eq!((noticed.injections, noticed.interrupted), (1, 0), "{flags:?}");
}

#[test]
fn other_mount_pid_network_ipc_and_host_name_namespaces_make_no_difference() {
    is_entered(&["--mount", "--pid", "--net", "--ipc", "--uts", "--mount-proc"], "exec \"$0\" read");
}

#[test]
fn another_user_namespace_makes_no_difference() {
    is_entered(
        &["--user", "--map-root-user", "--mount", "--pid", "--net", "--mount-proc"],
        "exec \"$0\" read",
    );
}

#[test]
fn another_control_group_namespace_makes_no_difference() {
    is_entered(&["--cgroup", "--mount", "--pid", "--mount-proc"], "exec \"$0\" read");
}

#[test]
fn neither_a_writable_file_system_nor_a_tmp_is_needed() {
    let script = "cp \"$0\" /dev/shm/busy.$$ && exec 5</dev/shm/busy.$$ && rm /dev/shm/busy.$$ && \
        mount -t tmpfs -o ro,size=4k none /tmp && mount -o remount,ro,bind / && exec /proc/self/fd/5 read";
    is_entered(&["--mount", "--pid", "--net", "--mount-proc"], script);
}

#[test]
fn another_user_makes_no_difference() {
    let script = "chmod 755 \"$(dirname \"$0\")\" && exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$0\" read";
    is_entered(&["--mount", "--pid", "--mount-proc"], script);
}

#[test]
fn without_proc_the_dynamic_linker_finds_nothing_and_says_so() {
    let Some(busy) = in_namespaces(&["--mount", "--pid"], "mount -t tmpfs none /proc && exec \"$0\" read")
    else {
        return;
    };
    let descriptors = busy.descriptors();
    let error = busy.refusal();
    assert!(matches!(&error, Error::Linker { message, .. } if message.contains("/proc/self/fd/")), "{error}");
    assert_eq!(busy.descriptors(), descriptors);
    assert_eq!(busy.end().injections, 0);
}
