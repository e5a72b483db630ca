//! The one door through which a target is touched: ptrace, its memory, its descriptors.
//!
//! Enters: requests about one thread or process. Leaves: Linux's answers, unchanged. Refuses: to decide anything; a test
//! puts its own door in place of [`Linux`], and fails or dies at whichever request it likes.
#![allow(unsafe_code, reason = "ptrace(2) and waitid(2) through the C library")]

use core::ffi::{c_int, c_void};
use std::fs::{File, OpenOptions};
use std::io;

use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::seccomp::Instruction;
use crate::event::Pid;

/// A thread, by its id in the agent's pid namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tid(pub u32);

/// What a traced thread did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It stopped because it was interrupted.
    Interrupted,
    /// It stopped with the rest of its process, by this signal.
    Group(i32),
    /// It is about to enter, or has just left, a system call.
    Syscall,
    /// It is about to get this signal.
    Signal(i32),
    /// It is about to get this signal for what its own instruction did.
    Fault(i32),
    /// It has ended, or its process has started another program.
    Gone,
}

/// How a stopped thread goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// To its next stop of any sort.
    Stopped,
    /// To the next border of a system call.
    Syscall,
}

/// A set of registers (elf.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegisterSet {
    /// `NT_PRSTATUS`.
    General,
    /// One that the architecture knows by this number.
    Other(c_int),
}

impl RegisterSet {
    fn number(self) -> c_int {
        match self {
            Self::General => libc::NT_PRSTATUS,
            Self::Other(number) => number,
        }
    }
}

/// See the module.
pub trait Door {
    /// `PTRACE_SEIZE`: traces the thread without stopping it.
    fn seize(&self, tid: Tid) -> io::Result<()>;
    /// `PTRACE_INTERRUPT`.
    fn interrupt(&self, tid: Tid) -> io::Result<()>;
    /// `PTRACE_CONT` or `PTRACE_SYSCALL`, with a signal to deliver or 0.
    fn resume(&self, tid: Tid, until: Until, signal: i32) -> io::Result<()>;
    /// `PTRACE_DETACH`.
    fn detach(&self, tid: Tid) -> io::Result<()>;
    /// How the thread has stopped; `None` while it runs.
    fn stopped(&self, tid: Tid) -> io::Result<Option<Stop>>;
    /// `PTRACE_GETREGSET`; returns how many bytes there are.
    fn registers(&self, tid: Tid, set: RegisterSet, into: &mut [u8]) -> io::Result<usize>;
    /// `PTRACE_SETREGSET`.
    fn set_registers(&self, tid: Tid, set: RegisterSet, from: &[u8]) -> io::Result<()>;
    /// `PTRACE_GETSIGMASK`.
    fn signal_mask(&self, tid: Tid) -> io::Result<u64>;
    /// `PTRACE_SETSIGMASK`.
    fn set_signal_mask(&self, tid: Tid, mask: u64) -> io::Result<()>;
    /// `PTRACE_SECCOMP_GET_FILTER`: the thread's filter number `index`, the newest first; `None` where there are no more.
    fn seccomp_filter(&self, tid: Tid, index: u32) -> io::Result<Option<Vec<Instruction>>>;
    /// Reads the process's memory, as far as it reaches.
    fn read(&self, pid: Pid, address: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `from` into the process's memory.
    fn write(&self, pid: Pid, address: u64, from: &[u8]) -> io::Result<()>;
    /// A copy of a descriptor of the process.
    fn descriptor(&self, pid: Pid, number: u32) -> io::Result<File>;
}

/// Signals that Linux sends for what an instruction does. Blocked, they would take the program's handler away with them
/// (`force_sig_info_to_task`).
pub const FAULTS: [i32; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS];

/// The real one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Linux;

/// `linux/ptrace.h`; libc has none of them.
const PTRACE_EVENT_STOP: c_int = 128;
const PTRACE_GETSIGMASK: libc::c_uint = 0x420a;
const PTRACE_SETSIGMASK: libc::c_uint = 0x420b;
const PTRACE_SECCOMP_GET_FILTER: libc::c_uint = 0x420c;

fn ptrace(request: libc::c_uint, tid: Tid, address: *mut c_void, data: *mut c_void) -> io::Result<usize> {
    // SAFETY: each caller passes, for its request, a number or a live buffer of the length that the request says.
    let outcome = unsafe { libc::ptrace(request, tid.0.cast_signed(), address, data) };
    usize::try_from(outcome).map_err(|_negative| io::Error::last_os_error())
}

fn number(value: c_int) -> *mut c_void {
    core::ptr::without_provenance_mut(value as usize)
}

/// Whether the signal that the thread is about to get comes from Linux (sigaction(2): a positive `si_code`), and not from a
/// process.
fn is_own_doing(tid: Tid) -> io::Result<bool> {
    let mut info = siginfo();
    ptrace(libc::PTRACE_GETSIGINFO, tid, number(0), (&raw mut info).cast())?;
    Ok(info.si_code > 0)
}

fn siginfo() -> libc::siginfo_t {
    // SAFETY: any bytes are one, zeros too.
    unsafe { core::mem::zeroed() }
}

/// A part of the process's memory, for `process_vm_readv` and its like. Unlike `/proc/PID/mem` they ask for the right to
/// trace alone, not for the owner of the file too.
fn remote(address: u64, length: usize) -> libc::iovec {
    libc::iovec { iov_base: core::ptr::without_provenance_mut(address as usize), iov_len: length }
}

fn moved(outcome: isize) -> io::Result<usize> {
    usize::try_from(outcome).map_err(|_negative| io::Error::last_os_error())
}

impl Door for Linux {
    fn seize(&self, tid: Tid) -> io::Result<()> {
        // Never PTRACE_O_EXITKILL: when the agent dies, the target lives on.
        ptrace(libc::PTRACE_SEIZE, tid, number(0), number(libc::PTRACE_O_TRACESYSGOOD)).map(drop)
    }

