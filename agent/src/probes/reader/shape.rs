//! Shapes of tensors.
//!
//! Enters: payloads. Leaves: sizes by dimension, outermost first. Refuses: negative sizes, more than 8 dimensions.

use gpu_agent_ebpf_abi::MAX_ELEMENTS;

use super::{Missing, Number, Payloads, Phase, Torch};

/// How a tensor's sizes are read.
#[derive(Debug)]
pub(in crate::probes) enum Shape {
    /// Each by itself.
    List(Vec<Number>),
    /// An array.
    Elements(Elements),
    /// As PyTorch has them.
    Torch(Torch),
}

/// An array in a payload.
#[derive(Debug)]
pub(in crate::probes) struct Elements {
    pub(in crate::probes) phase: Phase,
    pub(in crate::probes) read: u8,
    pub(in crate::probes) at: u16,
    pub(in crate::probes) bytes: u8,
    pub(in crate::probes) signed: bool,
    pub(in crate::probes) capacity: u8,
    /// How many there are; without it, as many as the capacity.
    pub(in crate::probes) count: Option<Number>,
    pub(in crate::probes) is_reversed: bool,
}

impl Shape {
    /// The sizes, and the element type's number where the tensor says it.
    pub(super) fn read(&self, payloads: &Payloads<'_>) -> Result<(Vec<u64>, Option<i128>), Missing> {
        match self {
            Self::List(sizes) => {
                let sizes = sizes.iter().map(|size| size.read(payloads).and_then(extent));
                Ok((sizes.collect::<Result<_, _>>()?, None))
            }
            Self::Elements(elements) => Ok((elements.read(payloads)?, None)),
            Self::Torch(torch) => torch.read(payloads).map(|(sizes, dtype)| (sizes, Some(dtype))),
        }
    }
}

/// A size.
fn extent(value: i128) -> Result<u64, Missing> {
    u64::try_from(value).map_err(|_negative| Missing::Unreadable)
}

impl Elements {
    fn read(&self, payloads: &Payloads<'_>) -> Result<Vec<u64>, Missing> {
        let capacity = usize::from(self.capacity).min(MAX_ELEMENTS);
        let count = match &self.count {
            None => capacity,
            Some(count) => {
                let count =
                    usize::try_from(count.read(payloads)?).map_err(|_negative| Missing::Unreadable)?;
                if count > capacity {
                    return Err(Missing::Unreadable);
                }
                count
            }
        };
        let size = usize::from(self.bytes.clamp(1, 8));
        let bytes = payloads.bytes(self.phase, self.read, self.at, capacity * size)?;
        let mut sizes = Vec::with_capacity(count);
        for element in bytes.chunks_exact(size).take(count) {
            let mut whole = [0; 8];
            whole.iter_mut().zip(element).for_each(|(to, from)| *to = *from);
            let value = u64::from_le_bytes(whole);
            if self.signed && value >> (8 * size - 1) & 1 == 1 {
                return Err(Missing::Unreadable);
            }
            sizes.push(value);
        }
        if self.is_reversed {
            sizes.reverse();
        }
        Ok(sizes)
    }
}
