//! Which thread of a process is borrowed: one at rest, outside of what must not be interrupted.
//!
//! Enters: `/proc/PID/task/*/syscall`, the process's mappings, the top of each stack. Leaves: threads, the best first. Refuses:
//! threads that run; threads that wait for a lock, in the allocator or in the dynamic linker, because they may hold a lock
//! that `pthread_create` wants, and threads in a handler, because what it interrupted may; threads on a stack with no room
//! (Go's goroutines).

use std::fs;
use std::io;
use std::ops::Range;

use super::Error;
use super::arch::{Arch, Gadgets, MAX_FRAME_BYTES, Rest};
use super::door::{Door, Tid};
use crate::event::Pid;

/// Words of the stack in which a return address into forbidden code is looked for: the frames of the innermost calls.
const LOOK_WORDS: usize = 32;
/// Most threads that are looked at.
const MOST_THREADS: usize = 4096;
/// Where Go keeps its heap, and the small stacks of its goroutines in it (`runtime/malloc.go`, arena hints).
const GO_HEAP: Range<u64> = 0xc0_0000_0000..0xe0_0000_0000;

/// Bytes of the stack in which the return of a handler is looked for.
const HANDLER_BYTES: usize = 64 << 10;

/// A thread that may be borrowed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// It has real-time priority, or not all of its process's processors; a thread that it makes inherits that.
    pub is_special: bool,
    /// How it waits; the best is the least.
    pub rest: Rest,
    /// It.
    pub tid: Tid,
    /// Stack pointer and program counter, by which it is known to be where it was.
    pub position: (u64, u64),
    /// What was read of it.
    seen: String,
}

/// What of a process's memory matters to the choice.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Mappings without a file, where stacks are.
    pub anonymous: Vec<Range<u64>>,
    /// Code of the dynamic linker and of the allocator.
    pub forbidden: Vec<Range<u64>>,
    /// By which handlers return, and where, if it is there.
    pub gadgets: Gadgets,
    /// Code of the kernel's own.
    pub vdso: Range<u64>,
}

/// The threads that may be borrowed now, the best first.
pub fn candidates<D: Door, A: Arch>(door: &D, pid: Pid, memory: &Memory) -> Result<Vec<Candidate>, Error> {
    let path = format!("/proc/{pid}/task");
    let entries = fs::read_dir(&path).map_err(|source| unreadable(pid, path, source))?;
    let tids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().map(Tid));
    let mut found: Vec<Candidate> = tids
        .take(MOST_THREADS)
        .filter_map(|tid| {
            // A thread may end between two looks.
            let seen = doing(pid, tid)?;
            let (rest, position) = at_rest::<A>(&seen, memory)?;
            let is_special = is_special(pid, tid);
            may_be_borrowed::<D, A>(door, pid, position.0, memory).then_some(Candidate {
                is_special,
                rest,
                tid,
                position,
                seen,
            })
        })
        .collect();
    found.sort_unstable();
    Ok(found)
}

fn doing(pid: Pid, tid: Tid) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/task/{}/syscall", tid.0)).ok()
}

impl Candidate {
    /// Whether the thread still does what it was seen at; others have been looked at since.
    #[must_use]
    pub fn is_still_there(&self, pid: Pid) -> bool {
        doing(pid, self.tid).is_some_and(|now| now == self.seen)
    }
}

/// Whether the thread has real-time priority (proc(5), field 41 of `stat`), or other processors than its process's first.
fn is_special(pid: Pid, tid: Tid) -> bool {
    let text = |tid: u32, file: &str| {
        fs::read_to_string(format!("/proc/{pid}/task/{tid}/{file}")).unwrap_or_default()
    };
    let stat = text(tid.0, "stat");
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let policy = after_name.split_ascii_whitespace().nth(38).and_then(|field| field.parse::<i32>().ok());
    let is_ordinary = matches!(policy, Some(libc::SCHED_OTHER | libc::SCHED_BATCH | libc::SCHED_IDLE));
    let processors = |tid: u32| {
        let status = text(tid, "status");
        status.lines().find_map(|line| line.strip_prefix("Cpus_allowed:")).map(str::to_owned)
    };
    !is_ordinary || processors(tid.0) != processors(pid.0)
}

/// How the thread waits whose `/proc/PID/task/TID/syscall` this is, and its stack pointer and program counter; `None` for one that may
/// not be borrowed. proc(5): number, six arguments, stack pointer, program counter; `running` or `-1 …` in no system call.
#[must_use]
pub fn at_rest<A: Arch>(line: &str, memory: &Memory) -> Option<(Rest, (u64, u64))> {
    let mut fields = line.split_ascii_whitespace();
    let number = fields.next()?.parse().ok()?;
    let mut arguments = [0; 6];
    for argument in &mut arguments {
        *argument = hexadecimal(fields.next()?)?;
    }
    let (stack, code) = position(line)?;
    let frame = MAX_FRAME_BYTES as u64 + A::RED_ZONE_BYTES;
    let has_room = memory.anonymous.iter().any(|range| range.contains(&stack) && stack - range.start > frame);
    let is_allowed = !memory.forbidden.iter().any(|range| range.contains(&code)) && !GO_HEAP.contains(&stack);
    let rest = A::rest(number, &arguments).filter(|_| has_room && is_allowed)?;
    Some((rest, (stack, code)))
}

