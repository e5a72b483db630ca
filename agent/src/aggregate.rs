//! Events to series.

pub mod snapshot;
