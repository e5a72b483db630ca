//! Inputs as little programs: an operation byte, then its arguments, little-endian; zeros where the input ends.
//!
//! Enters: bytes. Leaves: integers, and the ways that an input went. Refuses: nothing; every byte string is a program.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The rest of an input.
pub(crate) struct Program<'a>(&'a [u8]);

impl<'a> Program<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    /// The next operation, if the input has not ended.
    pub(crate) fn operation(&mut self) -> Option<u8> {
        if self.0.is_empty() { None } else { Some(self.number::<1>() as u8) }
    }

    /// The next `BYTES` bytes as a number.
    pub(crate) fn number<const BYTES: usize>(&mut self) -> u64 {
        let mut value = [0; 8];
        let taken = BYTES.min(self.0.len());
        let (head, rest) = self.0.split_at(taken);
        self.0 = rest;
        value.iter_mut().zip(head).for_each(|(to, from)| *to = *from);
        u64::from_le_bytes(value)
    }
}

/// The ways that an input went, each as a number.
#[derive(Default)]
pub(crate) struct Ways(Vec<u64>);

impl Ways {
    /// Something that happened: one of a small set, given with a word for the place.
    pub(crate) fn note(&mut self, way: impl Hash) {
        let mut hasher = DefaultHasher::new();
        way.hash(&mut hasher);
        self.0.push(hasher.finish());
    }

    pub(crate) fn into_numbers(self) -> Vec<u64> {
        self.0
    }
}

/// Magnitude of a size: what matters is 0, 1, a few, many, absurdly many.
pub(crate) fn magnitude(size: u64) -> u32 {
    size.checked_ilog2().map_or(0, |bits| 1 + bits / 6)
}
