//! `c10::TensorImpl`, whose fields moved by 8 bytes with torch 2.13.
//!
//! Enters: two windows of it, wide enough for both layouts, and sizes on the heap. Leaves: sizes and element type. Refuses: a
//! `TensorImpl` in which, by neither layout, the number of elements is the product of the sizes.
//!
//! ```text
//!                 56        64        72 … 112             152       160       168
//!  2.4 to 2.12    –         rank      sizes (5), or heap   offset    elements  dtype (u16)
//!  2.13 to 2.15   rank      sizes (5), or heap …           elements  dtype
//! ```
//!
//! Offsets: `offsetof` of each version's headers with g++, x86-64 Linux (`c10/core/TensorImpl.h`, `c10/core/impl/SizesAndStrides.h`).

use super::{Missing, Payloads, Phase};

/// Sizes that lie in the `TensorImpl` itself.
pub(in crate::probes) const INLINE: usize = 5;
/// First byte of the window with rank and sizes, and its words.
pub(in crate::probes) const SIZES_AT: i32 = 56;
pub(in crate::probes) const SIZES_WORDS: u8 = 8;
/// First byte of the window with the number of elements and their type, and its words.
pub(in crate::probes) const ELEMENTS_AT: i32 = 152;
pub(in crate::probes) const ELEMENTS_WORDS: u8 = 3;
/// By how many words the layouts differ: 2.4 to 2.12, then 2.13 on.
pub(in crate::probes) const LAYOUTS: [u8; 2] = [1, 0];

/// Where the windows are in the payload.
#[derive(Debug)]
pub(in crate::probes) struct Torch {
    pub(in crate::probes) phase: Phase,
    /// Read and offset of each window.
    pub(in crate::probes) sizes: (u8, u16),
    pub(in crate::probes) elements: (u8, u16),
    /// Sizes of tensors of more than five dimensions, by layout; none where the place had no room to read them.
    pub(in crate::probes) heap: Option<[Heap; 2]>,
}

/// Where sizes on the heap are in the payload.
#[derive(Debug, Clone, Copy)]
pub(in crate::probes) struct Heap {
    pub(in crate::probes) read: u8,
    pub(in crate::probes) at: u16,
}

impl Torch {
    pub(super) fn read(&self, payloads: &Payloads<'_>) -> Result<(Vec<u64>, i128), Missing> {
        let sizes = self.words(payloads, self.sizes, SIZES_WORDS.into())?;
        let elements = self.words(payloads, self.elements, ELEMENTS_WORDS.into())?;
        let mut read = LAYOUTS.iter().enumerate().filter_map(|(number, shift)| {
            let shift = usize::from(*shift);
            let rank = usize::try_from(*sizes.get(shift)?).ok()?;
            let found = if rank <= INLINE {
                sizes.get(shift + 1..shift + 1 + rank)?.to_vec()
            } else {
                let heap = self.heap?.get(number).copied()?;
                let all =
                    self.words(payloads, (heap.read, heap.at), gpu_agent_ebpf_abi::MAX_ELEMENTS).ok()?;
                all.get(..rank)?.to_vec()
            };
            let product = found
                .iter()
                .try_fold(1_i64, |product, size| product.checked_mul(i64::try_from(*size).ok()?))?;
            let dtype = i128::from(*elements.get(shift + 1)? as u16);
            (u64::try_from(product).ok()? == *elements.get(shift)?).then_some((found, dtype))
        });
        // Words that agree by both layouts: a scalar by one of them, whose 1 is an offset by the other.
        let first = read.next();
        let second = read.next();
        match (first, second) {
            (Some(first), Some(second)) if second.0.len() > first.0.len() => Ok(second),
            (Some(first), _) => Ok(first),
            (None, found) => found.ok_or(Missing::Unreadable),
        }
    }

    fn words(
        &self,
        payloads: &Payloads<'_>,
        (read, at): (u8, u16),
        count: usize,
    ) -> Result<Vec<u64>, Missing> {
        let bytes = payloads.bytes(self.phase, read, at, count * 8)?;
        let words = bytes.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes));
        Ok(words.collect())
    }
}
