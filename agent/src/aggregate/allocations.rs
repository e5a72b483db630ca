//! Which address holds how many bytes of which memory: pairs allocations with frees.
//!
//! Enters: allocations and frees. Leaves: what a free gives back. Refuses: to grow past its limit; allocations beyond it
//! are not tracked, and counted.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::event::{DeviceId, MemoryKind, TargetId};

/// One live allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allocation {
    pub(super) device: DeviceId,
    pub(super) memory: MemoryKind,
    pub(super) size_bytes: u64,
}

/// Live allocations of all targets.
#[derive(Debug)]
pub(super) struct Allocations {
    live: HashMap<(TargetId, u64), Allocation, foldhash::fast::RandomState>,
    limit: usize,
    untracked: u64,
}

/// What an allocation did to the table.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// It is tracked.
    New,
    /// It is tracked; the free of an older one at its address was never seen.
    Replaced(Allocation),
    /// There was no room.
    Untracked,
}

impl Allocations {
    pub(super) fn new(limit: usize) -> Self {
        Self { live: HashMap::default(), limit, untracked: 0 }
    }

    pub(super) fn add(&mut self, target: TargetId, address: u64, allocation: Allocation) -> Added {
        let full = self.live.len() >= self.limit;
        match self.live.entry((target, address)) {
            Entry::Occupied(mut entry) => Added::Replaced(entry.insert(allocation)),
            Entry::Vacant(_) if full => {
                self.untracked += 1;
                Added::Untracked
            }
            Entry::Vacant(entry) => {
                entry.insert(allocation);
                Added::New
            }
        }
    }

    pub(super) fn remove(&mut self, target: TargetId, address: u64) -> Option<Allocation> {
        self.live.remove(&(target, address))
    }

    /// Forgets a target that has ended.
    pub(super) fn forget(&mut self, target: TargetId) {
        self.live.retain(|&(owner, _), _| owner != target);
        self.live.shrink_to(self.live.len() * 2);
    }

    pub(super) fn untracked(&self) -> u64 {
        self.untracked
    }
}

#[cfg(test)]
mod tests {
    use super::{Added, Allocation, Allocations};
    use crate::event::{DeviceId, MemoryKind, TargetId};

    const TARGET: TargetId = TargetId(0);

    fn allocation(size_bytes: u64) -> Allocation {
        Allocation { device: DeviceId(0), memory: MemoryKind::Device, size_bytes }
    }

    #[test]
    fn a_free_gives_back_what_was_allocated() {
        let mut table = Allocations::new(10);
        assert_eq!(table.add(TARGET, 4096, allocation(100)), Added::New);
        assert_eq!(table.remove(TARGET, 4096), Some(allocation(100)));
        assert_eq!(table.remove(TARGET, 4096), None, "a free without its allocation");
    }

    #[test]
    fn an_address_given_out_twice_replaces() {
        let mut table = Allocations::new(10);
        table.add(TARGET, 4096, allocation(100));
        assert_eq!(table.add(TARGET, 4096, allocation(50)), Added::Replaced(allocation(100)));
    }

    #[test]
    fn a_full_table_tracks_no_more_and_counts() {
        let mut table = Allocations::new(2);
        for address in 0..5 {
            table.add(TARGET, address, allocation(1));
        }
        assert_eq!(table.untracked(), 3);
        table.forget(TARGET);
        assert_eq!(table.add(TARGET, 9, allocation(1)), Added::New);
    }
}
