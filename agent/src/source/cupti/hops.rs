//! What became of a target's records, from CUPTI to events.
//!
//! Enters: counts. Leaves: their sums. Refuses: to merge losses of different kinds.

use super::graphs::GraphHops;

/// Records since the attachment, by stage and fate. Each only ever grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hops {
    /// CUPTI handed them to the shim.
    pub seen: u64,
    /// CUPTI dropped them.
    pub cupti_dropped: u64,
    /// The shim wrote them to the ring.
    pub emitted: u64,
    /// The shim did not know their kind.
    pub shim_unknown: u64,
    /// The shim found them too short.
    pub shim_malformed: u64,
    /// The shim's budget was spent.
    pub over_budget: u64,
    /// The shim's own records: devices, contexts, sessions.
    pub metadata: u64,
    /// The agent read them from the ring.
    pub read: u64,
    /// They were overwritten before that.
    pub lost: u64,
    /// They became events.
    pub decoded: u64,
    /// The agent did not know their kind.
    pub unknown: u64,
    /// The agent found them contradicting themselves.
    pub malformed: u64,
    /// Names that did not fit into the ring.
    pub names_full: u64,
    /// CPU time of the shim for copying, ns.
    pub shim_copy_ns: u64,
    /// Errors of CUPTI calls in the shim.
    pub cupti_errors: u64,
    /// Records of work in CUDA graphs.
    pub graphs: GraphHops,
}

impl Hops {
    /// The sum of both, field by field.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let sum = u64::saturating_add;
        Self {
            seen: sum(self.seen, other.seen),
            cupti_dropped: sum(self.cupti_dropped, other.cupti_dropped),
            emitted: sum(self.emitted, other.emitted),
            shim_unknown: sum(self.shim_unknown, other.shim_unknown),
            shim_malformed: sum(self.shim_malformed, other.shim_malformed),
            over_budget: sum(self.over_budget, other.over_budget),
            metadata: sum(self.metadata, other.metadata),
            read: sum(self.read, other.read),
            lost: sum(self.lost, other.lost),
            decoded: sum(self.decoded, other.decoded),
            unknown: sum(self.unknown, other.unknown),
            malformed: sum(self.malformed, other.malformed),
            names_full: sum(self.names_full, other.names_full),
            shim_copy_ns: sum(self.shim_copy_ns, other.shim_copy_ns),
            cupti_errors: sum(self.cupti_errors, other.cupti_errors),
            graphs: self.graphs.plus(&other.graphs),
        }
    }
}