fn position(line: &str) -> Option<(u64, u64)> {
    let mut fields = line.split_ascii_whitespace().rev();
    let code = hexadecimal(fields.next()?)?;
    Some((hexadecimal(fields.next()?)?, code))
}

/// Whether none of the innermost calls is in forbidden code, and none further out was interrupted by a handler: what that
/// was is not known.
fn may_be_borrowed<D: Door, A: Arch>(door: &D, pid: Pid, stack: u64, memory: &Memory) -> bool {
    let Some(end) = memory.anonymous.iter().find(|range| range.contains(&stack)).map(|range| range.end)
    else {
        return false;
    };
    let mut bytes = vec![0; HANDLER_BYTES.min(end.saturating_sub(stack) as usize)];
    let Ok(length) = door.read(pid, stack, &mut bytes) else { return false };
    let (words, _) = bytes.get(..length).unwrap_or_default().as_chunks::<8>();
    let stack: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let is_forbidden = |address: &u64| memory.forbidden.iter().any(|range| range.contains(address));
    !stack.iter().take(LOOK_WORDS).any(is_forbidden)
        && !A::is_in_handler(&stack, &memory.gadgets, &memory.vdso)
}

fn hexadecimal(field: &str) -> Option<u64> {
    u64::from_str_radix(field.strip_prefix("0x")?, 16).ok()
}

fn unreadable(pid: Pid, path: String, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::NotFound => Error::Gone { pid },
        _ => Error::Proc { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::super::arch::X86_64;
    use super::*;

    const STACK: Range<u64> = 0x7ffd_0000_0000..0x7ffd_0010_0000;

    fn rest(line: &str) -> Option<Rest> {
        let memory = Memory {
            anonymous: vec![STACK, 0xc0_0000_0000..0xc0_1000_0000],
            forbidden: vec![0x7f10_0000_0000..0x7f10_0003_0000, 0x7f20_0000_0000..0x7f20_0000_1000],
            ..Memory::default()
        };
        at_rest::<X86_64>(line, &memory).map(|(rest, _)| rest)
    }

    #[test]
    fn threads_that_wait_for_events_are_candidates_by_how_they_wait() {
        let poll = "7 0x7f00 0x1 0xffffffff 0x0 0x0 0x0 0x7ffd0000f000 0x7f0000001234\n";
        assert_eq!(rest(poll), Some(Rest::Endless));
        let nanosleep = "230 0x0 0x0 0x7f 0x7f 0x0 0x0 0x7ffd0000f000 0x7f0000001234\n";
        assert_eq!(rest(nanosleep), Some(Rest::Timed));
        let epoll = "232 0x5 0x7f 0x10 0xffffffff 0x0 0x0 0x7ffd0000f000 0x7f0000001234\n";
        assert_eq!(rest(epoll), Some(Rest::Fragile));
        let condition = "202 0x7f 0x189 0x0 0x0 0x0 0xffffffff 0x7ffd0000f000 0x7f0000001234\n";
        assert_eq!(rest(condition), Some(Rest::Endless));
    }

    #[test]
    fn threads_that_run_or_wait_for_a_lock_are_none() {
        assert_eq!(rest("running\n"), None);
        assert_eq!(rest("-1 0x7ffd0000f000 0x7f0000001234\n"), None);
        let lock = "202 0x7f 0x80 0x2 0x0 0x0 0x0 0x7ffd0000f000 0x7f0000001234\n";
        assert_eq!(rest(lock), None);
        let mmap = "9 0x0 0x1000 0x3 0x22 0xffffffffffffffff 0x0 0x7ffd0000f000 0x7f0000001234\n";
        assert_eq!(rest(mmap), None);
    }

    #[test]
    fn threads_in_the_dynamic_linker_or_without_room_on_their_stack_are_none() {
        let at = |stack: &str, code: &str| format!("7 0x7f00 0x1 0xffffffff 0x0 0x0 0x0 {stack} {code}\n");
        assert_eq!(rest(&at("0x7ffd0000f000", "0x7f1000001234")), None, "in the dynamic linker");
        assert_eq!(rest(&at("0x7ffd00001000", "0x7f0000001234")), None, "4 KiB of stack are left");
        assert_eq!(rest(&at("0x555500001000", "0x7f0000001234")), None, "no stack");
        assert_eq!(rest(&at("0xc000100000", "0x7f0000001234")), None, "a goroutine's");
    }

    #[test]
    fn garbage_is_no_thread() {
        for line in
            ["", "\n", "7", "7 0x1", "7 1 2 3 4 5 6 7 8", "0x7 0x0 0x0 0x0 0x0 0x0 0x0 0x7ffd0000f000 0x1"]
        {
            assert_eq!(rest(line), None, "{line:?}");
        }
    }
}
