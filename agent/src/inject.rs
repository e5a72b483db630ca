//! The shim, loaded into a process that runs already and was not prepared for it.
//!
//! Enters: a process, the shim's file. Leaves: a process that has the shim, dormant, and nothing else of ours: no descriptor, no
//! mapping, no file, its threads where they were. Refuses: what it cannot do without risk to the process, each time by name
//! and before anything was touched ([`checks`]); it never waits for the process with a thread of it stopped.
//!
//! # The way in
//!
//! ```text
//!  agent                                   process
//!  checks, symbols of its C library
//!  stop a thread at rest ────────────────► memfd_create, mmap ×2               [threads, held, way, loan]
//!  write code and mailbox ───────────────► through its own descriptor          [mailbox]
//!  let it run the code ──────────────────► pthread_create; waits to be fetched [arch]
//!  fetch it, let it go                     goes on with what it did
//!                                          new thread: waits for an order
//!  write the shim, give the order ───────► dlopen, InitializeInjection, close, munmap
//!  look into the mailbox ◄───────────────── done, or what dlerror says
//! ```
//!
//! Only one thread is stopped, once, for about as long as a handful of system calls take; the rest of the process runs on.
//! Everything slow, and everything that takes the dynamic linker's lock for long (`dlopen`), is done by the new
//! thread, which can wait for a lock like any other.
//!
//! The process needs no file, path, namespace or right of ours: the shim comes as a memory file, or as one in its root that has no
//! name by the time it is loaded. It needs `/proc` mounted
//! (the new thread opens `/proc/self/fd/N`) and glibc, as CUDA's driver does.
//!
//! If the agent is killed at any moment, the thread comes back by itself ([`arch`]), and the new one finishes.

pub mod arch;
pub mod checks;
pub mod cupti;
pub mod door;
mod error;
pub mod held;
pub(crate) mod libraries;
pub mod loan;
pub mod mailbox;
pub mod runtime;
pub mod seccomp;
pub mod steps;
pub mod threads;
pub mod way;

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::setpriority_process;
use rustix::thread::set_current_timer_slack;

pub use self::error::{Error, Refusal};
use self::steps::Steps;
use crate::event::Pid;
use crate::identity::Process;

/// How patient the injection is, and what it may bring.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long it waits for a thread to come to rest, and as long again for the dynamic linker.
    pub timeout: Duration,
    /// Goes on where CUDA graphs under an old CUPTI, or a seccomp filter, may stand in the way.
    pub force: bool,
    /// Where the agent has libcuptis of its own, for processes that have none.
    pub cupti_folder: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(5), force: false, cupti_folder: None }
    }
}

/// What it took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Injected {
    /// For how long a thread of the process was stopped, all stops together.
    pub stopped: Duration,
    /// How often.
    pub stops: u32,
    /// From the first check to the loaded shim.
    pub total: Duration,
}

/// Loads the shim at `shim` into `process`, which must not have it.
///
/// # Errors
/// See [`Error`]; the process is as it was.
pub fn inject(process: &Process, shim: &Path, options: Options) -> Result<Injected, Error> {
    let lock = Lock::take(process.pid)?;
    inject_locked(&lock, process, shim, options)
}

/// The same for who holds the lock already, and has made sure since that the process does not have the shim.
///
/// # Errors
/// See [`Error`]; the process is as it was.
pub fn inject_locked(
    _lock: &Lock,
    process: &Process,
    shim: &Path,
    options: Options,
) -> Result<Injected, Error> {
    let started = Instant::now();
    let library =
        std::fs::read(shim).map_err(|source| Error::Shim { path: shim.display().to_string(), source })?;
    // What a thread traces is let go when that thread ends, so that not even an error here can leave the process traced.
    let outcome = std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("gpu-agent-inject".to_owned())
            .spawn_scoped(scope, || {
                // A nap is to take as long as it says. Where that cannot be had, stops take some 50 µs longer.
                let _ = set_current_timer_slack(NonZeroU64::new(1));
                // For Linux, the priority is this thread's alone. A stopped thread waits for this one; on a busy host without
                // CAP_SYS_NICE it waits longer.
                let _ = setpriority_process(None, -20);
                Steps::new(&door::Linux, process, &options).run(&library)
            })
            .map_err(Error::Thread)
            .map(std::thread::ScopedJoinHandle::join)
    });
    match outcome? {
        Ok(injected) => injected.map(|injected| Injected { total: started.elapsed(), ..injected }),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// One agent at a time: a lock on the process's memory in `/proc`, which only those can open who may trace it. It ends with its
/// holder. Agents that see different mounts of `/proc`, as in two containers, do not see each other's.
#[derive(Debug)]
pub struct Lock {
    _memory: Option<File>,
}

impl Lock {
    /// Takes that of `pid`.
    ///
    /// # Errors
    /// [`Error::Contended`] where another agent has it, and [`Error::Gone`].
    pub fn take(pid: Pid) -> Result<Self, Error> {
        let memory = match File::open(format!("/proc/{pid}/mem")) {
            Ok(memory) => memory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::Gone { pid }),
            // Why the process cannot be traced is found out and told later.
            Err(_) => return Ok(Self { _memory: None }),
        };
        match flock(memory.as_fd(), FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Contended { pid }),
            // Where it cannot be locked, the second agent is refused as a second tracer.
            Ok(()) | Err(_) => Ok(Self { _memory: Some(memory) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_one_agents_at_a_time() {
        let pid = Pid(std::process::id());
        let first = Lock::take(pid).unwrap();
        assert!(matches!(Lock::take(pid), Err(Error::Contended { .. })));
        drop(first);
        Lock::take(pid).unwrap();
    }
}
