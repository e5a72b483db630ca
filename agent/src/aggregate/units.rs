//! The bucket tables of the histograms, made once.
//!
//! Enters: the instruments' bounds. Leaves: [`Buckets`]. Refuses: nothing.

use super::histogram::Buckets;
use crate::semconv::instruments;

const SECOND_NS: f64 = 1e9;
const MILLISECOND_NS: f64 = 1e6;

/// Bucket tables by kind of duration.
#[derive(Debug)]
pub(super) struct Units {
    /// GPU time in seconds.
    pub(super) gpu: Buckets,
    /// GPU time in milliseconds.
    pub(super) gpu_ms: Buckets,
    /// Host time in seconds.
    pub(super) host: Buckets,
}

impl Units {
    pub(super) fn new() -> Self {
        Self {
            gpu: Buckets::new(SECOND_NS, instruments::KERNEL_DURATION.bounds),
            gpu_ms: Buckets::new(MILLISECOND_NS, instruments::PAGED_ATTENTION_DURATION.bounds),
            host: Buckets::new(SECOND_NS, instruments::API_DURATION.bounds),
        }
    }
}
