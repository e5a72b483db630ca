//! Which process a pid means: its start time, executable, user, container, and its pid in its own namespace.
//!
//! Enters: pids and `/proc`. Leaves: small facts. Refuses: command lines and environments; they hold secrets.
//!
//! A pid alone names no process for long: it is given out again. [`Process`] carries the start time along, and a
//! pidfd that stands for this very process until it has ended.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{PidfdFlags, pidfd_open};
use rustix::time::Timespec;

use crate::event::Pid;

mod container;

/// Why a process cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is none with that pid.
    #[error(
        "there is no process with pid {0}; in a container, give the pid that `ps` shows in the agent's own pid namespace"
    )]
    NoSuchProcess(Pid),
    /// It has ended, and waits for its parent.
    #[error("the process with pid {0} has ended already")]
    Ended(Pid),
    /// `/proc` says no, or says something unexpected.
    #[error("cannot read {path}: {source}")]
    Proc {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    /// Pid in the agent's pid namespace.
    pub pid: Pid,
    /// Start time, clock ticks since boot.
    pub start_time_ticks: u64,
    /// Pid in the process's own pid namespace.
    pub inner_pid: u32,
    /// Effective user.
    pub uid: u32,
    /// File name of the executable.
    pub executable: Arc<str>,
    /// Container id, where the cgroup shows one.
    pub container: Option<Arc<str>>,
    /// `None`: it had ended before it could be looked at.
    pidfd: Option<OwnedFd>,
}

impl Process {
    /// Looks at the process that `pid` means now.
    pub fn look_up(pid: Pid) -> Result<Self, IdentityError> {
        let number = i32::try_from(pid.0).ok().and_then(rustix::process::Pid::from_raw);
        let number = number.ok_or(IdentityError::NoSuchProcess(pid))?;
        // First of all: from here on, whatever is read belongs to this process if the pidfd still says alive.
        let pidfd = pidfd_open(number, PidfdFlags::empty()).map_err(|error| match error {
            rustix::io::Errno::SRCH => IdentityError::NoSuchProcess(pid),
            // The pid of a thread that is no process (Linux before 6.9 says INVAL).
            rustix::io::Errno::INVAL | rustix::io::Errno::NOENT => IdentityError::NoSuchProcess(pid),
            error => IdentityError::Proc { path: format!("the pidfd of {pid}"), source: error.into() },
        })?;
        let status = read(pid, "status")?;
        if field(&status, "State:").is_some_and(|state| state.starts_with(['Z', 'X'])) {
            return Err(IdentityError::Ended(pid));
        }
        let last = |name| field(&status, name).and_then(|list| list.split_whitespace().last()?.parse().ok());
        let uid = field(&status, "Uid:").and_then(|list| list.split_whitespace().nth(1)?.parse().ok());
        Ok(Self {
            pid,
            start_time_ticks: start_time_ticks(pid)?,
            inner_pid: last("NSpid:").unwrap_or(pid.0),
            uid: uid.unwrap_or(u32::MAX),
            executable: executable(pid, &status),
            container: read(pid, "cgroup").ok().and_then(|cgroup| container::id(&cgroup)).map(Arc::from),
            pidfd: Some(pidfd),
        })
    }

    /// A process that has ended before it could be looked at, of which its ring is left.
    #[must_use]
    pub fn ended(pid: Pid, inner_pid: u32, start_time_ticks: u64, uid: u32) -> Self {
        let name = read(pid, "status").ok();
        let name = name.as_deref().and_then(|status| field(status, "Name:")).unwrap_or("unknown");
        Self {
            pid,
            start_time_ticks,
            inner_pid,
            uid,
            executable: Arc::from(name),
            container: None,
            pidfd: None,
        }
    }

    /// With the file name of its executable from elsewhere, such as its announcement, where there is one: `/proc` has
    /// none of a process that has ended, and a short one of a process that is ending.
    #[must_use]
    pub fn named(mut self, executable: &str) -> Self {
        if !executable.is_empty() {
            self.executable = without_mark(executable).into();
        }
        self
    }

    /// Which program it runs now; `None` where that may not be seen, or it has ended.
    #[must_use]
    pub fn program(&self) -> Option<Program> {
        program(&read(self.pid, "stat").ok()?)
    }

    /// Whether it has ended. A process that was replaced by `exec` has not.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let Some(pidfd) = &self.pidfd else { return true };
        let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&Timespec::default())), Ok(ready) if ready > 0)
    }

    /// Path of one of its files in `/proc`.
    #[must_use]
    pub fn path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.pid)
    }
}

/// Tells a process's program from one that `exec` puts in its place, even the same file's: each has a stack of its own, at a random
/// address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// Address of the bottom of the stack (`/proc/PID/stat`, field 28).
    start_stack: u64,
}

/// What everybody may see of a process without holding it up (`/proc/PID/stat` takes none of its locks): whether it is worth a
/// closer look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance {
    /// Its parent; 0 for none in this pid namespace.
    pub parent: Pid,
    /// When it started, clock ticks since boot.
    pub start_time_ticks: u64,
    /// Which program it runs; `None` where that may not be seen.
    pub program: Option<Program>,
    /// Size of its address space, in which every library that it loads takes a part; 0 for threads of Linux and the dead.
    pub address_space_bytes: u64,
}

