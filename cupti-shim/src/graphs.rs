//! Which executable graphs were made while the shim was armed: the others are from before the agent came.
//!
//! Enters: CUPTI's numbers of executable graphs, as they are made. Leaves: a flag for the records of their work. Refuses:
//! to call a graph earlier where that cannot be told: before CUPTI 12.3, which cannot number executable graphs, and after
//! more graphs than the table remembers.
//!
//! The program's thread that makes a graph stores one word; nothing else happens outside the shim's own work.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use gpu_agent_ring::record::flag;

/// Graphs remembered. CUPTI counts them up, so that this many in a row have a place each.
const REMEMBERED: usize = 1 << 16;

/// All graphs of the process; 256 KiB that Linux only makes real where a graph is made.
pub static GRAPHS: Graphs = Graphs::new();

/// See the module.
#[derive(Debug)]
pub struct Graphs {
    /// The graph with number *n* at *n* modulo the table's length; 0 where there is none.
    places: [AtomicU32; REMEMBERED],
    /// Whether a graph has lost its place to a later one.
    forgot: AtomicBool,
    /// Whether CUPTI tells of new graphs at all.
    told: AtomicBool,
}

impl Graphs {
    /// No graph is known, and CUPTI does not tell of any.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            places: [const { AtomicU32::new(0) }; REMEMBERED],
            forgot: AtomicBool::new(false),
            told: AtomicBool::new(false),
        }
    }

    /// Whether CUPTI tells of new graphs from now on.
    pub fn set_told(&self, told: bool) {
        self.told.store(told, Ordering::Relaxed);
    }

    /// An executable graph was made.
    pub fn made(&self, id: u32) {
        let Some(place) = self.place(id).filter(|_| id != 0) else { return };
        let before = place.swap(id, Ordering::Release);
        if before != 0 && before != id {
            self.forgot.store(true, Ordering::Relaxed);
        }
    }

    /// Forgets all graphs: CUPTI, taken out of the process, may count anew.
    pub fn forget(&self) {
        for place in &self.places {
            // Loaded first, so that pages which were never written stay unmade.
            if place.load(Ordering::Relaxed) != 0 {
                place.store(0, Ordering::Relaxed);
            }
        }
        self.forgot.store(false, Ordering::Relaxed);
    }

    /// The flag of a record with this graph id, 0 outside graphs.
    #[inline]
    #[must_use]
    pub fn flag(&self, id: u32) -> u16 {
        if id == 0 { 0 } else { self.flag_of_graph(id) }
    }

    fn flag_of_graph(&self, id: u32) -> u16 {
        let known = self.place(id).is_some_and(|place| place.load(Ordering::Acquire) == id);
        if known {
            0
        } else if self.told.load(Ordering::Relaxed) && !self.forgot.load(Ordering::Relaxed) {
            flag::EARLIER_GRAPH
        } else {
            flag::UNDATED_GRAPH
        }
    }

    fn place(&self, id: u32) -> Option<&AtomicU32> {
        self.places.get(id as usize % REMEMBERED)
    }
}

impl Default for Graphs {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use gpu_agent_ring::record::flag::{EARLIER_GRAPH, UNDATED_GRAPH};

    use super::{Graphs, REMEMBERED};

    /// One that no other test uses; too large for the stack of a test.
    fn graphs() -> &'static Graphs {
        static ALL: [Graphs; 3] = [const { Graphs::new() }; 3];
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        &ALL[NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)]
    }

    #[test]
    fn a_graph_that_was_not_seen_in_the_making_is_earlier() {
        let graphs = graphs();
        graphs.set_told(true);
        graphs.made(7);
        assert_eq!([0, 7, 8].map(|id| graphs.flag(id)), [0, 0, EARLIER_GRAPH]);
        graphs.forget();
        assert_eq!(graphs.flag(7), EARLIER_GRAPH);
    }

    #[test]
    fn where_cupti_does_not_tell_no_graph_is_called_earlier() {
        let graphs = graphs();
        assert_eq!([0, 8].map(|id| graphs.flag(id)), [0, UNDATED_GRAPH]);
    }

    #[test]
    fn a_graph_that_lost_its_place_is_not_called_earlier() {
        let graphs = graphs();
        graphs.set_told(true);
        let count = REMEMBERED as u32;
        for id in 1..=count + 1 {
            graphs.made(id);
        }
        assert_eq!([1, 2, count + 1].map(|id| graphs.flag(id)), [UNDATED_GRAPH, 0, 0]);
    }
}
