//! How much of a target's work is in CUDA graphs, and how much of that in graphs that were made before the attach.
//!
//! Enters: the places of events. Leaves: counts, and once for each target the number of such graphs, for people. Refuses: to
//! remember more than [`REMEMBERED`] graphs of a process that makes them up.

use std::collections::HashSet;

use crate::event::{Event, GraphId, GraphMade};

/// Graphs of each sort that are told apart.
const REMEMBERED: usize = 1 << 16;

/// Counts of one target; each only ever grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GraphHops {
    /// Records of graphs that were made while an agent was attached.
    pub attached: u64,
    /// Records of graphs that were made before.
    pub before: u64,
    /// Records of graphs of which CUPTI does not tell when they were made.
    pub unknown: u64,
    /// Graphs behind `before`.
    pub graphs_before: u64,
    /// Graphs behind `unknown`.
    pub graphs_unknown: u64,
}

impl GraphHops {
    /// The sum of both, field by field.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let sum = u64::saturating_add;
        Self {
            attached: sum(self.attached, other.attached),
            before: sum(self.before, other.before),
            unknown: sum(self.unknown, other.unknown),
            graphs_before: sum(self.graphs_before, other.graphs_before),
            graphs_unknown: sum(self.graphs_unknown, other.graphs_unknown),
        }
    }

    /// Graphs that were not seen in the making.
    #[must_use]
    pub fn unseen(&self) -> u64 {
        self.graphs_before.saturating_add(self.graphs_unknown)
    }
}

/// The graphs of one target that were not seen in the making.
#[derive(Debug, Default)]
pub(super) struct Graphs {
    counts: GraphHops,
    before: HashSet<GraphId>,
    unknown: HashSet<GraphId>,
    /// The graph of the latest record: the next one is mostly of the same.
    latest: GraphId,
}

impl Graphs {
    /// Counts one event, if it is work of a graph.
    #[inline]
    pub(super) fn count(&mut self, event: &Event) {
        let place = match event {
            Event::Kernel(kernel) => &kernel.place,
            Event::Memcpy(memcpy) => &memcpy.place,
            Event::Memset(memset) => &memset.place,
            Event::GraphTrace(graph) => &graph.place,
            _ => return,
        };
        if place.graph == GraphId(0) {
            return;
        }
        let counts = &mut self.counts;
        let (records, graphs, known) = match place.graph_made {
            GraphMade::Attached => {
                counts.attached += 1;
                return;
            }
            GraphMade::Before => (&mut counts.before, &mut counts.graphs_before, &mut self.before),
            GraphMade::Unknown => (&mut counts.unknown, &mut counts.graphs_unknown, &mut self.unknown),
        };
        *records += 1;
        if place.graph != self.latest && known.len() < REMEMBERED {
            *graphs += u64::from(known.insert(place.graph));
        }
        self.latest = place.graph;
    }

    pub(super) fn counts(&self) -> GraphHops {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::{GraphHops, Graphs};
    use crate::event::{Event, GraphId, GraphMade, Kernel, Place};

    fn kernel(graph: u32, graph_made: GraphMade) -> Event {
        let place = Place { graph: GraphId(graph), graph_made, ..Place::default() };
        Event::Kernel(Kernel { place, ..Kernel::default() })
    }

    #[test]
    fn records_are_counted_by_when_their_graph_was_made_and_graphs_once() {
        let mut graphs = Graphs::default();
        for (graph, made) in [
            (0, GraphMade::Attached),
            (7, GraphMade::Attached),
            (1, GraphMade::Before),
            (1, GraphMade::Before),
            (2, GraphMade::Before),
            (1, GraphMade::Before),
            (9, GraphMade::Unknown),
        ] {
            graphs.count(&kernel(graph, made));
        }
        let counts = GraphHops { attached: 1, before: 4, unknown: 1, graphs_before: 2, graphs_unknown: 1 };
        assert_eq!(graphs.counts(), counts);
        assert_eq!(counts.unseen(), 3);
    }
}
