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

/// No process of the namespace may execute a memory file.
const NO_MEMORY_FILES: &str = "echo 2 >/proc/sys/vm/memfd_noexec";

#[test]
fn where_memory_files_may_not_be_executed_a_file_comes_that_has_no_name_afterwards() {
    if !std::path::Path::new("/proc/sys/vm/memfd_noexec").exists() {
        println!("skipped: vm.memfd_noexec came with Linux 6.3");
        return;
    }
    let script = format!("{NO_MEMORY_FILES} && exec \"$0\" read");
    is_entered(&["--pid", "--mount", "--mount-proc"], &script);
    let Some(busy) = in_namespaces(&["--pid", "--mount", "--mount-proc"], &script) else { return };
    let folders = ["/tmp", "/dev/shm", "/var/tmp", "/run"];
    busy.inject().unwrap();
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", busy.pid())).unwrap();
    let mapped: Vec<_> = maps.lines().filter(|line| line.contains("libgpu_agent_cupti")).collect();
    assert!(!mapped.is_empty() && mapped.iter().all(|line| line.ends_with(" (deleted)")), "{mapped:?}");
    for folder in folders {
        let Ok(entries) = std::fs::read_dir(format!("/proc/{}/root{folder}", busy.pid())) else { continue };
        let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        assert!(names.iter().all(|name| !name.to_string_lossy().contains("libgpu_agent")), "{names:?}");
    }
    assert_eq!(busy.end().injections, 1);
}

#[test]
fn without_memory_files_and_without_a_folder_each_reason_is_named() {
    if !std::path::Path::new("/proc/sys/vm/memfd_noexec").exists() {
        println!("skipped: vm.memfd_noexec came with Linux 6.3");
        return;
    }
    let script = format!(
        "{NO_MEMORY_FILES} && exec 5<\"$0\" && mount -t tmpfs -o noexec none /tmp && mount -t tmpfs -o ro none /dev/shm && \
         mount -t tmpfs -o ro none /var/tmp && mount -t tmpfs -o ro none /run && exec /proc/self/fd/5 read"
    );
    let Some(busy) = in_namespaces(&["--pid", "--mount", "--mount-proc"], &script) else { return };
    let error = busy.refusal().to_string();
    assert!(error.contains("/tmp: mounted noexec") && error.contains("/run: Read-only"), "{error}");
    assert_eq!(busy.end().injections, 0);
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
