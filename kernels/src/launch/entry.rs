//! The `extern "C"` entry points: names, argument order and types of mistral.rs 0.8 (`mistralrs-paged-attn`,
//! `src/cuda/ffi.rs`), so that a probe written for that engine attaches here unchanged.
//!
//! Enter: device pointers, sizes and a stream; leaves: one launch (two for `paged_attention_v2_*`) in the calling
//! thread's context. They return nothing, as there; what went wrong is kept for [`take_error`]. Refused: FP8
//! caches (`cache_dtype` 3), head and block sizes that are not compiled, element types unknown to
//! [`Dtype::from_code`].
//!
//! # Safety
//! For every function here: the pointers are device memory (or null where that is said to be allowed) of the
//! shapes that `cuda/*.cu` and [`crate::reference`] state, valid until the launch has run, and the stream belongs
//! to the current context.
#![allow(unsafe_code, reason = "the entry points are C functions on raw device pointers")]
#![allow(clippy::missing_safety_doc, reason = "the contract is the same for all and stands above")]
#![allow(clippy::too_many_arguments, reason = "the argument lists are mistral.rs's")]

use std::cell::RefCell;
use std::ffi::{c_int, c_long, c_void};

use cudarc::driver::sys::CUstream;

use super::error::LaunchError;
use super::module::{Shape, launch, params};
use crate::element::Dtype;
use crate::kernel::{Kernel, PARTITION_TOKENS};

mod attention;

pub use attention::{
    PagedAttentionV1, PagedAttentionV2, paged_attention_v1, paged_attention_v1_bf16, paged_attention_v1_f16,
    paged_attention_v1_f32, paged_attention_v2, paged_attention_v2_bf16, paged_attention_v2_f16,
    paged_attention_v2_f32,
};

thread_local! {
    static ERROR: RefCell<Option<LaunchError>> = const { RefCell::new(None) };
}

/// The first error of the calling thread's entry points since the last call.
///
/// # Errors
/// That error.
pub fn take_error() -> Result<(), LaunchError> {
    ERROR.take().map_or(Ok(()), Err)
}

fn keep(outcome: Result<(), LaunchError>) {
    if let Err(error) = outcome {
        ERROR.with_borrow_mut(|first| {
            first.get_or_insert(error);
        });
    }
}

/// For C callers: the CUDA status of the first error since the last call, 0 for none.
#[unsafe(no_mangle)]
pub extern "C" fn gpu_agent_kernels_last_error() -> u32 {
    take_error().map_or_else(|error| error.status(), |()| 0)
}

/// The element type for `dtype`, which the cache must share.
fn dtype_of(entry: &'static str, dtype: u32, cache_dtype: u32) -> Result<Dtype, LaunchError> {
    if dtype != cache_dtype {
        let reason = format!("cache type {cache_dtype} differs from element type {dtype}");
        return Err(LaunchError::Unsupported { entry, reason });
    }
    Dtype::from_code(dtype)
        .ok_or_else(|| LaunchError::Unsupported { entry, reason: format!("element type {dtype} is unknown") })
}

/// A grid dimension, from an `int`: none where it is negative.
fn extent(value: c_int) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

/// Writes keys and values of new tokens into the paged caches. Negative slots are skipped; the scales are not read.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn reshape_and_cache(
    key: *const c_void,
    value: *const c_void,
    key_cache: *const c_void,
    value_cache: *const c_void,
    slot_mapping: *const c_long,
    num_tokens: c_int,
    num_heads: c_int,
    head_size: c_int,
    block_size: c_int,
    x: c_int,
    key_stride: c_int,
    value_stride: c_int,
    stream: CUstream,
    dtype: u32,
    cache_dtype: u32,
    _k_scale: *const f32,
    _v_scale: *const f32,
) {
    keep(dtype_of("reshape_and_cache", dtype, cache_dtype).and_then(|dtype| {
        let shape = rows(num_tokens, num_heads.saturating_mul(head_size));
        // SAFETY: the parameters are the kernel's; the caller vouches for them.
        unsafe {
            launch(
                Kernel::reshape_and_cache(dtype),
                shape,
                stream,
                params![
                    key,
                    value,
                    key_cache,
                    value_cache,
                    slot_mapping,
                    key_stride,
                    value_stride,
                    num_heads,
                    head_size,
                    block_size,
                    x
                ],
            )
        }
    }));
}

/// Reads cached tokens back into contiguous tensors. The scales are not read.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn gather_kv_cache(
    key_cache: *const c_void,
    value_cache: *const c_void,
    k_out: *const c_void,
    v_out: *const c_void,
    _k_scale: *const f32,
    _v_scale: *const f32,
    block_table: *const c_int,
    cu_seq_lens: *const c_int,
    num_tokens: c_int,
    num_seqs: c_int,
    block_size: c_int,
    block_table_stride: c_int,
    num_kv_heads: c_int,
    head_size: c_int,
    x: c_int,
    stream: CUstream,
    out_dtype: u32,
    cache_dtype: u32,
) {
    keep(dtype_of("gather_kv_cache", out_dtype, cache_dtype).and_then(|dtype| {
        let shape = rows(num_tokens, num_kv_heads.saturating_mul(head_size));
        // SAFETY: the parameters are the kernel's; the caller vouches for them.
        unsafe {
            launch(
                Kernel::gather_kv_cache(dtype),
                shape,
                stream,
                params![
                    key_cache,
                    value_cache,
                    k_out,
                    v_out,
                    block_table,
                    cu_seq_lens,
                    num_seqs,
                    block_size,
                    block_table_stride,
                    num_kv_heads,
                    head_size,
                    x
                ],
            )
        }
    }));
}

