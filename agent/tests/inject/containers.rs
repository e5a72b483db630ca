//! Processes in real containers, made by runc from local files: a read-only root with nothing in it but the program.

use std::path::{Path, PathBuf};
use std::process::Command;

use gpu_agent::event::Pid;
use serde_json::{Value, json};

use super::rig::{Busy, program};

/// A part of what Docker's profile allows; everything else fails with EPERM.
const ALLOWED: &str = "
    accept access arch_prctl brk capget capset chdir clock_gettime clock_nanosleep clone clone3 close dup2 dup3
    epoll_create1 epoll_ctl epoll_pwait epoll_wait execve exit exit_group fchdir fchown fcntl fstat fstatfs
    ftruncate futex getcwd getdents64 getgid getpid getppid getrandom gettid getuid ioctl keyctl lseek madvise
    memfd_create mmap mount mprotect munmap nanosleep newfstatat open openat pipe pipe2 poll ppoll prctl pread64
    prlimit64 read readlinkat rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield
    set_robust_list set_tid_address setgid setgroups sethostname setsid setuid sigaltstack stat statx tgkill
    umask uname unlinkat wait4 write writev";

/// A container; removed when dropped.
struct Container {
    folder: tempfile::TempDir,
    name: String,
}

impl Container {
    /// `None` where there is no runc, or no right to use it.
    fn new(name: &str, change: impl FnOnce(&mut Value)) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root, to make a container");
            return None;
        }
        if Command::new("runc").arg("--version").output().is_err() {
            println!("skipped: runc is not installed (apt-get install runc)");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("rootfs");
        for file in std::iter::once(program()).chain(libraries()) {
            let inside = if file == program() {
                PathBuf::from("busy")
            } else {
                file.strip_prefix("/").unwrap().into()
            };
            let target = root.join(inside);
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::copy(&file, target).unwrap();
        }
        let container = Self { folder, name: format!("gpu-agent-test-{}-{name}", std::process::id()) };
        let made = container.runc().args(["spec", "--bundle"]).arg(container.folder.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let path = container.folder.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["/busy", "read", "nanosleep"]);
        config["root"]["readonly"] = json!(true);
        // The limits of the test itself; no control group of its own, which not every host lets one have.
        config["linux"].as_object_mut().unwrap().remove("resources");
        config["process"].as_object_mut().unwrap().remove("rlimits");
        change(&mut config);
        std::fs::write(&path, config.to_string()).unwrap();
        Some(container)
    }

    fn runc(&self) -> Command {
        let mut command = Command::new("runc");
        command.arg("--root").arg(self.folder.path().join("state"));
        command
    }

    fn start(&self) -> Busy {
        let mut command = self.runc();
        command.args(["run", "--bundle"]).arg(self.folder.path()).arg(&self.name);
        let busy = Busy::from(&mut command);
        let state = self.runc().args(["state", &self.name]).output().unwrap();
        let state: Value = serde_json::from_slice(&state.stdout).unwrap();
        busy.known_as(Pid(state["pid"].as_u64().unwrap().try_into().unwrap()))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Where it has ended and gone there is nothing to delete.
        let _ = self.runc().args(["delete", "--force", &self.name]).output();
    }
}

/// What the program needs, as the dynamic linker lists it.
fn libraries() -> Vec<PathBuf> {
    let listed = Command::new("ldd").arg(program()).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let paths = listed.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    // The library that is loaded comes as a memory file, but what it asks for must be there.
    paths.map(|path| Path::new(path).to_path_buf()).collect()
}

fn is_entered(container: &Container) {
    let busy = container.start();
    busy.inject().unwrap_or_else(|error| panic!("{error}"));
    let noticed = busy.end();
    assert_eq!((noticed.injections, noticed.interrupted), (1, 0), "{noticed:?}");
}

#[test]
fn a_container_with_a_read_only_root_and_no_tmp_is_entered() {
    let Some(container) = Container::new("plain", |_| {}) else { return };
    is_entered(&container);
}

#[test]
fn a_container_of_another_user_without_capabilities_is_entered() {
    let change = |config: &mut Value| {
        config["process"]["user"] = json!({ "uid": 65_534, "gid": 65_534 });
        config["process"]["capabilities"] = json!({});
        config["process"]["noNewPrivileges"] = json!(true);
    };
    let Some(container) = Container::new("user", change) else { return };
    is_entered(&container);
}

#[test]
fn a_container_with_a_seccomp_profile_of_the_usual_sort_is_entered() {
    let change = |config: &mut Value| {
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
            "syscalls": [{ "names": ALLOWED.split_whitespace().collect::<Vec<_>>(), "action": "SCMP_ACT_ALLOW" }],
        });
    };
    let Some(container) = Container::new("seccomp", change) else { return };
    is_entered(&container);
}
