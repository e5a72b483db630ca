//! Distributions of durations: one increment an observation, exact explicit and exponential buckets out of it.
//!
//! Enters: durations, whole nanoseconds (or sizes, whole bytes: read "byte" for "nanosecond" then). Leaves:
//! [`snapshot::Histogram`]s in an instrument's unit. Refuses: rounding.
//!
//! # How one increment serves two kinds of buckets
//!
//! The bounds of both kinds, in nanoseconds, are merged into one ascending list; a *fine* bucket lies between two
//! neighbours, so every explicit and every exponential bucket is a whole number of fine ones, and snapshots only add.
//! Durations are whole nanoseconds, so a bound `b` may be rounded down: `v > b` and `v > ⌊b⌋` say the same.
//!
//! A duration's fine bucket is found without a search: its highest set bit and the 6 bits after it name a *cell*,
//! 1/64 of an octave; a table knows where the cell's smallest value belongs, and since exponential bounds are 1/8 of an
//! octave apart, at most a few steps up remain.

use super::snapshot;

/// Exponential scale: 8 buckets an octave, at most 4.4 % from the middle of a bucket to its edge.
pub const SCALE: i32 = 3;
/// Buckets an octave at [`SCALE`].
const PER_OCTAVE: i32 = 1 << SCALE;
/// Bits of a cell's number below its highest bit.
const CELL_BITS: u32 = 6;
/// Cells for all of `u64`.
const CELLS: usize = (64 - CELL_BITS as usize + 1) << CELL_BITS;

/// The fine buckets of one unit and one list of explicit bounds.
#[derive(Debug)]
pub struct Buckets {
    unit_ns: f64,
    /// Inclusive upper bounds of the fine buckets, ns; the last is `u64::MAX`.
    upper_ns: Vec<u64>,
    /// By fine bucket: index of its exponential bucket, and number of its explicit one.
    meaning: Vec<(i32, u16)>,
    explicit: usize,
    /// By cell: the fine bucket of its smallest value.
    cells: Box<[u16; CELLS]>,
}

/// One distribution.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    count: u64,
    sum_ns: u64,
    min_ns: u64,
    max_ns: u64,
    zeros: u64,
    /// Fine bucket of the first count.
    first: u16,
    counts: Vec<u64>,
}

impl Buckets {
    /// The buckets of durations told in units of `unit_ns` nanoseconds, with explicit `bounds` in that unit.
    #[must_use]
    pub fn new(unit_ns: f64, bounds: &[f64]) -> Self {
        let exponential = exponential_bounds(unit_ns);
        let explicit: Vec<u64> = bounds.iter().map(|bound| (bound * unit_ns).round() as u64).collect();
        let mut upper_ns: Vec<u64> =
            exponential.iter().map(|&(bound, _)| bound).chain(explicit.iter().copied()).collect();
        upper_ns.push(u64::MAX);
        upper_ns.sort_unstable();
        upper_ns.dedup();
        upper_ns.retain(|&bound| bound > 0);
        let meaning = upper_ns
            .iter()
            .map(|&upper| {
                // The first exponential bucket that reaches this far up; several have the same whole bound below
                // 8 ns, and then the lowest of them holds the value.
                let bucket = exponential.partition_point(|&(bound, _)| bound < upper);
                let index = exponential.get(bucket).or(exponential.last()).map_or(0, |&(_, index)| index);
                (index, explicit.partition_point(|&bound| bound < upper) as u16)
            })
            .collect();
        let mut cells = Box::new([0; CELLS]);
        for (number, cell) in cells.iter_mut().enumerate() {
            let smallest = smallest_of_cell(number);
            *cell = upper_ns.partition_point(|&bound| bound < smallest) as u16;
        }
        Self { unit_ns, upper_ns, meaning, explicit: explicit.len() + 1, cells }
    }

    /// The fine bucket of a duration above 0.
    #[inline]
    fn fine(&self, duration_ns: u64) -> u16 {
        let mut fine = self.cells.get(cell(duration_ns)).copied().unwrap_or(0);
        // Ends at the last bucket, whose bound is u64::MAX.
        while self.upper_ns.get(usize::from(fine)).is_some_and(|&upper| duration_ns > upper) {
            fine += 1;
        }
        fine
    }
}