    fn interrupt(&self, tid: Tid) -> io::Result<()> {
        ptrace(libc::PTRACE_INTERRUPT, tid, number(0), number(0)).map(drop)
    }

    fn resume(&self, tid: Tid, until: Until, signal: i32) -> io::Result<()> {
        let request = match until {
            Until::Stopped => libc::PTRACE_CONT,
            Until::Syscall => libc::PTRACE_SYSCALL,
        };
        ptrace(request, tid, number(0), number(signal)).map(drop)
    }

    fn detach(&self, tid: Tid) -> io::Result<()> {
        ptrace(libc::PTRACE_DETACH, tid, number(0), number(0)).map(drop)
    }

    fn stopped(&self, tid: Tid) -> io::Result<Option<Stop>> {
        let mut info = siginfo();
        // Only looked at, never taken: a signal that was taken would be lost with an agent that ends before it has passed it on.
        let options = libc::WEXITED | libc::WSTOPPED | libc::__WALL | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: a live out-pointer.
        match unsafe { libc::waitid(libc::P_PID, tid.0, &raw mut info, options) } {
            0 => {}
            // Another thread of the process called exec, and this one is no more.
            _ if io::Error::last_os_error().raw_os_error() == Some(libc::ECHILD) => {
                return Ok(Some(Stop::Gone));
            }
            _ => return Err(io::Error::last_os_error()),
        }
        // SAFETY: Linux has filled these in, or left them zero.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        if pid == 0 {
            return Ok(None);
        }
        if !matches!(info.si_code, libc::CLD_TRAPPED | libc::CLD_STOPPED) {
            return Ok(Some(Stop::Gone));
        }
        let signal = status & 0xff;
        Ok(Some(match (status >> 8, signal) {
            (PTRACE_EVENT_STOP, libc::SIGTRAP) => Stop::Interrupted,
            (PTRACE_EVENT_STOP, signal) => Stop::Group(signal),
            (_, signal) if signal == libc::SIGTRAP | 0x80 => Stop::Syscall,
            // No option asks for it, and it comes all the same after exec in a seized thread.
            (libc::PTRACE_EVENT_EXEC, _) => Stop::Gone,
            (_, signal) if FAULTS.contains(&signal) && is_own_doing(tid)? => Stop::Fault(signal),
            (_, signal) => Stop::Signal(signal),
        }))
    }

