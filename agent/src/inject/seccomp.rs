//! What a seccomp filter of a process would say to the system calls that loading the shim takes.
//!
//! Enters: filters as `PTRACE_SECCOMP_GET_FILTER` hands them out. Leaves: nothing, or the first call that is not allowed for sure. Refuses:
//! to let a filter be met unprepared: one that ends a process for an unexpected call would end it because of us.
//!
//! Of several filters the strictest answer counts. A filter sees a call's number and the words of its arguments
//! (`calls`), not what they point to. Where it asks for a word that is not known beforehand, an address or a length, it is followed
//! both ways (`program`); if they end differently, the call *depends*, and is not risked unless that is forced.

mod calls;
mod program;

use self::calls::{CALLS, Call, Need};
pub use self::program::{Answer, Instruction};
use super::Refusal;

/// By what the shim comes into the process, which differs in one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A memory file that can be executed.
    MemoryFile,
    /// A file in its root, where a memory file may not be made: the shim's ring is another one, and cannot be executed.
    File,
}

/// A call that is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied {
    /// Its name.
    pub call: &'static str,
    /// In which way.
    pub how: How,
}

/// How a call is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It fails.
    Fails,
    /// It ends the thread or process, or signals it.
    Kills,
    /// It may or may not, by words that are not known beforehand.
    Depends,
}

impl From<Denied> for Refusal {
    fn from(Denied { call, how }: Denied) -> Self {
        match how {
            How::Fails => Self::Seccomp { call, kills: false },
            How::Kills => Self::Seccomp { call, kills: true },
            How::Depends => Self::SeccompDepends { call },
        }
    }
}

/// The first call that `filters` do not let pass; what merely depends passes if that is forced.
#[must_use]
pub fn first_denied(filters: &[Vec<Instruction>], by: By, force: bool) -> Option<Denied> {
    let is_needed = |call: &&Call| match call.need {
        Need::Must | Need::May => true,
        Need::MemoryFile => by == By::MemoryFile,
        Need::File => by == By::File,
    };
    let denied = |call: &Call| Some(Denied { call: call.name, how: how(filters, call)? });
    CALLS.iter().filter(is_needed).filter_map(denied).find(|denied| !force || denied.how != How::Depends)
}

/// How `call` is denied; `None` if it passes, or may fail because there is another way.
fn how(filters: &[Vec<Instruction>], call: &Call) -> Option<How> {
    let data = call.data();
    let (mut best, mut worst) = (Answer::Allow, Answer::Allow);
    for filter in filters {
        let (at_best, at_worst) = program::answers(filter, &data);
        (best, worst) = (best.max(at_best), worst.max(at_worst));
    }
    let bearable = if call.need == Need::May { Answer::Fail } else { Answer::Allow };
    match (best, worst) {
        (_, worst) if worst <= bearable => None,
        (best, _) if best <= bearable => Some(How::Depends),
        (_, Answer::Kill) => Some(How::Kills),
        _ => Some(How::Fails),
    }
}

#[cfg(test)]
mod tests;
