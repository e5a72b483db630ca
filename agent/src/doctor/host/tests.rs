//! Hosts that are made up of files.

use super::*;
use crate::doctor::Verdict;

const ALL: Capabilities = Capabilities {
    sys_ptrace: true,
    dac_read_search: true,
    sys_admin: true,
    map_files: true,
    bpf: true,
    perfmon: true,
};

/// What the line about `topic` says on a host with these files.
fn verdict(topic: &str, capabilities: Capabilities, files: &[(&str, &str)]) -> (Verdict, String) {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let report = Host { root: folder.path().to_path_buf(), capabilities }.report();
    let line = report.lines.into_iter().find(|line| line.topic == topic).unwrap();
    assert!(line.verdict == Verdict::Ok || !line.fix.is_empty(), "{line:?} says what to do");
    (line.verdict, line.reason)
}

#[test]
fn each_setting_of_linux_has_its_verdict() {
    let table = [
        ("kernel", "proc/sys/kernel/osrelease", "6.8.0-45-generic\n", Verdict::Ok),
        ("kernel", "proc/sys/kernel/osrelease", "5.15.0-1\n", Verdict::Degraded),
        ("kernel", "proc/sys/kernel/osrelease", "4.18.0-553.el8\n", Verdict::No),
        ("lockdown", "sys/kernel/security/lockdown", "none integrity [confidentiality]\n", Verdict::No),
        ("lockdown", "sys/kernel/security/lockdown", "none [integrity] confidentiality\n", Verdict::Ok),
        ("yama", "proc/sys/kernel/yama/ptrace_scope", "1\n", Verdict::Ok),
        ("yama", "proc/sys/kernel/yama/ptrace_scope", "3\n", Verdict::No),
        ("memfd_noexec", "proc/sys/vm/memfd_noexec", "2\n", Verdict::Degraded),
        ("memfd_noexec", "proc/sys/vm/memfd_noexec", "1\n", Verdict::Ok),
        ("seccomp", "proc/self/status", "Name:\tx\nSeccomp:\t2\n", Verdict::Degraded),
        ("SELinux", "sys/fs/selinux/enforce", "1", Verdict::Degraded),
        ("driver", "sys/module/nvidia/version", "580.65.06\n", Verdict::Ok),
        ("driver", "nothing", "", Verdict::No),
        ("NVML", "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1", "", Verdict::Ok),
        ("NVML", "nothing", "", Verdict::Degraded),
        ("CUPTI", "usr/local/cuda-12.4/extras/CUPTI/lib64/libcupti.so.12", "", Verdict::Ok),
        ("CUPTI", "nothing", "", Verdict::Degraded),
    ];
    for (topic, path, text, expected) in table {
        let (found, reason) = verdict(topic, ALL, &[(path, text)]);
        assert_eq!(found, expected, "{topic} with {path} {text:?}: {reason}");
    }
}

#[test]
fn a_profile_of_apparmor_confines_only_where_apparmor_is_on() {
    let enabled = ("sys/module/apparmor/parameters/enabled", "Y\n");
    let confined = ("proc/self/attr/current", "docker-default (enforce)\n");
    assert_eq!(verdict("AppArmor", ALL, &[enabled, confined]).0, Verdict::Degraded);
    assert_eq!(
        verdict("AppArmor", ALL, &[enabled, ("proc/self/attr/current", "unconfined\0")]).0,
        Verdict::Ok
    );
    assert_eq!(verdict("AppArmor", ALL, &[confined]).0, Verdict::Ok);
}

#[test]
fn what_this_agent_lacks_is_named() {
    let none = Capabilities::default();
    assert!(verdict("attach", none, &[]).1.contains("CAP_SYS_PTRACE"));
    assert!(verdict("attach", none, &[]).1.contains("its own user"));
    assert!(verdict("loading", none, &[]).1.contains("CAP_DAC_READ_SEARCH"));
    assert!(verdict("loading", Capabilities { sys_admin: false, ..ALL }, &[]).1.contains("seccomp"));
    assert!(verdict("probes", none, &[]).1.contains("CAP_BPF"));
    assert_eq!(verdict("yama", none, &[("proc/sys/kernel/yama/ptrace_scope", "1")]).0, Verdict::No);
    assert_eq!(verdict("attach", ALL, &[]).0, Verdict::Ok);
    let (found, reason) = verdict("attach", Capabilities { map_files: false, ..ALL }, &[]);
    assert_eq!(found, Verdict::Degraded);
    assert!(reason.contains("CAP_CHECKPOINT_RESTORE") && !reason.contains("own user"), "{reason}");
}

#[test]
fn each_topic_has_one_line_in_an_order_that_does_not_change() {
    let report = Host { root: "/nonexistent".into(), capabilities: ALL }.report();
    let topics: Vec<&str> = report.lines.iter().map(|line| line.topic).collect();
    assert_eq!(
        topics,
        [
            "kernel",
            "BTF",
            "attach",
            "loading",
            "probes",
            "lockdown",
            "yama",
            "seccomp",
            "memfd_noexec",
            "SELinux",
            "AppArmor",
            "driver",
            "CUPTI",
            "NVML"
        ]
    );
}
