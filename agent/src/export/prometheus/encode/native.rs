//! Exponential buckets as Prometheus wants them.
//!
//! Enters: OpenTelemetry's exponential buckets. Leaves: runs of buckets (gap to the run before, length) and the counts
//! as differences. Refuses: scales below Prometheus' schemas; higher ones are lowered.

use prometheus_client::encoding::{NativeHistogram, NativeHistogramBuckets};

use crate::aggregate::snapshot::Exponential;
use crate::export::exponential::downscale;

/// One histogram's buckets.
pub(super) struct Native {
    pub(super) schema: i32,
    pub(super) zero_count: u64,
    /// Gap to the run before, and length.
    pub(super) spans: Vec<(i32, u32)>,
    /// Counts, each as its difference to the one before.
    pub(super) deltas: Vec<i64>,
}

/// Schemas that Prometheus knows for exponential buckets.
const SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;
/// Zeros in a row that are cheaper to write than a new span.
pub(super) const LONGEST_GAP_WRITTEN: usize = 2;

impl Native {
    /// `None` where the scale is below any schema.
    pub(super) fn of(buckets: &Exponential) -> Option<Self> {
        if buckets.scale < *SCHEMAS.start() {
            return None;
        }
        let buckets = downscale(buckets, buckets.scale.min(*SCHEMAS.end()));
        let mut native = Self {
            schema: buckets.scale,
            zero_count: buckets.zero_count,
            spans: Vec::new(),
            deltas: Vec::new(),
        };
        // Bucket i of Prometheus ends where OpenTelemetry's bucket i begins.
        let mut gap = buckets.offset.saturating_add(1);
        let mut before = 0;
        for run in buckets.counts.chunk_by(|a, b| (*a == 0) == (*b == 0)) {
            let length = u32::try_from(run.len()).ok()?;
            let empty = run.first() == Some(&0);
            if empty && (native.spans.is_empty() || run.len() > LONGEST_GAP_WRITTEN) {
                gap = gap.saturating_add_unsigned(length);
                continue;
            }
            match native.spans.last_mut() {
                Some((_, span)) if gap == 0 => *span += length,
                _ => native.spans.push((std::mem::take(&mut gap), length)),
            }
            for count in run {
                let count = i64::try_from(*count).ok()?;
                native.deltas.push(count - before);
                before = count;
            }
        }
        if native.spans.is_empty() {
            // What marks a histogram without observations as native.
            native.spans.push((0, 0));
        }
        Some(native)
    }

    pub(super) fn view(&self) -> NativeHistogram<'_> {
        NativeHistogram {
            schema: self.schema,
            zero_threshold: 0.0,
            zero_count: self.zero_count,
            negative: NativeHistogramBuckets { spans: &[], deltas: &[] },
            positive: NativeHistogramBuckets { spans: &self.spans, deltas: &self.deltas },
            created: None,
        }
    }
}
