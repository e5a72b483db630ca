//! What `program.c` does, in numbers. In: a summary. Out: nothing. Refuses, as a failed assertion, a recording that
//! holds anything else.

use cupti_sys::ActivityKind;
use cupti_sys::record::{MemcpyKind, MemoryOperation};

use crate::checks::Summary;

/// Length of each copy, in bytes.
const COPY_BYTES: u64 = 65_536;

/// A recording of the whole program on two simulated devices.
pub(crate) fn check_whole(summary: &Summary) {
    let count = |kind| summary.kinds.get(&kind).copied().unwrap_or(0);
    let by_name: Vec<_> =
        summary.kernels_by_name.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(by_name, [("_Z14fixture_secondILi4EEvPf", 63), ("fixture_first", 63)]);
    assert_eq!(summary.kernels_of_graphs, 6);
    let copies: Vec<_> = summary.copies.iter().map(|(kind, count)| (*kind, *count)).collect();
    let expected =
        [(MemcpyKind::HTOD, 10), (MemcpyKind::DTOH, 10), (MemcpyKind::DTOD, 1), (MemcpyKind::PTOP, 1)];
    assert_eq!(copies, expected);
    assert_eq!(summary.copied_bytes, 22 * COPY_BYTES);
    assert_eq!(count(ActivityKind::MEMSET), 10);
    let memory: Vec<_> = summary.memory.iter().map(|(operation, count)| (*operation, *count)).collect();
    assert_eq!(memory, [(MemoryOperation::ALLOCATION, 4), (MemoryOperation::RELEASE, 4)]);
    assert_eq!(summary.devices.len(), 2);
    for kind in [ActivityKind::DRIVER, ActivityKind::CONTEXT, ActivityKind::SYNCHRONIZATION] {
        assert!(count(kind) > 0, "no {kind} record");
    }
}