impl Histogram {
    /// Takes one duration.
    #[inline]
    pub fn observe(&mut self, buckets: &Buckets, duration_ns: u64) {
        if self.count == 0 || duration_ns < self.min_ns {
            self.min_ns = duration_ns;
        }
        self.max_ns = self.max_ns.max(duration_ns);
        self.count += 1;
        // A target can claim any duration; the sum then stops at 584 years.
        self.sum_ns = self.sum_ns.saturating_add(duration_ns);
        if duration_ns == 0 {
            self.zeros += 1;
            return;
        }
        let fine = buckets.fine(duration_ns);
        match fine.checked_sub(self.first).and_then(|offset| self.counts.get_mut(usize::from(offset))) {
            Some(count) => *count += 1,
            None => self.widen(fine),
        }
    }

    /// Makes room for `fine`, and counts it.
    #[cold]
    fn widen(&mut self, fine: u16) {
        if self.counts.is_empty() {
            self.first = fine;
        } else if fine < self.first {
            let missing = usize::from(self.first - fine);
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = fine;
        }
        let offset = usize::from(fine - self.first);
        if self.counts.len() <= offset {
            self.counts.resize(offset + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(offset) {
            *count += 1;
        }
    }

    /// Observations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum, nanoseconds.
    #[must_use]
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// The same in the unit of `buckets`, with both kinds of buckets.
    #[must_use]
    pub fn snapshot(&self, buckets: &Buckets) -> snapshot::Histogram {
        let unit = |ns: u64| ns as f64 / buckets.unit_ns;
        let mut explicit = vec![0; buckets.explicit];
        if let Some(first) = explicit.first_mut() {
            *first = self.zeros;
        }
        let meanings = || buckets.meaning.iter().skip(usize::from(self.first)).zip(&self.counts);
        let offset = meanings().next().map_or(0, |(&(index, _), _)| index);
        let last = meanings().next_back().map_or(offset, |(&(index, _), _)| index);
        let mut counts =
            if self.counts.is_empty() { Vec::new() } else { vec![0; last.abs_diff(offset) as usize + 1] };
        for (&(index, bucket), &count) in meanings() {
            if let Some(total) = explicit.get_mut(usize::from(bucket)) {
                *total += count;
            }
            if let Some(total) = counts.get_mut(index.abs_diff(offset) as usize) {
                *total += count;
            }
        }
        snapshot::Histogram {
            count: self.count,
            sum: unit(self.sum_ns),
            min: unit(self.min_ns),
            max: unit(self.max_ns),
            explicit,
            exponential: snapshot::Exponential { scale: SCALE, zero_count: self.zeros, offset, counts },
        }
    }
}

/// Upper bounds of the exponential buckets that hold whole nanoseconds, rounded down, with their indexes: bucket `i`
/// ends at 2^((i+1)/8) units.
fn exponential_bounds(unit_ns: f64) -> Vec<(u64, i32)> {
    let of_bound = |number: i32| (f64::from(number) / f64::from(PER_OCTAVE)).exp2() * unit_ns;
    let first = (-unit_ns.log2() * f64::from(PER_OCTAVE)).floor() as i32;
    (first..)
        .map(|number| (of_bound(number), number - 1))
        .take_while(|&(bound, _)| bound < u64::MAX as f64)
        .map(|(bound, index)| (bound as u64, index))
        .filter(|&(bound, _)| bound > 0)
        .collect()
}

#[inline]
fn cell(value: u64) -> usize {
    let shift = (63 - (value | 1).leading_zeros()).saturating_sub(CELL_BITS);
    ((shift as usize) << CELL_BITS) + (value >> shift) as usize
}

fn smallest_of_cell(number: usize) -> u64 {
    let shift = (number >> CELL_BITS).saturating_sub(1);
    ((number - (shift << CELL_BITS)) as u64).checked_shl(shift as u32).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Buckets, Histogram, PER_OCTAVE, cell, smallest_of_cell};

    const SECOND: f64 = 1e9;
    const BOUNDS: &[f64] = &[0.000_001, 0.000_01, 0.001, 1.0];

    fn one(buckets: &Buckets, value: u64) -> super::snapshot::Histogram {
        let mut histogram = Histogram::default();
        histogram.observe(buckets, value);
        histogram.snapshot(buckets)
    }

    #[test]
    fn cells_are_where_their_smallest_value_is() {
        for number in 0..super::CELLS - 64 {
            assert_eq!(cell(smallest_of_cell(number)), number);
        }
        assert!(cell(u64::MAX) < super::CELLS);
    }

    #[test]
    fn a_bound_belongs_to_the_bucket_below_it() {
        let buckets = Buckets::new(SECOND, BOUNDS);
        assert_eq!(one(&buckets, 1000).explicit, [1, 0, 0, 0, 0]);
        assert_eq!(one(&buckets, 1001).explicit, [0, 1, 0, 0, 0]);
        assert_eq!(one(&buckets, 1_000_000_001).explicit, [0, 0, 0, 0, 1]);
        assert_eq!(one(&buckets, u64::MAX).explicit, [0, 0, 0, 0, 1]);
    }

    #[test]
    fn powers_of_two_of_the_unit_end_their_exponential_bucket() {
        let buckets = Buckets::new(SECOND, BOUNDS);
        assert_eq!(one(&buckets, 1_000_000_000).exponential.offset, -1, "1 s is in (2^-1/8, 1]");
        assert_eq!(one(&buckets, 1_000_000_001).exponential.offset, 0);
        assert_eq!(one(&buckets, 500_000_000).exponential.offset, -PER_OCTAVE - 1);
    }

    #[test]
    fn nothing_observed_has_no_buckets_and_zero_has_its_own() {
        let buckets = Buckets::new(SECOND, BOUNDS);
        let empty = Histogram::default().snapshot(&buckets);
        assert_eq!((empty.count, empty.explicit.iter().sum::<u64>()), (0, 0));
        assert!(empty.exponential.counts.is_empty());
        let zero = one(&buckets, 0);
        assert_eq!((zero.exponential.zero_count, zero.explicit.first()), (1, Some(&1)));
    }

    proptest::proptest! {
        /// Against the definition in OpenTelemetry's data model, by floating-point logarithm; within one part in 10⁹ of
        /// a bound the logarithm itself is not to be trusted.
        #[test]
        fn both_kinds_of_buckets_agree_with_their_definitions(values in proptest::collection::vec(
            proptest::prop_oneof![1_u64..100, 1_u64..10_000_000, 1_u64..u64::MAX / 2], 1..50), unit_index in 0..2_usize)
        {
            let unit_ns = [1e9, 1e6][unit_index];
            let buckets = Buckets::new(unit_ns, BOUNDS);
            let mut histogram = Histogram::default();
            let mut explicit = vec![0_u64; BOUNDS.len() + 1];
            let mut exact = true;
            let mut exponential = std::collections::BTreeMap::<i32, u64>::new();
            for &value in &values {
                histogram.observe(&buckets, value);
                let bound = BOUNDS.iter().position(|bound| value <= (bound * unit_ns).round() as u64);
                explicit[bound.unwrap_or(BOUNDS.len())] += 1;
                let position = (value as f64 / unit_ns).log2() * f64::from(PER_OCTAVE);
                exact &= (position - position.round()).abs() > 1e-6;
                *exponential.entry(position.ceil() as i32 - 1).or_default() += 1;
            }
            let snapshot = histogram.snapshot(&buckets);
            proptest::prop_assert_eq!(&snapshot.explicit, &explicit);
            proptest::prop_assert_eq!(snapshot.exponential.counts.iter().sum::<u64>(), values.len() as u64);
            proptest::prop_assert_eq!(snapshot.min, *values.iter().min().unwrap() as f64 / unit_ns);
            if exact {
                for (index, count) in exponential {
                    let at = usize::try_from(index - snapshot.exponential.offset).unwrap();
                    proptest::prop_assert_eq!(snapshot.exponential.counts[at], count);
                }
            }
        }
    }
}
