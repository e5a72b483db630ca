//! Paired ratios and how sure we are of them.
//!
//! Enters: pairs of times measured next to each other. Leaves: their ratio with a 95 % confidence interval. Refuses: to
//! assume a distribution: the interval comes from resampling the pairs (bootstrap, percentiles).

use serde::Serialize;

/// Resamplings; the interval's ends move by less than a tenth of its width from one seed to the next.
const RESAMPLINGS: usize = 2000;

/// A ratio of two times.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Ratio {
    /// Geometric mean over the pairs.
    pub(super) value: f64,
    /// Lower end of the 95 % confidence interval.
    pub(super) low: f64,
    /// Upper end.
    pub(super) high: f64,
}

impl Ratio {
    /// The ratio of the first of each pair to the second. Pairs with a time of 0 say nothing and are left out.
    pub(super) fn of(pairs: &[(f64, f64)]) -> Self {
        let logs: Vec<f64> =
            pairs.iter().filter(|(a, b)| *a > 0.0 && *b > 0.0).map(|(a, b)| (a / b).ln()).collect();
        let mut random = fastrand::Rng::with_seed(0x5EED);
        let mut means: Vec<f64> = (0..RESAMPLINGS)
            .map(|_| mean((0..logs.len()).filter_map(|_| random.choice(&logs).copied())))
            .collect();
        means.sort_by(f64::total_cmp);
        let at =
            |share: f64| means.get((share * RESAMPLINGS as f64) as usize).copied().unwrap_or(f64::NAN).exp();
        Self { value: mean(logs.iter().copied()).exp(), low: at(0.025), high: at(0.975) }
    }
}

/// The middle value; NaN of nothing.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count)
}

#[cfg(test)]
mod tests {
    use super::{Ratio, median};

    #[test]
    fn equal_pairs_have_a_ratio_without_doubt() {
        let ratio = Ratio::of(&[(2.0, 1.0); 10]);
        assert!((ratio.value - 2.0).abs() < 1e-12 && (ratio.high - ratio.low).abs() < 1e-12, "{ratio:?}");
    }

    #[test]
    fn the_interval_holds_the_truth_about_as_often_as_it_says() {
        let mut random = fastrand::Rng::with_seed(1);
        let truth = 1.05_f64;
        let mut held = 0;
        for _ in 0..200 {
            let pairs: Vec<_> = (0..20)
                .map(|_| {
                    // Both halves of a pair share the machine's mood; their own noise is 2 %.
                    let mood = 1.0 + random.f64();
                    let noise = |random: &mut fastrand::Rng| 1.0 + 0.02 * (random.f64() + random.f64() - 1.0);
                    (truth * mood * noise(&mut random), mood * noise(&mut random))
                })
                .collect();
            let ratio = Ratio::of(&pairs);
            held += usize::from(ratio.low <= truth && truth <= ratio.high);
        }
        assert!((170..=199).contains(&held), "held {held} times of 200");
    }

    #[test]
    fn medians_and_nothing() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert!(median([].into_iter()).is_nan());
        assert!(Ratio::of(&[(0.0, 1.0)]).value.is_nan(), "no pair, no ratio");
    }
}
