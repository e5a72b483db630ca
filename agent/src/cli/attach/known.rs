//! What `attach --all` knows of the processes of the host: which of them are worth a closer look now.
//!
//! Enters: a [`Glance`] at each process, what closer looks found, the time. Leaves: processes to look at. Refuses: to look again
//! where nothing can have changed; to remember who has ended.
//!
//! ```text
//!                 ┌────────── its address space changed, or SLOW_LOOK is over ─────────┐
//!  new program ─► Asked ─► NoCuda ───────────────────────────────────────────────────► Asked
//!                    ├───► Later ─── its pause is over; the next is twice as long ────► Asked
//!                    └───► Settled: attached, or refused for good
//! ```
//! Whatever it was, another program in the same process (`exec`), or another process with the same pid, begins anew.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::event::Pid;
use crate::identity::{Glance, Program};

/// A process without CUDA is looked at this often though nothing seems to have changed.
const SLOW_LOOK: Duration = Duration::from_secs(30);
/// Pause after the first try that failed, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));

/// One program in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) pid: Pid,
    start_time_ticks: u64,
    program: Option<Program>,
}

/// What a closer look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// No CUDA.
    NoCuda,
    /// CUDA, and it cannot be attached to for now.
    Later,
    /// Attached, or refused for good.
    Settled,
}

#[derive(Debug, Clone, Copy)]
enum Standing {
    Asked { next_pause: Duration },
    NoCuda { until: Instant },
    Later { until: Instant, next_pause: Duration },
    Settled,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    subject: Subject,
    address_space_bytes: u64,
    standing: Standing,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Known {
    own: Pid,
    entries: HashMap<Pid, Entry>,
}

impl Known {
    /// Nothing; `own` and its children are never looked at.
    pub(super) fn new(own: Pid) -> Self {
        Self { own, entries: HashMap::new() }
    }

    /// Takes in a glance at all processes; those to look at now.
    pub(super) fn due(
        &mut self,
        now: Instant,
        processes: impl Iterator<Item = (Pid, Glance)>,
    ) -> Vec<Subject> {
        let mut due = Vec::new();
        let mut entries = HashMap::with_capacity(self.entries.len());
        for (pid, glance) in processes {
            // Linux's own threads have no address space.
            if pid == self.own || glance.parent == self.own || glance.address_space_bytes == 0 {
                continue;
            }
            let Glance { start_time_ticks, program, address_space_bytes, .. } = glance;
            let subject = Subject { pid, start_time_ticks, program };
            let before = self.entries.get(&pid).filter(|entry| entry.subject == subject);
            let (asks, standing) = next(before, address_space_bytes, now);
            if asks {
                due.push(subject);
            }
            entries.insert(pid, Entry { subject, address_space_bytes, standing });
        }
        self.entries = entries;
        due
    }