    fn registers(&self, tid: Tid, set: RegisterSet, into: &mut [u8]) -> io::Result<usize> {
        let mut buffer = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
        ptrace(libc::PTRACE_GETREGSET, tid, number(set.number()), (&raw mut buffer).cast())?;
        Ok(buffer.iov_len)
    }

    fn set_registers(&self, tid: Tid, set: RegisterSet, from: &[u8]) -> io::Result<()> {
        // Linux only reads through it.
        let mut buffer = libc::iovec { iov_base: from.as_ptr().cast_mut().cast(), iov_len: from.len() };
        ptrace(libc::PTRACE_SETREGSET, tid, number(set.number()), (&raw mut buffer).cast()).map(drop)
    }

    fn signal_mask(&self, tid: Tid) -> io::Result<u64> {
        let mut mask = 0_u64;
        ptrace(PTRACE_GETSIGMASK, tid, number(8), (&raw mut mask).cast())?;
        Ok(mask)
    }

    fn set_signal_mask(&self, tid: Tid, mut mask: u64) -> io::Result<()> {
        ptrace(PTRACE_SETSIGMASK, tid, number(8), (&raw mut mask).cast()).map(drop)
    }

    fn seccomp_filter(&self, tid: Tid, index: u32) -> io::Result<Option<Vec<Instruction>>> {
        let position = core::ptr::without_provenance_mut(index as usize);
        let count = match ptrace(PTRACE_SECCOMP_GET_FILTER, tid, position, number(0)) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
            count => count?,
        };
        // A filter never changes, so it is as long the second time.
        let mut words = vec![[0_u8; 8]; count];
        ptrace(PTRACE_SECCOMP_GET_FILTER, tid, position, words.as_mut_ptr().cast())?;
        Ok(Some(words.into_iter().map(Instruction::from_bytes).collect()))
    }

    fn read(&self, pid: Pid, address: u64, into: &mut [u8]) -> io::Result<usize> {
        let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
        let remote = remote(address, into.len());
        // SAFETY: a live buffer of that length here; the other address means something in the other process only.
        moved(unsafe {
            libc::process_vm_readv(pid.0.cast_signed(), &raw const local, 1, &raw const remote, 1, 0)
        })
    }

    fn write(&self, pid: Pid, address: u64, from: &[u8]) -> io::Result<()> {
        // Linux only reads through it.
        let local = libc::iovec { iov_base: from.as_ptr().cast_mut().cast(), iov_len: from.len() };
        let remote = remote(address, from.len());
        // SAFETY: as above.
        let written = unsafe {
            libc::process_vm_writev(pid.0.cast_signed(), &raw const local, 1, &raw const remote, 1, 0)
        };
        match moved(written)? {
            length if length == from.len() => Ok(()),
            _ => Err(io::Error::from_raw_os_error(libc::EFAULT)),
        }
    }

    fn descriptor(&self, pid: Pid, number: u32) -> io::Result<File> {
        let process = rustix::process::Pid::from_raw(pid.0.cast_signed());
        let process = process.ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
        let pidfd = pidfd_open(process, PidfdFlags::empty())?;
        match pidfd_getfd(pidfd, number.cast_signed(), PidfdGetfdFlags::empty()) {
            // Linux before 5.6.
            Err(rustix::io::Errno::NOSYS) => {
                OpenOptions::new().read(true).write(true).open(format!("/proc/{pid}/fd/{number}"))
            }
            descriptor => Ok(descriptor?.into()),
        }
    }
}
