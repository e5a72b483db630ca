//! Records out of the ring buffer, and what became of every hit.
//!
//! Enters: the ring buffer and the counters. Leaves: headers and payloads. Refuses: records that are no record; they are
//! counted.

use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{MapData, MapError, RingBuf};
use gpu_agent_ebpf_abi::Header;

use super::object::CounterMap;
use crate::decode::ebpf::decode;

pub use gpu_agent_ebpf_abi::Counters;

/// The reader of the ring buffer.
pub struct Drain {
    records: RingBuf<MapData>,
    counters: CounterMap,
    malformed: u64,
}

impl Drain {
    pub(super) fn new(records: RingBuf<MapData>, counters: CounterMap) -> Self {
        Self { records, counters, malformed: 0 }
    }

    /// Hands out the records that wait, `max` at most; returns how many it took from the ring.
    pub fn drain(&mut self, max: usize, mut each: impl FnMut(&Header, &[u8])) -> usize {
        let mut taken = 0;
        while taken < max
            && let Some(record) = self.records.next()
        {
            taken += 1;
            match decode(&record) {
                Ok((header, payload)) => each(&header, payload),
                Err(_) => self.malformed += 1,
            }
        }
        taken
    }

    /// Records that were no record. The BPF programs make none.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// What became of hits, for each CPU.
    pub fn counters_by_cpu(&self) -> Result<Vec<Counters>, MapError> {
        let values = self.counters.get(&0, 0)?;
        Ok(values.iter().map(|words| zerocopy::transmute!(*words)).collect())
    }

    /// What became of hits.
    pub fn counters(&self) -> Result<Counters, MapError> {
        Ok(self.counters_by_cpu()?.iter().fold(Counters::default(), |sum, one| Counters {
            hits: sum.hits + one.hits,
            filtered: sum.filtered + one.filtered,
            unknown: sum.unknown + one.unknown,
            emitted: sum.emitted + one.emitted,
            lost: sum.lost + one.lost,
            faulted_reads: sum.faulted_reads + one.faulted_reads,
        }))
    }
}

impl AsFd for Drain {
    /// Becomes readable, edge-triggered, when more than [`gpu_agent_ebpf_abi::WAKE_BYTES`] wait. Below that nobody is woken,
    /// which makes probes cheap: the reader looks by itself, every now and then.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.records.as_fd()
    }
}
