//! The system calls that loading takes, with their arguments: one a line.
//!
//! Enters: nothing. Leaves: what a filter sees of each. Refuses: nothing.
//!
//! They are those of real injections on glibc 2.36 as Linux saw them (`raw_syscalls`), of the borrowed thread, `pthread_create`, `dlopen`, the shim's
//! start and its threads, and what other versions of glibc make instead. A call that comes with different arguments has a line
//! for each that a filter may well tell apart. What holds an address, a length, a descriptor, or nothing, is unknown:
//! registers of arguments that a call does not have keep whatever was in them.

use super::program::{ARCHITECTURE, Data, Word};

/// Whether a call is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Without it nothing goes.
    Must,
    /// It may fail: there is another way.
    May,
    /// Where the shim comes as a memory file.
    MemoryFile,
    /// Where it comes as a file.
    File,
}

/// A call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) name: &'static str,
    number: u32,
    pub(super) need: Need,
    arguments: [Argument; 6],
}

/// An argument; `None` if it is not known beforehand.
type Argument = Option<u64>;

/// Not known.
const X: Argument = None;

const fn call(
    need: Need,
    name: &'static str,
    number: libc::c_long,
    [first, second, third, fourth]: [Argument; 4],
) -> Call {
    Call { name, number: number as u32, need, arguments: [first, second, third, fourth, X, X] }
}

const fn must(name: &'static str, number: libc::c_long, arguments: [Argument; 4]) -> Call {
    call(Need::Must, name, number, arguments)
}

const fn may(name: &'static str, number: libc::c_long, arguments: [Argument; 4]) -> Call {
    call(Need::May, name, number, arguments)
}

const fn flags(flags: i32) -> Argument {
    Some(flags as u32 as u64)
}

