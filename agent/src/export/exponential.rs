//! Arithmetic on base-2 exponential buckets, which two exporters need.
//!
//! Enters: buckets. Leaves: the same observations in coarser buckets, or the difference of two. Refuses: to refine:
//! resolution that is gone cannot be had back.

use crate::aggregate::snapshot::Exponential;

/// The same observations at a lower scale: 2^(from − to) neighbours become one bucket.
#[must_use]
pub(super) fn downscale(buckets: &Exponential, scale: i32) -> Exponential {
    let shift = buckets.scale.saturating_sub(scale);
    if shift <= 0 || buckets.counts.is_empty() {
        return Exponential { scale: scale.min(buckets.scale), ..buckets.clone() };
    }
    let shift = shift.unsigned_abs().min(31);
    let offset = buckets.offset >> shift;
    let mut counts: Vec<u64> = Vec::new();
    for (index, count) in (buckets.offset..).zip(&buckets.counts) {
        let place = usize::try_from((index >> shift) - offset).unwrap_or(0);
        if counts.len() <= place {
            counts.resize(place + 1, 0);
        }
        if let Some(sum) = counts.get_mut(place) {
            *sum += count;
        }
    }
    Exponential { scale, zero_count: buckets.zero_count, offset, counts }
}

/// What `newer` has that `older` had not. Both are cumulative totals of one series; the result has the lower scale
/// of the two and no empty buckets at its ends.
#[must_use]
pub(super) fn difference(newer: &Exponential, older: &Exponential) -> Exponential {
    let scale = newer.scale.min(older.scale);
    let mut result = downscale(newer, scale);
    let older = downscale(older, scale);
    for (index, count) in (older.offset..).zip(&older.counts) {
        let place = usize::try_from(index - result.offset).ok();
        if let Some(sum) = place.and_then(|place| result.counts.get_mut(place)) {
            *sum = sum.saturating_sub(*count);
        }
    }
    result.zero_count = result.zero_count.saturating_sub(older.zero_count);
    trim(result)
}

fn trim(mut buckets: Exponential) -> Exponential {
    while buckets.counts.last() == Some(&0) {
        buckets.counts.pop();
    }
    let empty = buckets.counts.iter().take_while(|count| **count == 0).count();
    buckets.counts.drain(..empty);
    buckets.offset = match i32::try_from(empty) {
        Ok(empty) if !buckets.counts.is_empty() => buckets.offset.saturating_add(empty),
        _ => 0,
    };
    buckets
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn buckets(scale: i32, values: &[f64]) -> Exponential {
        let mut result = Exponential { scale, ..Exponential::default() };
        let indices: Vec<i32> = values
            .iter()
            .map(|value| (value.log2() * f64::exp2(f64::from(scale))).ceil() as i32 - 1)
            .collect();
        let (Some(&low), Some(&high)) = (indices.iter().min(), indices.iter().max()) else { return result };
        result.offset = low;
        result.counts = vec![0; (high - low + 1) as usize];
        for index in indices {
            result.counts[(index - low) as usize] += 1;
        }
        result
    }

    #[test]
    fn downscaling_by_one_joins_pairs_also_below_one() {
        let fine = Exponential { scale: 1, zero_count: 2, offset: -3, counts: vec![1, 2, 4, 8] };
        let coarse = downscale(&fine, 0);
        assert_eq!(coarse, Exponential { scale: 0, zero_count: 2, offset: -2, counts: vec![1, 6, 8] });
    }

    proptest! {
        #[test]
        fn downscaling_equals_counting_at_the_lower_scale(
            values in prop::collection::vec(1e-6_f64..1e3, 1..50), from in 0_i32..8, by in 0_i32..6,
        ) {
            let from_fine = downscale(&buckets(from, &values), from - by);
            prop_assert_eq!(from_fine, buckets(from - by, &values));
        }

        #[test]
        fn a_difference_is_the_buckets_of_the_observations_between(
            old in prop::collection::vec(1e-6_f64..1e3, 0..50),
            new in prop::collection::vec(1e-6_f64..1e3, 0..50),
            old_scale in 3_i32..8, by in 0_i32..4,
        ) {
            let mut all = old.clone();
            all.extend(&new);
            let found = difference(&buckets(old_scale - by, &all), &buckets(old_scale, &old));
            prop_assert_eq!(found, buckets(old_scale - by, &new));
        }
    }
}
