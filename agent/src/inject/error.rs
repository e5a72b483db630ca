//! Why the shim was not loaded into a process, in words that say what to do.
//!
//! Enters and leaves: nothing; one error type. Refuses: messages without a way out.

use std::io;
use std::time::Duration;

use crate::event::Pid;
use crate::identity::IdentityError;
use crate::symbols;

/// Why the shim was not loaded. In every case the process runs on as it did before.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such process, or it cannot be looked at.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A fact about the process or the host forbids it.
    #[error("the shim was not loaded into process {pid}: {refusal}")]
    Refused {
        /// The process.
        pid: Pid,
        /// Which.
        refusal: Refusal,
    },
    /// `/proc` says something unexpected.
    #[error("cannot read {path}: {source}")]
    Proc {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Another agent is at it.
    #[error("another agent loads the shim into process {pid} at this moment; attach once it is done")]
    Contended {
        /// The process.
        pid: Pid,
    },
    /// No thread may be borrowed.
    #[error(
        "no thread of process {pid} came to rest in a system call within {waited:?}, and one that runs is not touched (it may hold a lock); try again, with a longer --inject-timeout if need be"
    )]
    NoThreadAtRest {
        /// The process.
        pid: Pid,
        /// How long was waited.
        waited: Duration,
    },
    /// The process ended or runs another program.
    #[error(
        "process {pid} ended, or started another program, while the shim was being loaded; look up its pid again"
    )]
    Gone {
        /// The process.
        pid: Pid,
    },
    /// A ptrace request failed.
    #[error(
        "cannot {what} thread {tid} of process {pid}: {source}; the agent needs CAP_SYS_PTRACE, and no debugger or tracer may be attached"
    )]
    Trace {
        /// The process.
        pid: Pid,
        /// The thread.
        tid: u32,
        /// What was asked for.
        what: &'static str,
        /// The refusal.
        source: io::Error,
    },
    /// A thread does not answer.
    #[error(
        "thread {tid} of process {pid} did not answer within {waited:?} (it waits for a device or a lock of the kernel); it was let go, try again"
    )]
    Unresponsive {
        /// The process.
        pid: Pid,
        /// The thread.
        tid: u32,
        /// How long was waited.
        waited: Duration,
    },
    /// A system call failed in the process.
    #[error("process {pid} cannot {call}: {source}{}", advice(.source))]
    Call {
        /// The process.
        pid: Pid,
        /// Which.
        call: &'static str,
        /// How.
        source: io::Error,
    },
    /// What was run in the process went wrong.
    #[error(
        "thread {tid} of process {pid} got signal {signal} while it worked for the agent; its registers were restored and it runs on, but please report this"
    )]
    Fault {
        /// The process.
        pid: Pid,
        /// The thread.
        tid: u32,
        /// Which.
        signal: i32,
    },
    /// The process's memory or descriptor could not be reached.
    #[error("cannot {what} of process {pid}: {source}")]
    Memory {
        /// The process.
        pid: Pid,
        /// What was tried.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Its mappings cannot be read.
    #[error("process {pid}: {source}")]
    Mappings {
        /// The process.
        pid: Pid,
        /// Why.
        source: symbols::process::ProcessError,
    },
    /// The C library of the process could not be read.
    #[error("the C library of process {pid} ({library}) cannot be read: {source}")]
    Symbols {
        /// The process.
        pid: Pid,
        /// Its file.
        library: String,
        /// Why.
        source: symbols::ImageError,
    },
    /// The dynamic linker refused the shim.
    #[error(
        "the dynamic linker of process {pid} refused the shim: {message}; if it names GLIBC, the process's C library is older than the shim's: use the shim that is built for it (--shim)"
    )]
    Linker {
        /// The process.
        pid: Pid,
        /// What `dlerror` says.
        message: String,
    },
    /// The new thread in the process takes too long.
    #[error(
        "process {pid} is still loading the shim after {waited:?}: another of its threads holds the dynamic linker's lock; the shim goes on loading, attach again later"
    )]
    Slow {
        /// The process.
        pid: Pid,
        /// How long was waited.
        waited: Duration,
    },
    /// The agent was too slow.
    #[error(
        "this agent was held up for so long that the thread in process {pid} no longer waited for the shim; nothing was loaded, try again"
    )]
    Late {
        /// The process.
        pid: Pid,
    },
    /// No file could be put into its root.
    #[error(
        "process {pid} may not execute memory files (vm.memfd_noexec is 2 in its pid namespace), and no file can be put into its root instead: {tried}; set vm.memfd_noexec to 1 or 0, or start the process with `gpu-agent run`"
    )]
    Disk {
        /// The process.
        pid: Pid,
        /// Each folder, and why not there.
        tried: String,
    },
    /// The shim's own file.
    #[error("cannot read the shim {path}: {source}")]
    Shim {
        /// Its path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A thread of the agent.
    #[error("cannot start a thread of the agent: {0}")]
    Thread(#[source] io::Error),
}

/// What forbids it, found before the process was touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A debugger or another tracer.
    #[error(
        "process {tracer} traces it, and Linux allows one tracer; detach that one (a debugger, strace, a profiler)"
    )]
    Traced {
        /// The tracer's pid.
        tracer: u32,
    },
    /// Stopped by a signal.
    #[error("it is stopped by a signal; continue it (kill -CONT) and try again")]
    Stopped,
    /// Yama.
    #[error(
        "kernel.yama.ptrace_scope is {scope}{}",
        if *scope >= 3 { ", which forbids tracing until the next boot; start the process with `gpu-agent run`" } else { ", which asks for CAP_SYS_PTRACE: run the agent as root, or give it that capability" }
    )]
    Yama {
        /// The setting.
        scope: u32,
    },
    /// No right to trace.
    #[error(
        "this agent lacks CAP_SYS_PTRACE and runs as another user; run it as root, or give it that capability"
    )]
    Unprivileged,
    /// Another machine's code.
    #[error(
        "its program is for {found}, this agent for {}; use the agent that is built for it",
        std::env::consts::ARCH
    )]
    Machine {
        /// What its C library is for.
        found: &'static str,
    },
    /// A program without a dynamic linker.
    #[error(
        "it is linked statically, so no library can be loaded into it; only CUDA's entry points can be probed there"
    )]
    Static,
    /// A program that has just begun.
    #[error("it has just started and not loaded its C library yet; try again")]
    Starting,
    /// musl.
    #[error(
        "its C library is musl, which NVIDIA's driver does not run on: is this the process that uses the GPU?"
    )]
    Musl,
    /// A C library that lacks something.
    #[error("its C library ({library}) does not export {symbol}; start it with `gpu-agent run` instead")]
    NoSymbol {
        /// The file.
        library: String,
        /// What is missing.
        symbol: &'static str,
    },
    /// Code that the borrowed thread needs is not there.
    #[error("its C library ({library}) has no {what}; start it with `gpu-agent run` instead")]
    NoGadget {
        /// The file.
        library: String,
        /// What is missing.
        what: &'static str,
    },
    /// A seccomp filter.
    #[error(
        "its seccomp filter does not allow {call}{}; add it to the container's seccomp profile, or start the process with `gpu-agent run`",
        if *kills { " (and would end the process)" } else { "" }
    )]
    Seccomp {
        /// The first system call in question that it does not allow.
        call: &'static str,
        /// Whether the filter answers with the end of the thread or process.
        kills: bool,
    },
    /// A seccomp filter that says now this, now that.
    #[error(
        "whether its seccomp filter allows {call} depends on an address that is not known beforehand; start the process with `gpu-agent run`, or use --inject force at the risk of its end"
    )]
    SeccompDepends {
        /// The first system call in question.
        call: &'static str,
    },
    /// A seccomp filter that cannot be read.
    #[error(
        "it has a seccomp filter that this agent may not read (CAP_SYS_ADMIN), and that might end it; give the agent that capability, or use --inject force"
    )]
    SeccompUnknown,
    /// The simplest seccomp.
    #[error("it runs in seccomp's strict mode, where nothing but read and write is allowed")]
    SeccompStrict,
    /// Shadow stacks.
    #[error(
        "it runs with a shadow stack (CET), which a borrowed thread would break; start it with `gpu-agent run`, or without GLIBC_TUNABLES=glibc.cpu.x86_shstk"
    )]
    ShadowStack,
    /// The user wishes it so.
    #[error(
        "its environment says GPU_AGENT_SHIM=off, so it is left alone; start it without that to have it measured"
    )]
    SwitchedOff,
    /// A shim that cannot work.
    #[error(
        "it has the shim already, but without a ring: shared memory could not be had there (memfd_create, memory limit)"
    )]
    ShimWithoutRing,
    /// CUDA graphs under an old CUPTI.
    #[error(
        "its CUPTI ({library}) is older than 12.6 and may crash where CUDA graphs exist already (pytorch#75504, #112507); start it with `gpu-agent run`, or, if it uses no CUDA graphs, use --inject force"
    )]
    GraphsUnsafe {
        /// The libcupti that would be used.
        library: String,
    },
}

