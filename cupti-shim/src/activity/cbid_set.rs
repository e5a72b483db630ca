//! Which API calls the shim asks for: launches, copies, memsets, allocations, waits.
//!
//! Enters: the groups of `cupti-sys`. Leaves: sets to ask in constant time, made at compile time. Refuses: to compile
//! with an id of 1,024 or more, which no CUPTI up to 13.5 has.

use cupti_sys::{
    ALLOC_DRIVER, ALLOC_RUNTIME, DriverCbid, LAUNCH_DRIVER, LAUNCH_RUNTIME, MEMCPY_DRIVER, MEMCPY_RUNTIME,
    MEMSET_DRIVER, MEMSET_RUNTIME, RuntimeCbid, SYNC_DRIVER, SYNC_RUNTIME,
};

/// Driver functions that are asked for.
pub(crate) const DRIVER: [&[DriverCbid]; 5] =
    [LAUNCH_DRIVER, MEMCPY_DRIVER, MEMSET_DRIVER, ALLOC_DRIVER, SYNC_DRIVER];
/// Runtime functions that are asked for.
pub(crate) const RUNTIME: [&[RuntimeCbid]; 5] =
    [LAUNCH_RUNTIME, MEMCPY_RUNTIME, MEMSET_RUNTIME, ALLOC_RUNTIME, SYNC_RUNTIME];

/// The callback ids of [`DRIVER`].
pub(super) static ASKED_DRIVER: CbidSet = {
    let mut set = CbidSet::EMPTY;
    let mut groups: &[&[DriverCbid]] = &DRIVER;
    while let [group, others @ ..] = groups {
        let mut ids: &[DriverCbid] = group;
        while let [id, rest @ ..] = ids {
            set = set.with(id.0);
            ids = rest;
        }
        groups = others;
    }
    set
};

/// The callback ids of [`RUNTIME`].
pub(super) static ASKED_RUNTIME: CbidSet = {
    let mut set = CbidSet::EMPTY;
    let mut groups: &[&[RuntimeCbid]] = &RUNTIME;
    while let [group, others @ ..] = groups {
        let mut ids: &[RuntimeCbid] = group;
        while let [id, rest @ ..] = ids {
            set = set.with(id.0);
            ids = rest;
        }
        groups = others;
    }
    set
};

/// A set of callback ids of one domain.
#[derive(Debug, Clone, Copy)]
pub(super) struct CbidSet([u64; 16]);

impl CbidSet {
    const EMPTY: Self = Self([0; 16]);

    #[expect(clippy::indexing_slicing, reason = "runs at compile time only, where a wrong index is an error")]
    const fn with(mut self, cbid: u32) -> Self {
        self.0[cbid as usize / 64] |= 1 << (cbid % 64);
        self
    }

    #[inline]
    pub(super) fn contains(&self, cbid: u32) -> bool {
        self.0.get(cbid as usize / 64).is_some_and(|word| word & (1 << (cbid % 64)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launches_are_asked_for_and_context_queries_are_not() {
        assert!(ASKED_DRIVER.contains(DriverCbid::cuLaunchKernel.0));
        assert!(ASKED_RUNTIME.contains(RuntimeCbid::cudaLaunchKernel_v7000.0));
        // cuCtxGetCurrent and cudaGetDevice.
        assert!(!ASKED_DRIVER.contains(304));
        assert!(!ASKED_RUNTIME.contains(17));
        assert!(!ASKED_DRIVER.contains(u32::MAX));
    }

    #[test]
    fn the_sets_hold_exactly_the_groups() {
        let driver: Vec<u32> = DRIVER.concat().iter().map(|id| id.0).collect();
        let runtime: Vec<u32> = RUNTIME.concat().iter().map(|id| id.0).collect();
        for cbid in 0..2000 {
            assert_eq!(ASKED_DRIVER.contains(cbid), driver.contains(&cbid), "driver {cbid}");
            assert_eq!(ASKED_RUNTIME.contains(cbid), runtime.contains(&cbid), "runtime {cbid}");
        }
    }
}