    /// Takes in what a look found; whether that is news where it was in vain: the first time, and when it is for good.
    pub(super) fn hear(&mut self, now: Instant, subject: Subject, finding: Finding) -> bool {
        let Some(entry) = self.entries.get_mut(&subject.pid).filter(|entry| entry.subject == subject) else {
            return false;
        };
        let Standing::Asked { next_pause } = entry.standing else { return false };
        entry.standing = match finding {
            Finding::NoCuda => Standing::NoCuda { until: now + SLOW_LOOK },
            Finding::Later => {
                Standing::Later { until: now + next_pause, next_pause: (next_pause * 2).min(PAUSES.1) }
            }
            Finding::Settled => Standing::Settled,
        };
        next_pause == PAUSES.0 || finding == Finding::Settled
    }
}

/// Whether the program is to be looked at now, and how it stands then.
fn next(before: Option<&Entry>, address_space_bytes: u64, now: Instant) -> (bool, Standing) {
    let asked = |next_pause| (true, Standing::Asked { next_pause });
    let Some(before) = before else { return asked(PAUSES.0) };
    match before.standing {
        Standing::NoCuda { until } if before.address_space_bytes != address_space_bytes || until <= now => {
            asked(PAUSES.0)
        }
        Standing::Later { until, next_pause } if until <= now => asked(next_pause),
        standing => (false, standing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Pid = Pid(10);

    fn process(pid: u32, start_time_ticks: u64, address_space_bytes: u64) -> (Pid, Glance) {
        (Pid(pid), Glance { parent: Pid(1), start_time_ticks, program: None, address_space_bytes })
    }

    fn pids(due: &[Subject]) -> Vec<u32> {
        due.iter().map(|subject| subject.pid.0).collect()
    }

    #[test]
    fn a_process_is_looked_at_once_until_its_address_space_changes() {
        let (mut known, now) = (Known::new(OWN), Instant::now());
        let due = known.due(now, [process(20, 1, 100)].into_iter());
        assert_eq!(pids(&due), [20]);
        assert!(known.due(now, [process(20, 1, 200)].into_iter()).is_empty(), "it is being looked at");
        known.hear(now, due[0], Finding::NoCuda);
        assert!(known.due(now, [process(20, 1, 200)].into_iter()).is_empty());
        assert_eq!(pids(&known.due(now, [process(20, 1, 300)].into_iter())), [20]);
    }

    #[test]
    fn a_change_while_it_was_looked_at_is_not_missed() {
        let (mut known, now) = (Known::new(OWN), Instant::now());
        let due = known.due(now, [process(20, 1, 100)].into_iter());
        known.hear(now, due[0], Finding::NoCuda);
        assert_eq!(pids(&known.due(now, [process(20, 1, 200)].into_iter())), [20]);
    }

    #[test]
    fn without_any_change_it_is_looked_at_again_after_a_while() {
        let (mut known, now) = (Known::new(OWN), Instant::now());
        let due = known.due(now, [process(20, 1, 100)].into_iter());
        known.hear(now, due[0], Finding::NoCuda);
        assert_eq!(pids(&known.due(now + SLOW_LOOK, [process(20, 1, 100)].into_iter())), [20]);
    }

    #[test]
    fn a_settled_process_is_looked_at_again_only_as_another_program_or_process() {
        let (mut known, now) = (Known::new(OWN), Instant::now());
        let due = known.due(now, [process(20, 1, 100)].into_iter());
        known.hear(now, due[0], Finding::Settled);
        assert!(known.due(now + SLOW_LOOK, [process(20, 1, 900)].into_iter()).is_empty());
        let own = Glance::at(Pid(std::process::id())).unwrap();
        let after_exec = (Pid(20), Glance { parent: Pid(1), start_time_ticks: 1, ..own });
        let due = known.due(now, [after_exec].into_iter());
        assert_eq!(pids(&due), [20]);
        known.hear(now, due[0], Finding::Settled);
        assert_eq!(pids(&known.due(now, [process(20, 2, 100)].into_iter())), [20]);
    }

    #[test]
    fn pauses_after_failures_grow_to_a_limit_and_only_the_first_failure_is_news() {
        let (mut known, mut now) = (Known::new(OWN), Instant::now());
        let (mut pauses, mut news) = (Vec::new(), Vec::new());
        let mut due = known.due(now, [process(20, 1, 100)].into_iter());
        for _ in 0..5 {
            news.push(known.hear(now, due[0], Finding::Later));
            let failed = now;
            due = loop {
                now += Duration::from_millis(500);
                let due = known.due(now, [process(20, 1, 100)].into_iter());
                if !due.is_empty() {
                    break due;
                }
            };
            pauses.push((now - failed).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 8]);
        assert_eq!(news, [true, false, false, false, false]);
    }

    #[test]
    fn a_refusal_for_good_is_news_though_there_were_others_before() {
        let (mut known, mut now) = (Known::new(OWN), Instant::now());
        let mut due = known.due(now, [process(20, 1, 100)].into_iter());
        assert!(known.hear(now, due[0], Finding::Later));
        now += PAUSES.1;
        due = known.due(now, [process(20, 1, 100)].into_iter());
        assert!(!known.hear(now, due[0], Finding::Later));
        now += PAUSES.1;
        due = known.due(now, [process(20, 1, 100)].into_iter());
        assert!(known.hear(now, due[0], Finding::Settled));
        assert!(!known.hear(now, due[0], Finding::Settled), "nobody asked");
    }

    #[test]
    fn what_a_look_found_in_a_program_that_is_gone_says_nothing_of_the_next() {
        let (mut known, now) = (Known::new(OWN), Instant::now());
        let due = known.due(now, [process(20, 1, 100)].into_iter());
        assert_eq!(pids(&known.due(now, [process(20, 2, 100)].into_iter())), [20]);
        known.hear(now, due[0], Finding::Settled);
        let later = now + SLOW_LOOK;
        known.hear(now, Subject { start_time_ticks: 2, ..due[0] }, Finding::NoCuda);
        assert_eq!(pids(&known.due(later, [process(20, 2, 100)].into_iter())), [20]);
    }

    #[test]
    fn the_agent_its_children_and_threads_of_linux_are_left_alone_and_the_dead_forgotten() {
        let (mut known, now) = (Known::new(OWN), Instant::now());
        let child = (Pid(11), Glance { parent: OWN, ..process(11, 1, 100).1 });
        let all = [process(10, 1, 100), child, process(2, 1, 0), process(20, 1, 100)];
        assert_eq!(pids(&known.due(now, all.into_iter())), [20]);
        assert!(known.due(now, std::iter::empty()).is_empty());
        assert!(known.entries.is_empty());
    }
}
