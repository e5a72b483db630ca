//! The closed list of kernels. Enter: what is to be run (operation, element type, head and block size); leaves: a
//! [`Kernel`], which names its PTX entry, its module and its place in every table. Refuses combinations that are
//! not compiled: `None`.
//!
//! Naming scheme: `OPERATION_TYPE`, and for attention `_hHEAD_bBLOCK`; head and block size are in the name where
//! they are compiled in:
//!
//! ```text
//! paged_attention_v1_{f16,bf16,f32}_h{64,128,256}_b{16,32}
//! paged_attention_v2_{f16,bf16,f32}_h{64,128,256}_b{16,32}
//! paged_attention_v2_reduce_{f16,bf16,f32}_h{64,128,256}
//! reshape_and_cache_T  gather_kv_cache_T  copy_blocks_T  rms_norm_T  gemm_T
//! ```

use crate::device::{self, DeviceKernel};
use crate::element::Dtype;

/// Head sizes the attention kernels are compiled for, in elements.
pub const HEAD_SIZES: [usize; 3] = [64, 128, 256];
/// Block sizes the attention kernels are compiled for, in tokens.
pub const BLOCK_SIZES: [usize; 2] = [16, 32];
/// Tokens of one partition of `paged_attention_v2`.
pub const PARTITION_TOKENS: usize = device::PARTITION;
/// Kernels of one element type.
pub const PER_DTYPE: usize = 20;

/// One kernel: an index into the table of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kernel(u8);

impl Kernel {
    /// How many there are.
    pub const COUNT: usize = 3 * PER_DTYPE;

    /// `paged_attention_v1`, where this head and block size are compiled.
    #[must_use]
    pub fn paged_attention_v1(dtype: Dtype, head_size: usize, block_size: usize) -> Option<Self> {
        Some(Self::at(dtype, 2 * head_index(head_size)? + block_index(block_size)?))
    }

    /// `paged_attention_v2`, where this head and block size are compiled.
    #[must_use]
    pub fn paged_attention_v2(dtype: Dtype, head_size: usize, block_size: usize) -> Option<Self> {
        Some(Self::at(dtype, 6 + 2 * head_index(head_size)? + block_index(block_size)?))
    }

    /// The reduction of `paged_attention_v2`, where this head size is compiled.
    #[must_use]
    pub fn paged_attention_v2_reduce(dtype: Dtype, head_size: usize) -> Option<Self> {
        Some(Self::at(dtype, 12 + head_index(head_size)?))
    }

    /// `reshape_and_cache`.
    #[must_use]
    pub fn reshape_and_cache(dtype: Dtype) -> Self {
        Self::at(dtype, 15)
    }

    /// `gather_kv_cache`.
    #[must_use]
    pub fn gather_kv_cache(dtype: Dtype) -> Self {
        Self::at(dtype, 16)
    }

    /// `copy_blocks`.
    #[must_use]
    pub fn copy_blocks(dtype: Dtype) -> Self {
        Self::at(dtype, 17)
    }

    /// `rms_norm`.
    #[must_use]
    pub fn rms_norm(dtype: Dtype) -> Self {
        Self::at(dtype, 18)
    }

    /// `gemm`.
    #[must_use]
    pub fn gemm(dtype: Dtype) -> Self {
        Self::at(dtype, 19)
    }

    /// Every kernel, in the order of their indices.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT as u8).map(Self)
    }

    /// Place in tables of [`Self::COUNT`] entries.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Entry name in the PTX.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.device().map_or("", |kernel| kernel.name)
    }

    /// Its CPU version, which also tells its parameters.
    #[must_use]
    pub fn device(self) -> Option<&'static DeviceKernel> {
        device::kernels().nth(self.index())
    }

    fn at(dtype: Dtype, offset: usize) -> Self {
        Self((dtype as usize * PER_DTYPE + offset) as u8)
    }
}

fn head_index(head_size: usize) -> Option<usize> {
    HEAD_SIZES.iter().position(|&size| size == head_size)
}

fn block_index(block_size: usize) -> Option<usize> {
    BLOCK_SIZES.iter().position(|&size| size == block_size)
}

#[cfg(test)]
mod tests {
    use super::{BLOCK_SIZES, HEAD_SIZES, Kernel};
    use crate::element::Dtype;

    #[test]
    fn every_kernel_is_reached_by_its_constructor_under_its_name() {
        let mut reached = Vec::new();
        let mut expect = |kernel: Option<Kernel>, name: String| {
            let kernel = kernel.unwrap();
            assert_eq!(kernel.name(), name);
            reached.push(kernel);
        };
        for dtype in Dtype::ALL {
            for head in HEAD_SIZES {
                for block in BLOCK_SIZES {
                    let shape = format!("{dtype}_h{head}_b{block}");
                    expect(
                        Kernel::paged_attention_v1(dtype, head, block),
                        format!("paged_attention_v1_{shape}"),
                    );
                    expect(
                        Kernel::paged_attention_v2(dtype, head, block),
                        format!("paged_attention_v2_{shape}"),
                    );
                }
                expect(
                    Kernel::paged_attention_v2_reduce(dtype, head),
                    format!("paged_attention_v2_reduce_{dtype}_h{head}"),
                );
            }
            expect(Some(Kernel::reshape_and_cache(dtype)), format!("reshape_and_cache_{dtype}"));
            expect(Some(Kernel::gather_kv_cache(dtype)), format!("gather_kv_cache_{dtype}"));
            expect(Some(Kernel::copy_blocks(dtype)), format!("copy_blocks_{dtype}"));
            expect(Some(Kernel::rms_norm(dtype)), format!("rms_norm_{dtype}"));
            expect(Some(Kernel::gemm(dtype)), format!("gemm_{dtype}"));
        }
        reached.sort_unstable();
        assert!(reached.into_iter().eq(Kernel::all()));
    }

    #[test]
    fn sizes_that_are_not_compiled_are_refused() {
        assert_eq!(Kernel::paged_attention_v1(Dtype::F16, 96, 16), None);
        assert_eq!(Kernel::paged_attention_v2(Dtype::F16, 128, 8), None);
        assert_eq!(Kernel::paged_attention_v2_reduce(Dtype::F16, 80), None);
    }
}
