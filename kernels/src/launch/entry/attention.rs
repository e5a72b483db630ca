//! `paged_attention_v1_*` and `paged_attention_v2_*`. The contract of [`super`] holds.

use std::ffi::{c_int, c_void};

use cudarc::driver::sys::CUstream;

use super::{extent, keep, num_partitions};
use crate::element::Dtype;
use crate::kernel::{Kernel, PARTITION_TOKENS};
use crate::launch::error::LaunchError;
use crate::launch::module::{Shape, launch, params};

/// The arguments that v1 and v2 share, from `query` on.
struct Arguments {
    query: *const c_void,
    key_cache: *const c_void,
    value_cache: *const c_void,
    alibi_slopes: *const c_void,
    num_kv_heads: c_int,
    scale: f32,
    softcapping: f32,
    block_tables: *const c_int,
    context_lens: *const c_int,
    block_size: c_int,
    max_context_len: c_int,
    num_seqs: c_int,
    num_heads: c_int,
    head_size: c_int,
    max_num_blocks_per_seq: c_int,
    q_stride: c_int,
    kv_block_stride: c_int,
    kv_head_stride: c_int,
    stream: CUstream,
    cache_dtype: u32,
    sinks: *const f32,
}

impl Arguments {
    fn check(
        &self,
        entry: &'static str,
        dtype: Dtype,
        kernel: impl FnOnce(usize, usize) -> Option<Kernel>,
    ) -> Result<Kernel, LaunchError> {
        let unsupported = |reason| LaunchError::Unsupported { entry, reason };
        if self.cache_dtype != dtype as u32 {
            return Err(unsupported(format!("cache type {} differs from {dtype}", self.cache_dtype)));
        }
        if self.num_kv_heads <= 0 || self.num_heads % self.num_kv_heads != 0 {
            return Err(unsupported(format!(
                "{} query heads cannot share {} key/value heads",
                self.num_heads, self.num_kv_heads
            )));
        }
        kernel(extent(self.head_size) as usize, extent(self.block_size) as usize).ok_or_else(|| {
            let sizes = "compiled are heads of 64, 128 and 256 elements and blocks of 16 and 32 tokens";
            unsupported(format!("head size {}, block size {}: {sizes}", self.head_size, self.block_size))
        })
    }

    /// # Safety
    /// The contract of [`super`].
    unsafe fn v1(&self, entry: &'static str, dtype: Dtype, out: *const c_void) -> Result<(), LaunchError> {
        let kernel =
            self.check(entry, dtype, |head, block| Kernel::paged_attention_v1(dtype, head, block))?;
        let shape = Shape {
            grid: [extent(self.num_heads), extent(self.num_seqs), 1],
            threads: 128,
            shared_bytes: extent(self.max_context_len).saturating_mul(4),
        };
        // SAFETY: the parameters are the kernel's; the caller vouches for them.
        unsafe {
            launch(
                kernel,
                shape,
                self.stream,
                params![
                    out,
                    self.query,
                    self.key_cache,
                    self.value_cache,
                    self.num_kv_heads,
                    self.scale,
                    self.softcapping,
                    self.block_tables,
                    self.context_lens,
                    self.max_num_blocks_per_seq,
                    self.alibi_slopes,
                    self.q_stride,
                    self.kv_block_stride,
                    self.kv_head_stride,
                    self.sinks
                ],
            )
        }
    }

    /// # Safety
    /// The contract of [`super`].
    unsafe fn v2(
        &self,
        entry: &'static str,
        dtype: Dtype,
        out: *const c_void,
        [exp_sums, max_logits, tmp_out]: [*const c_void; 3],
    ) -> Result<(), LaunchError> {
        let kernel =
            self.check(entry, dtype, |head, block| Kernel::paged_attention_v2(dtype, head, block))?;
        let reduce = self.check(entry, dtype, |head, _| Kernel::paged_attention_v2_reduce(dtype, head))?;
        let partitions = num_partitions(extent(self.max_context_len) as usize) as u32;
        let grid = [extent(self.num_heads), extent(self.num_seqs), partitions];
        let shape = Shape { grid, threads: 128, shared_bytes: 4 * PARTITION_TOKENS as u32 };
        // SAFETY: the parameters are the kernel's; the caller vouches for them.
        unsafe {
            launch(
                kernel,
                shape,
                self.stream,
                params![
                    exp_sums,
                    max_logits,
                    tmp_out,
                    self.query,
                    self.key_cache,
                    self.value_cache,
                    self.num_kv_heads,
                    self.scale,
                    self.softcapping,
                    self.block_tables,
                    self.context_lens,
                    self.max_num_blocks_per_seq,
                    self.alibi_slopes,
                    self.q_stride,
                    self.kv_block_stride,
                    self.kv_head_stride
                ],
            )
        }?;
        let shape =
            Shape { grid: [grid[0], grid[1], 1], threads: 128, shared_bytes: partitions.saturating_mul(4) };
        // SAFETY: as above.
        unsafe {
            launch(
                reduce,
                shape,
                self.stream,
                params![out, exp_sums, max_logits, tmp_out, self.context_lens, partitions as i32, self.sinks],
            )
        }
    }
}

