//! Deterministic mutation of byte strings.
//!
//! Enters: a seed, a corpus. Leaves: new inputs. Refuses: inputs longer than [`MAX_BYTES`].

use crate::corpus::Corpus;

/// Longest input.
const MAX_BYTES: usize = 4096;

/// Values at which arithmetic and comparisons turn.
const EDGES: [u64; 12] =
    [0, 1, 7, 8, 0x7F, 0xFF, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF, 1 << 63, u64::MAX - 7, u64::MAX];

/// A xorshift64* generator, and what it is used for.
pub(crate) struct Mutator(u64);

impl Mutator {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// An input of the corpus with one to eight changes.
    pub(crate) fn mutate(&mut self, corpus: &Corpus) -> Vec<u8> {
        let index = self.below(corpus.len());
        let mut input = corpus.get(index).unwrap_or_default().to_vec();
        for _ in 0..1 << self.below(4) {
            self.change(&mut input, corpus);
        }
        input.truncate(MAX_BYTES);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &Corpus) {
        let at = self.below(input.len() + 1);
        let width = 1 << self.below(4);
        match self.below(8) {
            0 => input.insert(at, self.next() as u8),
            1 if at < input.len() => drop(input.remove(at)),
            2 => self.overwrite(input, at, |random| random.next()),
            3 => {
                self.overwrite(input, at, |random| EDGES.get(random.below(EDGES.len())).copied().unwrap_or(0))
            }
            4 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            5 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = byte.wrapping_add(self.below(33) as u8).wrapping_sub(16);
                }
            }
            6 => {
                let other = corpus.get(self.below(corpus.len())).unwrap_or_default();
                let from = self.below(other.len() + 1);
                let tail = other.get(from..).unwrap_or_default();
                let take = self.below(tail.len() + 1);
                input.splice(at..at, tail.iter().take(take).copied());
            }
            _ => {
                let end = (at + width).min(input.len());
                let repeated: Vec<u8> = input.get(at..end).unwrap_or_default().to_vec();
                input.splice(at..at, repeated);
            }
        }
    }

    /// Puts 1, 2, 4 or 8 bytes of a value over what is at `at`.
    fn overwrite(&mut self, input: &mut [u8], at: usize, value: impl Fn(&mut Self) -> u64) {
        let width = 1 << self.below(4);
        let bytes = value(self).to_le_bytes();
        for (place, byte) in input.iter_mut().skip(at).zip(bytes).take(width) {
            *place = byte;
        }
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}