/// One block of threads per row, a thread per element up to 512.
fn rows(count: c_int, elements: c_int) -> Shape {
    let threads = extent(elements).next_multiple_of(32).clamp(32, 512);
    Shape { grid: [extent(count), 1, 1], threads, shared_bytes: 0 }
}

fn copy_blocks(
    dtype: Dtype,
    pointers: [*const c_void; 3],
    [num_layers, num_pairs, numel_per_block_key, numel_per_block_value]: [i32; 4],
    stream: i64,
) {
    let [key_cache_ptrs, value_cache_ptrs, block_mapping] = pointers;
    let elements = numel_per_block_key.max(numel_per_block_value);
    let shape = Shape { grid: [extent(num_layers), extent(num_pairs), 1], ..rows(0, elements) };
    // SAFETY: the parameters are the kernel's; the entry points' callers vouch for them.
    keep(unsafe {
        launch(
            Kernel::copy_blocks(dtype),
            shape,
            stream as CUstream,
            params![
                key_cache_ptrs,
                value_cache_ptrs,
                block_mapping,
                numel_per_block_key,
                numel_per_block_value
            ],
        )
    });
}

macro_rules! copy_blocks_entry {
    ($name:ident, $dtype:ident) => {
        /// Copies cache blocks within the device, in every layer: `block_mapping` holds `num_pairs` pairs
        /// (from, to) of `i64`; the two pointer arrays hold `num_layers` device addresses each.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub unsafe extern "C" fn $name(
            key_cache_ptrs: *mut c_void,
            value_cache_ptrs: *mut c_void,
            block_mapping: *const c_void,
            num_layers: i32,
            num_pairs: i32,
            numel_per_block_key: i32,
            numel_per_block_value: i32,
            stream: i64,
        ) {
            copy_blocks(
                Dtype::$dtype,
                [key_cache_ptrs.cast_const(), value_cache_ptrs.cast_const(), block_mapping],
                [num_layers, num_pairs, numel_per_block_key, numel_per_block_value],
                stream,
            );
        }
    };
}

copy_blocks_entry!(copy_blocks_f16, F16);
copy_blocks_entry!(copy_blocks_bf16, Bf16);
copy_blocks_entry!(copy_blocks_f32, F32);

/// Signature of `copy_blocks_*`.
pub type CopyBlocks = unsafe extern "C" fn(*mut c_void, *mut c_void, *const c_void, i32, i32, i32, i32, i64);

/// The entry point for an element type.
#[must_use]
pub fn copy_blocks_of(dtype: Dtype) -> CopyBlocks {
    match dtype {
        Dtype::F16 => copy_blocks_f16,
        Dtype::Bf16 => copy_blocks_bf16,
        Dtype::F32 => copy_blocks_f32,
    }
}

/// Partitions that `paged_attention_v2_*` cuts contexts of up to this many tokens into.
#[must_use]
pub fn num_partitions(max_context_len: usize) -> usize {
    max_context_len.div_ceil(PARTITION_TOKENS)
}

#[cfg(test)]
mod tests {
    use std::ffi::c_int;
    use std::ptr::{null, null_mut};

    use super::{gpu_agent_kernels_last_error, paged_attention_v1_f16, reshape_and_cache, take_error};

    /// Calls v1 with no memory at all: only for arguments that are refused before anything is launched.
    fn refused_attention(kv_heads: c_int, heads: c_int, head_size: c_int, cache_dtype: u32) -> String {
        // SAFETY: the arguments are refused, so that no pointer is used.
        unsafe {
            paged_attention_v1_f16(
                null(),
                null(),
                null(),
                null(),
                null(),
                kv_heads,
                1.0,
                1.0,
                null(),
                null(),
                16,
                10,
                1,
                heads,
                head_size,
                1,
                0,
                0,
                0,
                null_mut(),
                cache_dtype,
                null(),
                null(),
                null(),
            );
        }
        take_error().unwrap_err().to_string()
    }

    #[test]
    fn what_no_kernel_does_is_refused_before_the_driver_is_called() {
        assert!(refused_attention(1, 1, 96, 0).contains("head size 96"));
        assert!(refused_attention(2, 3, 64, 0).contains("3 query heads cannot share 2"));
        assert!(refused_attention(0, 3, 64, 0).contains("cannot share 0"));
        assert!(refused_attention(1, 1, 64, 3).contains("cache type 3"));
        assert!(take_error().is_ok());
    }

    #[test]
    fn c_callers_learn_the_first_error_once() {
        for (dtype, cache_dtype) in [(0, 3), (9, 9)] {
            // SAFETY: the element types are refused, so that no pointer is used.
            unsafe {
                reshape_and_cache(
                    null(),
                    null(),
                    null(),
                    null(),
                    null(),
                    1,
                    1,
                    64,
                    16,
                    8,
                    64,
                    64,
                    null_mut(),
                    dtype,
                    cache_dtype,
                    null(),
                    null(),
                );
            }
        }
        assert_eq!(gpu_agent_kernels_last_error(), 801);
        assert_eq!(gpu_agent_kernels_last_error(), 0);
    }
}
