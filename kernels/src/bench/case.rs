//! The list of benchmark cases. Enter: a size class; leave: named cases. Refuses nothing.

use std::rc::Rc;

use half::{bf16, f16};

use super::{attention, cache, dense};
use crate::element::{Dtype, Element};
use crate::launch::LaunchError;
use crate::launch::runtime::Stream;
use crate::reference::NumericalError;

/// How large the tensors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Size {
    /// A few hundred microseconds on the simulated device.
    Small,
    /// Enough to fill a data-centre GPU, and more than its L2 cache.
    Large,
}

/// What one iteration of a case costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Bytes that have to be read and written at least once.
    pub bytes: u64,
    /// Floating-point operations; a multiplication and an addition are two.
    pub flops: u64,
}

/// A case with its buffers.
pub trait Operation {
    /// What one iteration costs.
    fn cost(&self) -> Cost;

    /// Enqueues one iteration.
    ///
    /// # Errors
    /// What the driver returned.
    fn enqueue(&mut self) -> Result<(), LaunchError>;

    /// The error of what an iteration left in the buffers, on a sample where the whole would take too long.
    ///
    /// # Errors
    /// What the driver returned.
    fn error(&mut self) -> Result<NumericalError, LaunchError>;
}

/// What a case runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    AttentionV1 { head_size: usize, block_size: usize },
    AttentionV2 { head_size: usize, block_size: usize },
    ReshapeAndCache,
    GatherKvCache,
    CopyBlocks,
    SwapBlocksOut,
    SwapBlocksIn,
    RmsNorm,
    Gemm,
}

/// One benchmark case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    kind: Kind,
    dtype: Dtype,
    size: Size,
}

/// Every case of a size.
#[must_use]
pub fn cases(size: Size) -> Vec<Case> {
    let attention = |head_size, block_size| {
        [Kind::AttentionV1 { head_size, block_size }, Kind::AttentionV2 { head_size, block_size }]
    };
    let moving = [Kind::ReshapeAndCache, Kind::GatherKvCache, Kind::CopyBlocks];
    let mut list = Vec::new();
    for dtype in Dtype::ALL {
        let kinds = attention(128, 16).into_iter().chain(moving).chain([Kind::RmsNorm, Kind::Gemm]);
        list.extend(kinds.map(|kind| Case { kind, dtype, size }));
    }
    let others = attention(64, 16).into_iter().chain(attention(256, 16)).chain(attention(128, 32));
    let swaps = [Kind::SwapBlocksOut, Kind::SwapBlocksIn];
    list.extend(others.chain(swaps).map(|kind| Case { kind, dtype: Dtype::F16, size }));
    list
}

impl Case {
    /// Its name: that of the kernel, or of the copy, with the element type.
    #[must_use]
    pub fn name(&self) -> String {
        let dtype = self.dtype;
        match self.kind {
            Kind::AttentionV1 { head_size, block_size } => {
                format!("paged_attention_v1_{dtype}_h{head_size}_b{block_size}")
            }
            Kind::AttentionV2 { head_size, block_size } => {
                format!("paged_attention_v2_{dtype}_h{head_size}_b{block_size}")
            }
            Kind::ReshapeAndCache => format!("reshape_and_cache_{dtype}"),
            Kind::GatherKvCache => format!("gather_kv_cache_{dtype}"),
            Kind::CopyBlocks => format!("copy_blocks_{dtype}"),
            Kind::SwapBlocksOut => format!("swap_blocks_out_{dtype}"),
            Kind::SwapBlocksIn => format!("swap_blocks_in_{dtype}"),
            Kind::RmsNorm => format!("rms_norm_{dtype}"),
            Kind::Gemm => format!("gemm_{dtype}"),
        }
    }

    /// Its size class.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }

    /// Allocates and fills its buffers.
    pub(super) fn prepare(&self, stream: &Rc<Stream>) -> Result<Box<dyn Operation>, LaunchError> {
        match self.dtype {
            Dtype::F16 => self.prepare_as::<f16>(stream),
            Dtype::Bf16 => self.prepare_as::<bf16>(stream),
            Dtype::F32 => self.prepare_as::<f32>(stream),
        }
    }

    fn prepare_as<T: Element>(&self, stream: &Rc<Stream>) -> Result<Box<dyn Operation>, LaunchError> {
        let large = self.size == Size::Large;
        Ok(match self.kind {
            Kind::AttentionV1 { head_size, block_size } => {
                Box::new(attention::Attention::<T>::new(stream, head_size, block_size, false, large)?)
            }
            Kind::AttentionV2 { head_size, block_size } => {
                Box::new(attention::Attention::<T>::new(stream, head_size, block_size, true, large)?)
            }
            Kind::ReshapeAndCache => Box::new(cache::Reshape::<T>::new(stream, large)?),
            Kind::GatherKvCache => Box::new(cache::Gather::<T>::new(stream, large)?),
            Kind::CopyBlocks => Box::new(cache::Copy::<T>::new(stream, large)?),
            Kind::SwapBlocksOut => Box::new(cache::Swap::<T>::new(stream, true, large)?),
            Kind::SwapBlocksIn => Box::new(cache::Swap::<T>::new(stream, false, large)?),
            Kind::RmsNorm => Box::new(dense::RmsNorm::<T>::new(stream, large)?),
            Kind::Gemm => Box::new(dense::Product::<T>::new(stream, large)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Size, cases};
    use crate::device;

    #[test]
    fn names_are_unique_and_those_of_kernels_or_copies() {
        let cases = cases(Size::Small);
        let names: BTreeSet<String> = cases.iter().map(super::Case::name).collect();
        assert_eq!(names.len(), cases.len());
        for name in names {
            assert!(name.starts_with("swap_blocks_") || device::lookup(&name).is_some(), "{name}");
        }
    }
}
