//! The bucket tables of the histograms, made once.
//!
//! Enters: the instruments' bounds. Leaves: [`Buckets`]. Refuses: nothing.

use super::histogram::Buckets;
use crate::semconv::instruments;

const SECOND_NS: f64 = 1e9;
const MILLISECOND_NS: f64 = 1e6;

/// Sizes are whole bytes as durations are whole nanoseconds.
const BYTE: f64 = 1.0;

/// Bucket tables by kind of duration or size.
#[derive(Debug)]
pub(super) struct Units {
    /// GPU time in seconds.
    pub(super) gpu: Buckets,
    /// Time of paged-attention calls and cache updates, of either clock, in milliseconds.
    pub(super) call_ms: Buckets,
    /// Host time in seconds.
    pub(super) host: Buckets,
    /// Sizes in bytes.
    pub(super) bytes: Buckets,
}

impl Units {
    pub(super) fn new() -> Self {
        Self {
            gpu: Buckets::new(SECOND_NS, instruments::KERNEL_DURATION.bounds),
            call_ms: Buckets::new(MILLISECOND_NS, instruments::PAGED_ATTENTION_DURATION.bounds),
            host: Buckets::new(SECOND_NS, instruments::API_DURATION.bounds),
            bytes: Buckets::new(BYTE, instruments::TENSOR_SIZE.bounds),
        }
    }
}
