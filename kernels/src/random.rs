//! Deterministic numbers: the same seed gives the same tensors on every machine.

use crate::element::Element;

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The stream of numbers for one purpose: `path` names it within the seed.
    pub(crate) fn new(seed: u64, path: &[u64]) -> Self {
        path.iter().fold(Self(seed), |mut random, &part| {
            random.0 ^= part.wrapping_mul(0xd6e8_feb8_6659_fd93);
            Self(random.next())
        })
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A value below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// The numbers below `n`, shuffled.
    pub(crate) fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i + 1));
        }
        order
    }

    /// Values in `centre - spread` to `centre + spread`.
    pub(crate) fn tensor<T: Element>(&mut self, numel: usize, centre: f32, spread: f32) -> Vec<T> {
        (0..numel)
            .map(|_| {
                let unit = (self.next() >> 40) as f32 / (1u32 << 23) as f32 - 1.0;
                T::from_f32(centre + spread * unit)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn a_permutation_has_every_number_once() {
        let mut order = Random::new(1, &[]).permutation(100);
        assert!(!order.is_sorted());
        order.sort_unstable();
        assert!(order.into_iter().eq(0..100));
    }

    #[test]
    fn paths_are_independent_and_repeatable() {
        let values = |path: &[u64]| Random::new(1, path).tensor::<f32>(4, 0.0, 1.0);
        assert_eq!(values(&[0, 1]), values(&[0, 1]));
        assert_ne!(values(&[0, 1]), values(&[1, 0]));
        assert!(values(&[3]).iter().all(|value| (-1.0..=1.0).contains(value)));
    }
}
