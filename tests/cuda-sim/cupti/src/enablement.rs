//! What is enabled: activity kinds, API calls by callback id, and the graph-level mode that outlives its kind.
//!
//! Enters: the enabling calls of the client. Leaves: yes-or-no answers for each record, and the bits that the driver
//! must serve. Refuses: a kind that the release does not have.
//!
//! | key of the table | set by | cleared by |
//! |---|---|---|
//! | kind | `cuptiActivityEnable` | `cuptiActivityDisable`, `cuptiFinalize` |
//! | call | kind DRIVER or RUNTIME (all of them), `cuptiActivityEnableDriverApi`/`RuntimeApi` (one) | the same |
//! | graph level | kind GRAPH_TRACE | `cuptiSubscribe`, `cuptiFinalize`; **not** `cuptiActivityDisable` |

use crate::kind;
use crate::status::Status;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use cuda_sim_abi::{domain, wanted};

/// Greatest driver cbid + 1 (13.5).
pub(crate) const DRIVER_CALLS: u32 = 877;
/// Greatest runtime cbid + 1 (13.5).
pub(crate) const RUNTIME_CALLS: u32 = 567;

/// A set of callback ids below 1,024.
#[derive(Default)]
pub(crate) struct Calls {
    words: [AtomicU64; 16],
}

impl Calls {
    /// Adds or removes one id; whether it is below `limit`.
    pub(crate) fn set(&self, cbid: u32, on: bool, limit: u32) -> bool {
        let word = self.words.get(cbid as usize / 64).filter(|_| cbid < limit);
        let Some(word) = word else { return false };
        let bit = 1 << (cbid % 64);
        if on {
            word.fetch_or(bit, Ordering::Relaxed)
        } else {
            word.fetch_and(!bit, Ordering::Relaxed)
        };
        true
    }

    /// Adds or removes all.
    pub(crate) fn set_all(&self, on: bool) {
        for word in &self.words {
            word.store(if on { u64::MAX } else { 0 }, Ordering::Relaxed);
        }
    }

    /// Whether the id is in the set.
    #[inline]
    pub(crate) fn contains(&self, cbid: u32) -> bool {
        let word = self.words.get(cbid as usize / 64);
        word.is_some_and(|word| word.load(Ordering::Relaxed) & (1 << (cbid % 64)) != 0)
    }

    /// Whether the set is not empty.
    pub(crate) fn any(&self) -> bool {
        self.words.iter().any(|word| word.load(Ordering::Relaxed) != 0)
    }
}

/// What a client has enabled.
#[derive(Default)]
pub(crate) struct Enablement {
    kinds: AtomicU64,
    graph_level: AtomicBool,
    driver_calls: Calls,
    runtime_calls: Calls,
}

impl Enablement {
    /// Enables or disables a kind, 1 to `newest_kind`.
    pub(crate) fn set_kind(&self, activity_kind: u32, on: bool, newest_kind: u32) -> Status {
        if activity_kind == 0 || activity_kind > newest_kind {
            return Status::INVALID_KIND;
        }
        let bit = 1 << activity_kind;
        if on {
            self.kinds.fetch_or(bit, Ordering::SeqCst)
        } else {
            self.kinds.fetch_and(!bit, Ordering::SeqCst)
        };
        match activity_kind {
            kind::DRIVER => self.driver_calls.set_all(on),
            kind::RUNTIME => self.runtime_calls.set_all(on),
            kind::GRAPH_TRACE if on => self.graph_level.store(true, Ordering::SeqCst),
            _ => {}
        }
        Status::SUCCESS
    }

    /// Enables or disables the record of one API call.
    pub(crate) fn set_call(&self, call_domain: u32, cbid: u32, on: bool) -> Status {
        let known = match call_domain {
            domain::DRIVER => self.driver_calls.set(cbid, on, DRIVER_CALLS),
            _ => self.runtime_calls.set(cbid, on, RUNTIME_CALLS),
        };
        if known { Status::SUCCESS } else { Status::INVALID_PARAMETER }
    }

    /// Whether records of that kind are collected. For DRIVER and RUNTIME see [`Enablement::records_call`].
    #[inline]
    pub(crate) fn is_enabled(&self, activity_kind: u32) -> bool {
        activity_kind < u64::BITS && self.kinds.load(Ordering::Relaxed) & (1 << activity_kind) != 0
    }

    /// Whether that API call leaves a record.
    #[inline]
    pub(crate) fn records_call(&self, call_domain: u32, cbid: u32) -> bool {
        match call_domain {
            domain::DRIVER => self.driver_calls.contains(cbid),
            _ => self.runtime_calls.contains(cbid),
        }
    }

