//! What a seccomp filter of a process would say to the system calls that loading the shim takes.
//!
//! Enters: filters as `PTRACE_SECCOMP_GET_FILTER` hands them out. Leaves: nothing, or the first call that is not allowed. Refuses:
//! to let a filter be met unprepared: one that ends a process for an unexpected call would end it because of us.
//!
//! A filter is a program of classic BPF on `struct seccomp_data` (linux/seccomp.h): no loops, 4,096 instructions at most. Of
//! several filters the strictest answer counts. Arguments are taken to be zero: filters of containers judge by number, but
//! for a few calls that are not made here.

/// One instruction, `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What.
    pub code: u16,
    /// Instructions to pass over where a condition holds.
    pub jt: u8,
    /// And where not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

impl Instruction {
    /// From the bytes of a `struct sock_filter`.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        let [code0, code1, jt, jf, k @ ..] = bytes;
        Self { code: u16::from_ne_bytes([code0, code1]), jt, jf, k: u32::from_ne_bytes(k) }
    }
}

/// What a filter answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// The call is made.
    Allow,
    /// It fails.
    Fail,
    /// A signal, or the end of the thread or process.
    Kill,
}

/// A call that loading takes.
#[derive(Debug, Clone, Copy)]
struct Needed {
    name: &'static str,
    number: u32,
    /// It may fail: there is another way.
    may_fail: bool,
}

const fn must(name: &'static str, number: libc::c_long) -> Needed {
    Needed { name, number: number as u32, may_fail: false }
}

const fn may(name: &'static str, number: libc::c_long) -> Needed {
    Needed { name, number: number as u32, may_fail: true }
}

/// By the borrowed thread, by `pthread_create`, `dlopen`, the shim's start, its thread.
const NEEDED: [Needed; 32] = [
    must("memfd_create", libc::SYS_memfd_create),
    must("mmap", libc::SYS_mmap),
    must("munmap", libc::SYS_munmap),
    must("mprotect", libc::SYS_mprotect),
    must("clone", libc::SYS_clone),
    may("clone3", libc::SYS_clone3),
    must("openat", libc::SYS_openat),
    must("read", libc::SYS_read),
    may("pread64", libc::SYS_pread64),
    must("close", libc::SYS_close),
    must("fstat", libc::SYS_fstat),
    may("newfstatat", libc::SYS_newfstatat),
    may("statx", libc::SYS_statx),
    may("readlinkat", libc::SYS_readlinkat),
    must("ftruncate", libc::SYS_ftruncate),
    must("fcntl", libc::SYS_fcntl),
    must("futex", libc::SYS_futex),
    must("rt_sigprocmask", libc::SYS_rt_sigprocmask),
    may("rt_sigaction", libc::SYS_rt_sigaction),
    may("sigaltstack", libc::SYS_sigaltstack),
    must("rt_sigreturn", libc::SYS_rt_sigreturn),
    may("set_robust_list", libc::SYS_set_robust_list),
    may("rseq", libc::SYS_rseq),
    may("madvise", libc::SYS_madvise),
    may("prctl", libc::SYS_prctl),
    may("getrandom", libc::SYS_getrandom),
    may("sched_getaffinity", libc::SYS_sched_getaffinity),
    may("clock_gettime", libc::SYS_clock_gettime),
    may("getpid", libc::SYS_getpid),
    may("gettid", libc::SYS_gettid),
    may("sched_yield", libc::SYS_sched_yield),
    must("exit", libc::SYS_exit),
];

/// `AUDIT_ARCH_X86_64`, `AUDIT_ARCH_AARCH64` (linux/audit.h).
const ARCHITECTURE: u32 = if cfg!(target_arch = "aarch64") { 0xc000_00b7 } else { 0xc000_003e };
/// Size of `struct seccomp_data`, bytes.
const DATA_BYTES: u32 = 64;
const SCRATCH_WORDS: usize = 16;
/// Most instructions of a filter (`BPF_MAXINSNS`).
const MOST_STEPS: usize = 4096;

