//! Putting a snapshot together.
//!
//! Enters: points, in any order of instruments. Leaves: a [`Snapshot`] with its families in the order of
//! [`INSTRUMENTS`]. Refuses: an instrument that is not in that table.

use super::snapshot::{Attributes, Family, Point, Snapshot, Value};
use crate::semconv::{INSTRUMENTS, Instrument};

/// Collects points by instrument.
#[derive(Debug)]
pub struct Builder {
    unix_ns: u64,
    start_unix_ns: u64,
    families: Vec<Vec<Point>>,
}

impl Builder {
    /// An empty snapshot taken at `unix_ns`.
    #[must_use]
    pub fn new(unix_ns: u64) -> Self {
        let families = INSTRUMENTS.iter().map(|_| Vec::new()).collect();
        Self { unix_ns, start_unix_ns: unix_ns, families }
    }

    /// The points that follow began at `start_unix_ns`.
    pub fn starting(&mut self, start_unix_ns: u64) -> &mut Self {
        self.start_unix_ns = start_unix_ns;
        self
    }

    /// Adds one point.
    pub fn push(&mut self, instrument: &'static Instrument, attributes: &Attributes, value: Value) {
        let index = INSTRUMENTS.iter().position(|known| std::ptr::eq(*known, instrument));
        if let Some(points) = index.and_then(|index| self.families.get_mut(index)) {
            let attributes = Attributes::clone(attributes);
            points.push(Point { attributes, start_unix_ns: self.start_unix_ns, value });
        }
    }

    /// The snapshot; instruments without points are left out.
    #[must_use]
    pub fn finish(self) -> Snapshot {
        let families = INSTRUMENTS
            .iter()
            .zip(self.families)
            .filter(|(_, points)| !points.is_empty())
            .map(|(instrument, points)| Family { instrument, points })
            .collect();
        Snapshot { unix_ns: self.unix_ns, families }
    }
}