impl Error {
    /// Whether trying again a little later makes sense.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Contended { .. }
                | Self::NoThreadAtRest { .. }
                | Self::Unresponsive { .. }
                | Self::Slow { .. }
                | Self::Late { .. }
                | Self::Refused {
                    refusal: Refusal::Stopped | Refusal::Starting | Refusal::Traced { .. },
                    ..
                }
        )
    }
}

impl Error {
    /// Whether it says that the process may not make a memory file that can be executed, although no filter denies the call.
    pub(super) fn forbids_memory_files(&self) -> bool {
        matches!(self, Self::Call { call, source, .. }
            if *call == super::way::MEMFD_CREATE && source.raw_os_error() == Some(libc::EACCES))
    }
}

fn advice(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EMFILE) => {
            "; it has used up its descriptors (RLIMIT_NOFILE), raise the limit: prlimit --pid PID --nofile=…"
        }
        Some(libc::ENFILE) => "; the host has used up its descriptors (fs.file-max)",
        Some(libc::ENOMEM) => {
            "; it may not have more memory (RLIMIT_AS, its cgroup's limit, vm.max_map_count)"
        }
        Some(libc::EAGAIN) => "; it may not have more threads (RLIMIT_NPROC, its cgroup's pids.max)",
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => {
            "; a seccomp filter or a security module denies it, start the process with `gpu-agent run` instead"
        }
        _ => "",
    }
}