/// The first call that `filters` do not let pass, and whether they end the process for it.
#[must_use]
pub fn first_denied(filters: &[Vec<Instruction>]) -> Option<(&'static str, bool)> {
    NEEDED.iter().find_map(|needed| {
        let strictest =
            filters.iter().map(|filter| answer(filter, needed.number)).max().unwrap_or(Answer::Allow);
        match strictest {
            Answer::Allow => None,
            Answer::Fail if needed.may_fail => None,
            answer => Some((needed.name, answer == Answer::Kill)),
        }
    })
}

/// What a filter answers to a call. A filter that is no program, which Linux would not have taken, kills.
#[must_use]
pub fn answer(filter: &[Instruction], number: u32) -> Answer {
    match run(filter, number).map(|verdict| verdict & 0xffff_0000) {
        // SECCOMP_RET_ALLOW, SECCOMP_RET_LOG.
        Some(0x7fff_0000 | 0x7ffc_0000) => Answer::Allow,
        // SECCOMP_RET_ERRNO, SECCOMP_RET_TRACE without a tracer; SECCOMP_RET_USER_NOTIF may answer anything, late.
        Some(0x0005_0000 | 0x7ff0_0000 | 0x7fc0_0000) => Answer::Fail,
        _ => Answer::Kill,
    }
}

fn run(filter: &[Instruction], number: u32) -> Option<u32> {
    let (mut a, mut x, mut at) = (0_u32, 0_u32, 0_usize);
    let mut scratch = [0_u32; SCRATCH_WORDS];
    for _ in 0..MOST_STEPS {
        let Instruction { code, jt, jf, k } = *filter.get(at)?;
        at += 1;
        let operand = if code & 0x08 == 0 { k } else { x };
        match code & 0x07 {
            // Loads into A and X: a constant, the length, scratch memory, the data.
            class @ (0 | 1) => {
                let value = match code & 0xe0 {
                    0x00 => k,
                    0x80 => DATA_BYTES,
                    0x60 => *scratch.get(k as usize)?,
                    0x20 if class == 0 => data(k, number)?,
                    _ => return None,
                };
                *(if class == 0 { &mut a } else { &mut x }) = value;
            }
            2 => *scratch.get_mut(k as usize)? = a,
            3 => *scratch.get_mut(k as usize)? = x,
            4 => a = arithmetic(code & 0xf0, a, operand)?,
            5 => at = at.checked_add(distance(code & 0xf0, a, operand, (jt, jf), k)?)?,
            6 => return Some(if code & 0x18 == 0x10 { a } else { k }),
            _ if code & 0xf8 == 0 => x = a,
            _ => a = x,
        }
    }
    None
}

/// A word of `struct seccomp_data`: number, architecture, and zeros for address and arguments.
fn data(offset: u32, number: u32) -> Option<u32> {
    match offset {
        0 => Some(number),
        4 => Some(ARCHITECTURE),
        8..DATA_BYTES if offset.is_multiple_of(4) => Some(0),
        _ => None,
    }
}

fn arithmetic(operation: u16, a: u32, operand: u32) -> Option<u32> {
    Some(match operation {
        0x00 => a.wrapping_add(operand),
        0x10 => a.wrapping_sub(operand),
        0x20 => a.wrapping_mul(operand),
        0x30 => a.checked_div(operand)?,
        0x40 => a | operand,
        0x50 => a & operand,
        0x60 => a.checked_shl(operand).unwrap_or(0),
        0x70 => a.checked_shr(operand).unwrap_or(0),
        0x80 => a.wrapping_neg(),
        0xa0 => a ^ operand,
        _ => return None,
    })
}