macro_rules! paged_attention_v1_entry {
    ($name:ident, $dtype:ident) => {
        /// Decode attention over the paged cache, the whole context at once. `alibi_slopes` and `sinks` may be
        /// null; `softcapping` 1 turns the cap off; the scales are not read.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub unsafe extern "C" fn $name(
            out: *const c_void,
            query: *const c_void,
            key_cache: *const c_void,
            value_cache: *const c_void,
            alibi_slopes: *const c_void,
            num_kv_heads: c_int,
            scale: f32,
            softcapping: f32,
            block_tables: *const c_int,
            context_lens: *const c_int,
            block_size: c_int,
            max_context_len: c_int,
            num_seqs: c_int,
            num_heads: c_int,
            head_size: c_int,
            max_num_blocks_per_seq: c_int,
            q_stride: c_int,
            kv_block_stride: c_int,
            kv_head_stride: c_int,
            stream: CUstream,
            cache_dtype: u32,
            _k_scale: *const f32,
            _v_scale: *const f32,
            sinks: *const f32,
        ) {
            let arguments = Arguments {
                query,
                key_cache,
                value_cache,
                alibi_slopes,
                num_kv_heads,
                scale,
                softcapping,
                block_tables,
                context_lens,
                block_size,
                max_context_len,
                num_seqs,
                num_heads,
                head_size,
                max_num_blocks_per_seq,
                q_stride,
                kv_block_stride,
                kv_head_stride,
                stream,
                cache_dtype,
                sinks,
            };
            // SAFETY: the caller vouches for the arguments.
            keep(unsafe { arguments.v1(stringify!($name), Dtype::$dtype, out) });
        }
    };
}

paged_attention_v1_entry!(paged_attention_v1_f16, F16);
paged_attention_v1_entry!(paged_attention_v1_bf16, Bf16);
paged_attention_v1_entry!(paged_attention_v1_f32, F32);

macro_rules! paged_attention_v2_entry {
    ($name:ident, $dtype:ident) => {
        /// Decode attention over the paged cache in partitions of 512 tokens, joined by a second launch.
        /// `exp_sums` and `max_logits` hold `[num_seqs, num_heads, partitions]` floats, `tmp_out` as many rows of
        /// `head_size`. Otherwise as v1.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub unsafe extern "C" fn $name(
            out: *const c_void,
            exp_sums: *const f32,
            max_logits: *const f32,
            tmp_out: *const c_void,
            query: *const c_void,
            key_cache: *const c_void,
            value_cache: *const c_void,
            alibi_slopes: *const c_void,
            num_kv_heads: c_int,
            scale: f32,
            softcapping: f32,
            block_tables: *const c_int,
            context_lens: *const c_int,
            block_size: c_int,
            max_context_len: c_int,
            num_seqs: c_int,
            num_heads: c_int,
            head_size: c_int,
            max_num_blocks_per_seq: c_int,
            q_stride: c_int,
            kv_block_stride: c_int,
            kv_head_stride: c_int,
            stream: CUstream,
            cache_dtype: u32,
            _k_scale: *const f32,
            _v_scale: *const f32,
            sinks: *const f32,
        ) {
            let arguments = Arguments {
                query,
                key_cache,
                value_cache,
                alibi_slopes,
                num_kv_heads,
                scale,
                softcapping,
                block_tables,
                context_lens,
                block_size,
                max_context_len,
                num_seqs,
                num_heads,
                head_size,
                max_num_blocks_per_seq,
                q_stride,
                kv_block_stride,
                kv_head_stride,
                stream,
                cache_dtype,
                sinks,
            };
            let scratch = [exp_sums.cast(), max_logits.cast(), tmp_out];
            // SAFETY: the caller vouches for the arguments.
            keep(unsafe { arguments.v2(stringify!($name), Dtype::$dtype, out, scratch) });
        }
    };
}

paged_attention_v2_entry!(paged_attention_v2_f16, F16);
paged_attention_v2_entry!(paged_attention_v2_bf16, Bf16);
paged_attention_v2_entry!(paged_attention_v2_f32, F32);

/// Signature of `paged_attention_v1_*`.
pub type PagedAttentionV1 = unsafe extern "C" fn(
    *const c_void,
    *const c_void,
    *const c_void,
    *const c_void,
    *const c_void,
    c_int,
    f32,
    f32,
    *const c_int,
    *const c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    CUstream,
    u32,
    *const f32,
    *const f32,
    *const f32,
);

/// The entry point of v1 for an element type.
#[must_use]
pub fn paged_attention_v1(dtype: Dtype) -> PagedAttentionV1 {
    match dtype {
        Dtype::F16 => paged_attention_v1_f16,
        Dtype::Bf16 => paged_attention_v1_bf16,
        Dtype::F32 => paged_attention_v1_f32,
    }
}

/// Signature of `paged_attention_v2_*`.
pub type PagedAttentionV2 = unsafe extern "C" fn(
    *const c_void,
    *const f32,
    *const f32,
    *const c_void,
    *const c_void,
    *const c_void,
    *const c_void,
    *const c_void,
    c_int,
    f32,
    f32,
    *const c_int,
    *const c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    CUstream,
    u32,
    *const f32,
    *const f32,
    *const f32,
);

/// The entry point of v2 for an element type.
#[must_use]
pub fn paged_attention_v2(dtype: Dtype) -> PagedAttentionV2 {
    match dtype {
        Dtype::F16 => paged_attention_v2_f16,
        Dtype::Bf16 => paged_attention_v2_bf16,
        Dtype::F32 => paged_attention_v2_f32,
    }
}