impl Glance {
    /// At the process that `pid` means now.
    pub fn at(pid: Pid) -> Result<Self, IdentityError> {
        let stat = read(pid, "stat")?;
        Self::parse(&stat).ok_or_else(|| {
            let source = io::Error::new(io::ErrorKind::InvalidData, "not the fields of proc(5)");
            IdentityError::Proc { path: format!("/proc/{pid}/stat"), source }
        })
    }

    fn parse(stat: &str) -> Option<Self> {
        Some(Self {
            parent: Pid(u32::try_from(stat_field(stat, 4)?).ok()?),
            start_time_ticks: stat_field(stat, 22)?,
            program: program(stat),
            address_space_bytes: stat_field(stat, 23)?,
        })
    }
}

/// The start time of `pid`, clock ticks since boot (`/proc/PID/stat`, field 22).
pub fn start_time_ticks(pid: Pid) -> Result<u64, IdentityError> {
    let stat = read(pid, "stat")?;
    stat_field(&stat, 22).ok_or_else(|| {
        let source = io::Error::new(io::ErrorKind::InvalidData, "no start time in it");
        IdentityError::Proc { path: format!("/proc/{pid}/stat"), source }
    })
}

fn program(stat: &str) -> Option<Program> {
    let start_stack = stat_field(stat, 28).filter(|address| *address != 0)?;
    Some(Program { start_stack })
}

/// A field of `/proc/PID/stat` by its number in proc(5), from 3 on.
fn stat_field(stat: &str, number: usize) -> Option<u64> {
    // The second field is the name in parentheses, which may contain anything, parentheses too.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

/// File name of the executable; where that may not be read, the name of the process (15 bytes at most).
fn executable(pid: Pid, status: &str) -> Arc<str> {
    let link = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let name =
        link.as_deref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
    let name = name.as_deref().map(without_mark);
    Arc::from(name.unwrap_or_else(|| field(status, "Name:").unwrap_or("unknown")))
}

/// The name in a link of `/proc` whose target may be gone (proc(5)).
fn without_mark(name: &str) -> &str {
    name.strip_suffix(" (deleted)").unwrap_or(name)
}

fn read(pid: Pid, file: &str) -> Result<String, IdentityError> {
    let path = format!("/proc/{pid}/{file}");
    match fs::read(&path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(IdentityError::NoSuchProcess(pid)),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
            Err(IdentityError::Ended(pid))
        }
        Err(source) => Err(IdentityError::Proc { path, source }),
    }
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::{Glance, IdentityError, Process};
    use crate::event::Pid;

    #[test]
    fn a_glance_sees_what_a_closer_look_does() {
        let own = Pid(std::process::id());
        let glance = Glance::at(own).unwrap();
        let process = Process::look_up(own).unwrap();
        assert_eq!(glance.start_time_ticks, process.start_time_ticks);
        assert_eq!(glance.program, process.program());
        assert_eq!(glance.parent.0, std::os::unix::process::parent_id());
        assert!(glance.address_space_bytes > 1 << 20, "{glance:?}");
    }

    #[test]
    fn this_process_is_who_it_is() {
        let process = Process::look_up(Pid(std::process::id())).unwrap();
        assert!(process.executable.starts_with("gpu_agent"), "{}", process.executable);
        assert!(process.start_time_ticks > 0);
        assert_eq!(process.uid, rustix::process::geteuid().as_raw());
        assert!(!process.has_ended());
    }

    #[test]
    fn a_child_is_seen_to_end_and_a_zombie_is_no_process() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::look_up(Pid(child.id())).unwrap();
        assert_eq!(
            &*process.executable,
            std::fs::canonicalize("/bin/sleep").unwrap().file_name().unwrap().to_str().unwrap()
        );
        child.kill().unwrap();
        while !process.has_ended() {
            std::thread::yield_now();
        }
        assert!(matches!(Process::look_up(process.pid), Err(IdentityError::Ended(_))));
        child.wait().unwrap();
        assert!(matches!(Process::look_up(process.pid), Err(IdentityError::NoSuchProcess(_))));
    }

    #[test]
    fn a_program_is_told_from_the_same_one_run_anew() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "read line; exec sh -c 'read line'"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let process = Process::look_up(Pid(child.id())).unwrap();
        // None while its stack is being made.
        let before = std::iter::repeat_with(|| process.program()).find(Option::is_some).flatten();
        assert_eq!(process.program(), before);
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"\n").unwrap();
        while process.program() == before {
            std::thread::yield_now();
        }
        assert!(!process.has_ended());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(process.program(), None);
    }

    #[test]
    fn a_process_that_has_ended_has_the_name_of_its_announcement() {
        let ended = || Process::ended(Pid(0x3FFF_FFFF), 1, 1, 0);
        assert_eq!(&*ended().executable, "unknown");
        assert_eq!(&*ended().named("").executable, "unknown");
        assert_eq!(&*ended().named("program (deleted)").executable, "program");
    }

    #[test]
    fn pids_that_nobody_has_are_refused() {
        for pid in [0, u32::MAX, 0x3FFF_FFFF] {
            assert!(matches!(Process::look_up(Pid(pid)), Err(IdentityError::NoSuchProcess(_))), "{pid}");
        }
    }
}
