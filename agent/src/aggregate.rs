//! Events to series.

pub mod histogram;
pub mod occupancy;
pub mod snapshot;