/// How far a jump goes.
fn distance(condition: u16, a: u32, operand: u32, (jt, jf): (u8, u8), k: u32) -> Option<usize> {
    let holds = match condition {
        0x00 => return Some(k as usize),
        0x10 => a == operand,
        0x20 => a > operand,
        0x30 => a >= operand,
        0x40 => a & operand != 0,
        _ => return None,
    };
    Some(usize::from(if holds { jt } else { jf }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOW: u32 = 0x7fff_0000;
    const EPERM: u32 = 0x0005_0001;
    const KILL_PROCESS: u32 = 0x8000_0000;

    fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
        Instruction { code, jt, jf, k }
    }

    /// `verdict` for calls of this number, `otherwise` for others: as libseccomp writes it, the architecture first.
    fn filter(number: libc::c_long, verdict: u32, otherwise: u32) -> Vec<Instruction> {
        vec![
            instruction(0x20, 0, 0, 4),
            instruction(0x15, 0, 3, ARCHITECTURE),
            instruction(0x20, 0, 0, 0),
            instruction(0x15, 0, 1, number as u32),
            instruction(0x06, 0, 0, verdict),
            instruction(0x06, 0, 0, otherwise),
        ]
    }

    #[test]
    fn a_filter_that_denies_what_is_needed_is_found_with_its_way_of_denying() {
        let denied = |filters: &[Vec<Instruction>]| first_denied(filters);
        assert_eq!(denied(&[]), None);
        assert_eq!(denied(&[filter(libc::SYS_reboot, KILL_PROCESS, ALLOW)]), None);
        assert_eq!(denied(&[filter(libc::SYS_memfd_create, EPERM, ALLOW)]), Some(("memfd_create", false)));
        assert_eq!(denied(&[filter(libc::SYS_mprotect, KILL_PROCESS, ALLOW)]), Some(("mprotect", true)));
        assert_eq!(denied(&[filter(libc::SYS_read, ALLOW, KILL_PROCESS)]), Some(("memfd_create", true)));
    }

    #[test]
    fn a_call_with_another_way_may_fail_and_must_not_kill() {
        assert_eq!(first_denied(&[filter(libc::SYS_clone3, EPERM, ALLOW)]), None);
        assert_eq!(first_denied(&[filter(libc::SYS_clone3, KILL_PROCESS, ALLOW)]), Some(("clone3", true)));
    }

    #[test]
    fn of_several_filters_the_strictest_counts() {
        let filters = [filter(libc::SYS_mmap, EPERM, ALLOW), filter(libc::SYS_mmap, KILL_PROCESS, ALLOW)];
        assert_eq!(first_denied(&filters), Some(("mmap", true)));
    }

    #[test]
    fn all_operations_of_the_machine_are_known() {
        // ((((64 + 6) * 2 − 4) / 2) & 0x7e | 1) ^ 2) << 1 >> 1, through X and scratch memory; then compared.
        let program = [
            instruction(0x80, 0, 0, 0),
            instruction(0x04, 0, 0, 6),
            instruction(0x24, 0, 0, 2),
            instruction(0x14, 0, 0, 4),
            instruction(0x34, 0, 0, 2),
            instruction(0x54, 0, 0, 0x7e),
            instruction(0x44, 0, 0, 1),
            instruction(0xa4, 0, 0, 2),
            instruction(0x64, 0, 0, 1),
            instruction(0x74, 0, 0, 1),
            instruction(0x02, 0, 0, 3),
            instruction(0x61, 0, 0, 3),
            instruction(0x87, 0, 0, 0),
            instruction(0x07, 0, 0, 0),
            instruction(0x1d, 0, 1, 0),
            instruction(0x35, 1, 0, 71),
            instruction(0x06, 0, 0, KILL_PROCESS),
            instruction(0x05, 0, 0, 1),
            instruction(0x06, 0, 0, KILL_PROCESS),
            instruction(0x16, 0, 0, 0),
        ];
        let expected = ((((64 + 6) * 2 - 4) / 2) & 0x7e | 1) ^ 2;
        assert_eq!(run(&program, 0), Some(expected));
    }

    #[test]
    fn what_is_no_program_is_taken_for_the_worst() {
        for program in [
            vec![],
            vec![instruction(0x05, 0, 0, u32::MAX)],
            vec![instruction(0x20, 0, 0, 3)],
            vec![instruction(0x34, 0, 0, 0), instruction(0x06, 0, 0, ALLOW)],
            vec![instruction(0xff, 0, 0, 0)],
        ] {
            assert_eq!(answer(&program, 0), Answer::Kill, "{program:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_program_ends(
            words in proptest::collection::vec(proptest::array::uniform8(proptest::num::u8::ANY), 0..64)
        ) {
            let program: Vec<_> = words.into_iter().map(Instruction::from_bytes).collect();
            let _ = answer(&program, 9);
        }
    }
}
