//! The table of kernels: names, parameter sizes and functions, one slice per element type.

use half::{bf16, f16};

use super::{DeviceKernel, attention, cache, dense};

/// A pointer parameter.
const P: usize = 8;
/// An `int`, `unsigned` or `float` parameter.
const W: usize = 4;

/// out, query, key_cache, value_cache, num_kv_heads, scale, softcapping, block_tables, context_lens,
/// max_num_blocks_per_seq, alibi_slopes, q_stride, kv_block_stride, kv_head_stride, sinks.
const ATTENTION_V1: &[usize] = &[P, P, P, P, W, W, W, P, P, W, P, W, W, W, P];
/// exp_sums, max_logits, tmp_out, then as v1 from query, without sinks.
const ATTENTION_V2: &[usize] = &[P, P, P, P, P, P, W, W, W, P, P, W, P, W, W, W];
/// out, exp_sums, max_logits, tmp_out, context_lens, max_num_partitions, sinks.
const ATTENTION_V2_REDUCE: &[usize] = &[P, P, P, P, P, W, P];
/// key, value, key_cache, value_cache, slot_mapping, key_stride, value_stride, num_heads, head_size,
/// block_size, x.
const RESHAPE_AND_CACHE: &[usize] = &[P, P, P, P, P, W, W, W, W, W, W];
/// key_cache, value_cache, k_out, v_out, block_table, cu_seq_lens, num_seqs, block_size, block_table_stride,
/// num_kv_heads, head_size, x.
const GATHER_KV_CACHE: &[usize] = &[P, P, P, P, P, P, W, W, W, W, W, W];
/// key_cache_ptrs, value_cache_ptrs, block_mapping, numel_per_block_key, numel_per_block_value.
const COPY_BLOCKS: &[usize] = &[P, P, P, W, W];
/// out, input, weight, hidden_size, epsilon.
const RMS_NORM: &[usize] = &[P, P, P, W, W];
/// out, a, b, m, n, k, alpha, beta, activation.
const GEMM: &[usize] = &[P, P, P, W, W, W, W, W, W];

/// Bytes of the block-wide reduction buffer every reducing kernel declares: one float per warp and one more.
const REDUCE_SHARED: u32 = 33 * 4;
/// Bytes of the two tiles of the GEMM: 16 rows of 68 floats each.
const GEMM_SHARED: u32 = 2 * 16 * 68 * 4;

macro_rules! row {
    ($name:expr, $params:expr, $run:expr, $registers:expr, $shared:expr) => {
        DeviceKernel {
            name: $name,
            param_sizes: $params,
            run: $run,
            registers: $registers,
            static_shared_bytes: $shared,
        }
    };
}

macro_rules! v1 {
    ($t:ty, $dtype:literal, $head:literal, $block:literal) => {
        row!(
            concat!("paged_attention_v1_", $dtype, "_h", $head, "_b", $block),
            ATTENTION_V1,
            attention::v1::<$t, $head, $block>,
            64,
            REDUCE_SHARED + $head * 4
        )
    };
}

macro_rules! v2 {
    ($t:ty, $dtype:literal, $head:literal, $block:literal) => {
        row!(
            concat!("paged_attention_v2_", $dtype, "_h", $head, "_b", $block),
            ATTENTION_V2,
            attention::v2::<$t, $head, $block>,
            64,
            REDUCE_SHARED + $head * 4
        )
    };
}

macro_rules! v2_reduce {
    ($t:ty, $dtype:literal, $head:literal) => {
        row!(
            concat!("paged_attention_v2_reduce_", $dtype, "_h", $head),
            ATTENTION_V2_REDUCE,
            attention::v2_reduce::<$t, $head>,
            32,
            REDUCE_SHARED
        )
    };
}

macro_rules! kernels_of {
    ($t:ty, $dtype:literal) => {
        &[
            v1!($t, $dtype, 64, 16),
            v1!($t, $dtype, 64, 32),
            v1!($t, $dtype, 128, 16),
            v1!($t, $dtype, 128, 32),
            v1!($t, $dtype, 256, 16),
            v1!($t, $dtype, 256, 32),
            v2!($t, $dtype, 64, 16),
            v2!($t, $dtype, 64, 32),
            v2!($t, $dtype, 128, 16),
            v2!($t, $dtype, 128, 32),
            v2!($t, $dtype, 256, 16),
            v2!($t, $dtype, 256, 32),
            v2_reduce!($t, $dtype, 64),
            v2_reduce!($t, $dtype, 128),
            v2_reduce!($t, $dtype, 256),
            row!(concat!("reshape_and_cache_", $dtype), RESHAPE_AND_CACHE, cache::reshape::<$t>, 24, 0),
            row!(concat!("gather_kv_cache_", $dtype), GATHER_KV_CACHE, cache::gather::<$t>, 28, 0),
            row!(concat!("copy_blocks_", $dtype), COPY_BLOCKS, cache::copy_blocks::<$t>, 16, 0),
            row!(concat!("rms_norm_", $dtype), RMS_NORM, dense::rms_norm::<$t>, 24, REDUCE_SHARED),
            row!(concat!("gemm_", $dtype), GEMM, dense::gemm::<$t>, 56, GEMM_SHARED),
        ]
    };
}

/// Every kernel, by element type.
pub(super) static TABLES: [&[DeviceKernel]; 3] =
    [kernels_of!(f16, "f16"), kernels_of!(bf16, "bf16"), kernels_of!(f32, "f32")];
