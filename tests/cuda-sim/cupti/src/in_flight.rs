//! Work that was enqueued and has not ended: where its record waits for its times.
//!
//! Enters: sequence numbers of the driver. Leaves: the place of the record of each. Refuses: nothing. Sharded, so that
//! the launching thread and the devices' threads seldom meet.

use crate::buffer::Buffer;
use crate::locks::hold;
use core::hash::{BuildHasherDefault, Hasher};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

const SHARDS: u64 = 64;

type Shard = HashMap<u64, Ticket, BuildHasherDefault<Spread>>;

/// Where an incomplete record stands.
pub(crate) struct Place {
    /// The buffer.
    pub(crate) buffer: Arc<Buffer>,
    /// Offset of the record in it, bytes.
    pub(crate) offset: usize,
    /// The record's length, bytes.
    pub(crate) len: usize,
}

/// Fate of the record of one piece of work.
pub(crate) enum Ticket {
    /// It stands there without times.
    Incomplete(Place),
    /// It was dropped, and has been counted.
    Dropped,
    /// It stands there and keeps no times, on purpose, or was left out because its kind is not enabled.
    Settled,
}

/// All work in flight.
#[derive(Default)]
pub(crate) struct InFlight {
    shards: Vec<Mutex<Shard>>,
}

impl InFlight {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// Remembers the record of the work numbered `sequence`.
    pub(crate) fn insert(&self, sequence: u64, ticket: Ticket) {
        if let Some(shard) = self.shard(sequence) {
            hold(shard).insert(sequence, ticket);
        }
    }

    /// Forgets and returns it; `None` for work whose enqueue was not announced.
    pub(crate) fn remove(&self, sequence: u64) -> Option<Ticket> {
        hold(self.shard(sequence)?).remove(&sequence)
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            *hold(shard) = Shard::default();
        }
    }

    fn shard(&self, sequence: u64) -> Option<&Mutex<Shard>> {
        self.shards.get(usize::try_from(sequence % SHARDS).ok()?)
    }
}

/// Hash of a sequence number: consecutive numbers of a shard differ by [`SHARDS`], so they are spread by a multiply.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(26);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_given_back_once() {
        let in_flight = InFlight::new();
        for sequence in 0..1000 {
            in_flight.insert(sequence, Ticket::Dropped);
        }
        for sequence in 0..1000 {
            assert!(matches!(in_flight.remove(sequence), Some(Ticket::Dropped)));
            assert!(in_flight.remove(sequence).is_none());
        }
    }

    #[test]
    fn nothing_is_left_after_clear() {
        let in_flight = InFlight::new();
        in_flight.insert(3, Ticket::Settled);
        in_flight.clear();
        assert!(in_flight.remove(3).is_none());
    }
}
