//! A checksum over logits, bit for bit: FNV-1a, 64 bits. Equal runs on one device give equal checksums; devices
//! that add in a different order do not.

use zerocopy::IntoBytes;

use crate::element::Plain;

/// The running checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checksum(u64);

impl Default for Checksum {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Checksum {
    /// Folds values in, in order.
    pub(super) fn add<T: Plain>(&mut self, values: &[T]) {
        for &byte in values.as_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Its value.
    pub(super) fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Checksum;

    #[test]
    fn it_is_fnv_1a() {
        let mut checksum = Checksum::default();
        checksum.add(b"foobar".as_slice());
        assert_eq!(checksum.value(), 0x8594_4171_f739_67e8);
    }
}