const NOTHING: [Argument; 4] = [X; 4];
const HERE: Argument = flags(libc::AT_FDCWD);
const OPEN: i32 = libc::O_RDONLY | libc::O_CLOEXEC;
/// `linux/memfd.h`: close on exec, with `MFD_EXEC`; with seals and `MFD_NOEXEC_SEAL`.
const EXECUTABLE: Argument = Some(0x1 | 0x10);
const RING: Argument = Some(0x1 | 0x2 | 0x8);
const READ: Argument = flags(libc::PROT_READ);
const WRITE: Argument = flags(libc::PROT_READ | libc::PROT_WRITE);
const EXECUTE: Argument = flags(libc::PROT_READ | libc::PROT_EXEC);
const NONE: Argument = flags(libc::PROT_NONE);
const SHARED: Argument = flags(libc::MAP_SHARED);
const PRIVATE: Argument = flags(libc::MAP_PRIVATE);
const ANONYMOUS: Argument = flags(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
const STACK: Argument = flags(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK);
const ARENA: Argument = flags(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
const LIBRARY: Argument = flags(libc::MAP_PRIVATE | libc::MAP_DENYWRITE);
const SEGMENT: Argument = flags(libc::MAP_PRIVATE | libc::MAP_DENYWRITE | libc::MAP_FIXED);
const BSS: Argument = flags(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED);
/// `pthread_create` of glibc (`sysdeps/unix/sysv/linux/createthread.c`).
const THREAD: Argument = flags(
    libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SYSVSEM
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SETTLS
        | libc::CLONE_PARENT_SETTID
        | libc::CLONE_CHILD_CLEARTID,
);
const PRIVATE_FUTEX: i32 = libc::FUTEX_PRIVATE_FLAG;
const MASK_BYTES: Argument = Some(8);
/// `linux/prctl.h`; libc has none.
const PR_GET_AUXV: Argument = Some(0x4155_5856);

/// All of them.
pub(super) const CALLS: &[Call] = &[
    call(Need::MemoryFile, "memfd_create", libc::SYS_memfd_create, [X, EXECUTABLE, X, X]),
    call(
        Need::File,
        "openat",
        libc::SYS_openat,
        [HERE, X, flags(libc::O_RDWR | libc::O_CLOEXEC | libc::O_NOFOLLOW), X],
    ),
    must("memfd_create", libc::SYS_memfd_create, [X, RING, X, X]),
    // Code and shared pages of the borrowed thread; stacks and arenas of the new ones; libraries and what they have.
    must("mmap", libc::SYS_mmap, [Some(0), X, EXECUTE, PRIVATE]),
    must("mmap", libc::SYS_mmap, [Some(0), X, WRITE, SHARED]),
    must("mmap", libc::SYS_mmap, [Some(0), X, WRITE, ANONYMOUS]),
    must("mmap", libc::SYS_mmap, [Some(0), X, NONE, STACK]),
    must("mmap", libc::SYS_mmap, [Some(0), X, WRITE, STACK]),
    may("mmap", libc::SYS_mmap, [Some(0), X, NONE, ARENA]),
    may("mmap", libc::SYS_mmap, [Some(0), X, WRITE, ARENA]),
    must("mmap", libc::SYS_mmap, [Some(0), X, READ, LIBRARY]),
    must("mmap", libc::SYS_mmap, [X, X, EXECUTE, SEGMENT]),
    must("mmap", libc::SYS_mmap, [X, X, WRITE, SEGMENT]),
    must("mmap", libc::SYS_mmap, [X, X, WRITE, BSS]),
    may("mmap", libc::SYS_mmap, [Some(0), X, READ, PRIVATE]),
    must("munmap", libc::SYS_munmap, NOTHING),
    must("mprotect", libc::SYS_mprotect, [X, X, WRITE, X]),
    must("mprotect", libc::SYS_mprotect, [X, X, READ, X]),
    must("clone", libc::SYS_clone, [THREAD, X, X, X]),
    may("clone3", libc::SYS_clone3, NOTHING),
    must("openat", libc::SYS_openat, [HERE, X, flags(OPEN), X]),
    may("openat", libc::SYS_openat, [HERE, X, flags(OPEN | libc::O_DIRECTORY | libc::O_NONBLOCK), X]),
    must("read", libc::SYS_read, NOTHING),
    may("pread64", libc::SYS_pread64, NOTHING),
    may("getdents64", libc::SYS_getdents64, NOTHING),
    must("close", libc::SYS_close, NOTHING),
    must("fstat", libc::SYS_fstat, NOTHING),
    may("newfstatat", libc::SYS_newfstatat, NOTHING),
    may("statx", libc::SYS_statx, NOTHING),
    may("readlinkat", libc::SYS_readlinkat, NOTHING),
    must("ftruncate", libc::SYS_ftruncate, NOTHING),
    must("fcntl", libc::SYS_fcntl, [X, flags(libc::F_ADD_SEALS), X, X]),
    may("fcntl", libc::SYS_fcntl, [X, flags(libc::F_GETFD), X, X]),
    must("futex", libc::SYS_futex, [X, flags(libc::FUTEX_WAIT), X, X]),
    must("futex", libc::SYS_futex, [X, flags(libc::FUTEX_WAIT | PRIVATE_FUTEX), X, X]),
    must("futex", libc::SYS_futex, [X, flags(libc::FUTEX_WAKE | PRIVATE_FUTEX), X, X]),
    must("futex", libc::SYS_futex, [X, flags(libc::FUTEX_WAIT_BITSET | PRIVATE_FUTEX), X, X]),
    must("ppoll", libc::SYS_ppoll, [Some(0), Some(0), X, Some(0)]),
    must("rt_sigprocmask", libc::SYS_rt_sigprocmask, [flags(libc::SIG_BLOCK), X, X, MASK_BYTES]),
    must("rt_sigprocmask", libc::SYS_rt_sigprocmask, [flags(libc::SIG_UNBLOCK), X, X, MASK_BYTES]),
    must("rt_sigprocmask", libc::SYS_rt_sigprocmask, [flags(libc::SIG_SETMASK), X, X, MASK_BYTES]),
    must("rt_sigreturn", libc::SYS_rt_sigreturn, NOTHING),
    // SIGSETXID, whose handler the first thread of a process installs.
    may("rt_sigaction", libc::SYS_rt_sigaction, [Some(33), X, X, MASK_BYTES]),
    may("sigaltstack", libc::SYS_sigaltstack, NOTHING),
    may("set_robust_list", libc::SYS_set_robust_list, NOTHING),
    may("rseq", libc::SYS_rseq, NOTHING),
    may("madvise", libc::SYS_madvise, [X, X, flags(libc::MADV_DONTFORK), X]),
    may("madvise", libc::SYS_madvise, [X, X, flags(libc::MADV_POPULATE_WRITE), X]),
    may("madvise", libc::SYS_madvise, [X, X, flags(libc::MADV_DONTNEED), X]),
    may("prctl", libc::SYS_prctl, [flags(libc::PR_SET_NAME), X, X, X]),
    may("prctl", libc::SYS_prctl, [PR_GET_AUXV, X, X, X]),
    may("getrandom", libc::SYS_getrandom, NOTHING),
    may("sched_getaffinity", libc::SYS_sched_getaffinity, NOTHING),
    may("clock_gettime", libc::SYS_clock_gettime, NOTHING),
    may("clock_nanosleep", libc::SYS_clock_nanosleep, NOTHING),
    may("getpid", libc::SYS_getpid, NOTHING),
    may("gettid", libc::SYS_gettid, NOTHING),
    may("sched_yield", libc::SYS_sched_yield, NOTHING),
    must("exit", libc::SYS_exit, [Some(0), X, X, X]),
];

impl Call {
    /// What a filter sees of it, `struct seccomp_data` (linux/seccomp.h): number, architecture, and, each in two words of which the
    /// lower comes first, the address that it comes from and its arguments.
    pub(super) fn data(&self) -> Data {
        let mut data: Data = [None; _];
        let mut words = data.iter_mut();
        let mut put = |word: Word| words.next().map(|place| *place = word);
        put(Some(self.number));
        put(Some(ARCHITECTURE));
        for value in [X].into_iter().chain(self.arguments) {
            put(value.map(|value| value as u32));
            put(value.map(|value| (value >> 32) as u32));
        }
        data
    }
}