    /// Whether graphs are traced as wholes.
    #[inline]
    pub(crate) fn is_graph_level(&self) -> bool {
        self.graph_level.load(Ordering::Relaxed)
    }

    /// Back to node level: a new session begins.
    pub(crate) fn leave_graph_level(&self) {
        self.graph_level.store(false, Ordering::SeqCst);
    }

    /// Disables everything.
    pub(crate) fn clear(&self) {
        self.kinds.store(0, Ordering::SeqCst);
        self.driver_calls.set_all(false);
        self.runtime_calls.set_all(false);
        self.leave_graph_level();
    }

    /// The bits of [`wanted`] that the enabled kinds need. With nothing enabled: none.
    pub(crate) fn wanted(&self) -> u64 {
        let any = |kinds: &[u32]| kinds.iter().any(|&kind| self.is_enabled(kind));
        let needs = [
            (self.driver_calls.any(), wanted::DRIVER_API),
            (self.runtime_calls.any(), wanted::RUNTIME_API),
            (any(&[kind::KERNEL, kind::CONCURRENT_KERNEL]), wanted::KERNEL),
            (any(&[kind::MEMCPY, kind::MEMCPY2]), wanted::MEMCPY),
            (any(&[kind::MEMSET]), wanted::MEMSET),
            (any(&[kind::MEMORY2]), wanted::MEMORY),
            (any(&[kind::SYNCHRONIZATION]), wanted::SYNC),
            (any(&[kind::GRAPH_TRACE]), wanted::GRAPH),
            (any(&[kind::CONTEXT, kind::STREAM]), wanted::RESOURCE),
        ];
        let bits = needs.iter().filter(|(needed, _)| *needed).fold(0, |bits, (_, bit)| bits | bit);
        // Not on the launch path, and lets handles be translated to ids.
        let bits = if bits == 0 { 0 } else { bits | wanted::RESOURCE };
        // At graph level the driver must go on making no node records, even when nobody wants the graph's own.
        let nodes = bits & (wanted::KERNEL | wanted::MEMCPY | wanted::MEMSET) != 0;
        if self.is_graph_level() && nodes { bits | wanted::GRAPH } else { bits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enabled(kinds: &[u32]) -> Enablement {
        let enablement = Enablement::default();
        for &kind in kinds {
            assert_eq!(enablement.set_kind(kind, true, 52), Status::SUCCESS);
        }
        enablement
    }

    #[test]
    fn nothing_enabled_wants_nothing() {
        assert_eq!(enabled(&[]).wanted(), 0);
    }

    #[test]
    fn kinds_outside_the_release_are_refused() {
        let enablement = Enablement::default();
        for kind in [0, 53, 64, u32::MAX] {
            assert_eq!(enablement.set_kind(kind, true, 52), Status::INVALID_KIND, "{kind}");
        }
        assert_eq!(enablement.wanted(), 0);
    }

    #[test]
    fn graph_level_outlives_its_kind() {
        let enablement = enabled(&[kind::CONCURRENT_KERNEL, kind::GRAPH_TRACE]);
        enablement.set_kind(kind::GRAPH_TRACE, false, 52);
        assert!(enablement.is_graph_level());
        assert_eq!(enablement.wanted(), wanted::KERNEL | wanted::GRAPH | wanted::RESOURCE);
        enablement.set_kind(kind::CONCURRENT_KERNEL, false, 52);
        assert_eq!(enablement.wanted(), 0);
        enablement.clear();
        assert!(!enablement.is_graph_level());
    }

    #[test]
    fn one_call_without_the_kind_and_all_calls_but_one() {
        let enablement = Enablement::default();
        assert_eq!(enablement.set_call(domain::DRIVER, 307, true), Status::SUCCESS);
        assert!(enablement.records_call(domain::DRIVER, 307));
        assert!(!enablement.records_call(domain::DRIVER, 308));
        assert_eq!(enablement.wanted(), wanted::DRIVER_API | wanted::RESOURCE);
        enablement.set_kind(kind::RUNTIME, true, 52);
        enablement.set_call(domain::RUNTIME, 211, false);
        assert!(
            !enablement.records_call(domain::RUNTIME, 211) && enablement.records_call(domain::RUNTIME, 212)
        );
        assert_eq!(enablement.set_call(domain::RUNTIME, RUNTIME_CALLS, true), Status::INVALID_PARAMETER);
    }

    #[test]
    fn the_kind_overrides_earlier_calls() {
        let enablement = Enablement::default();
        enablement.set_call(domain::DRIVER, 307, true);
        enablement.set_kind(kind::DRIVER, false, 52);
        assert!(!enablement.records_call(domain::DRIVER, 307));
    }
}
