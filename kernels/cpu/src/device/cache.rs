//! The kernels that move the KV cache: `reshape_and_cache`, `gather_kv_cache`, `copy_blocks`.
//!
//! Layouts: key_cache `[num_blocks, num_kv_heads, head_size / x, block_size, x]`, value_cache
//! `[num_blocks, num_kv_heads, head_size, block_size]`.
#![allow(unsafe_code, reason = "kernels work on raw device addresses")]

use super::Launch;
use super::memory::view;
use crate::element::Element;

/// Where one element of one token lies in the two caches.
struct Paging {
    num_heads: usize,
    head_size: usize,
    block_size: usize,
    x: usize,
}

impl Paging {
    fn key_index(&self, block: usize, slot: usize, head: usize, dim: usize) -> usize {
        let (chunk, lane) = (dim / self.x, dim % self.x);
        (((block * self.num_heads + head) * (self.head_size / self.x) + chunk) * self.block_size + slot)
            * self.x
            + lane
    }

    fn value_index(&self, block: usize, slot: usize, head: usize, dim: usize) -> usize {
        ((block * self.num_heads + head) * self.head_size + dim) * self.block_size + slot
    }

    fn is_valid(&self) -> bool {
        self.block_size != 0 && self.x != 0 && self.head_size.is_multiple_of(self.x)
    }
}

/// `reshape_and_cache`: grid x = tokens; writes each token's key and value to its slot, skipping negative slots.
///
/// # Safety
/// See [`super::DeviceKernel::run`].
pub(super) unsafe fn reshape<T: Element>(launch: &Launch<'_>) {
    // SAFETY: the table gives the parameter types, and the caller vouches for addresses and shapes.
    unsafe {
        let (key, value) = (launch.param::<*const T>(0), launch.param::<*const T>(1));
        let (key_cache, value_cache) = (launch.param::<*mut T>(2), launch.param::<*mut T>(3));
        let slots = view(launch.param::<*const i64>(4), 0, launch.blocks(0));
        let (key_stride, value_stride) = (launch.count(5), launch.count(6));
        let paging = Paging {
            num_heads: launch.count(7),
            head_size: launch.count(8),
            block_size: launch.count(9),
            x: launch.count(10),
        };
        if !paging.is_valid() {
            return;
        }
        for (token, &slot) in slots.iter().enumerate() {
            let Ok(slot) = usize::try_from(slot) else { continue };
            let (block, slot) = (slot / paging.block_size, slot % paging.block_size);
            for head in 0..paging.num_heads {
                let offset = head * paging.head_size;
                let key = view(key, token * key_stride + offset, paging.head_size);
                let value = view(value, token * value_stride + offset, paging.head_size);
                for (dim, (&key, &value)) in key.iter().zip(value).enumerate() {
                    key_cache.add(paging.key_index(block, slot, head, dim)).write(key);
                    value_cache.add(paging.value_index(block, slot, head, dim)).write(value);
                }
            }
        }
    }
}

/// `gather_kv_cache`: grid x = tokens; copies each token's key and value out of the cache into contiguous
/// `[num_tokens, num_kv_heads, head_size]` tensors.
///
/// # Safety
/// See [`super::DeviceKernel::run`].
pub(super) unsafe fn gather<T: Element>(launch: &Launch<'_>) {
    // SAFETY: the table gives the parameter types, and the caller vouches for addresses and shapes.
    unsafe {
        let (key_cache, value_cache) = (launch.param::<*const T>(0), launch.param::<*const T>(1));
        let (k_out, v_out) = (launch.param::<*mut T>(2), launch.param::<*mut T>(3));
        let block_table = launch.param::<*const i32>(4);
        let num_seqs = launch.count(6);
        let cu_seq_lens = view(launch.param::<*const i32>(5), 0, num_seqs + 1);
        let table_stride = launch.count(8);
        let paging = Paging {
            block_size: launch.count(7),
            num_heads: launch.count(9),
            head_size: launch.count(10),
            x: launch.count(11),
        };
        if !paging.is_valid() {
            return;
        }
        for token in 0..launch.blocks(0) {
            let first_after = cu_seq_lens.partition_point(|&start| start as usize <= token);
            let Some(seq) = first_after.checked_sub(1).filter(|&seq| seq < num_seqs) else { continue };
            let position = token - cu_seq_lens.get(seq).map_or(0, |&start| start as usize);
            let block = *block_table.add(seq * table_stride + position / paging.block_size) as usize;
            let slot = position % paging.block_size;
            for head in 0..paging.num_heads {
                let out = (token * paging.num_heads + head) * paging.head_size;
                for dim in 0..paging.head_size {
                    k_out.add(out + dim).write(*key_cache.add(paging.key_index(block, slot, head, dim)));
                    v_out.add(out + dim).write(*value_cache.add(paging.value_index(block, slot, head, dim)));
                }
            }
        }
    }
}

/// `copy_blocks`: grid x = layers, y = pairs; copies block `mapping[pair].0` over `mapping[pair].1` in every
/// layer's caches.
///
/// # Safety
/// See [`super::DeviceKernel::run`]; the two blocks of a pair differ.
pub(super) unsafe fn copy_blocks<T: Element>(launch: &Launch<'_>) {
    // SAFETY: the table gives the parameter types, and the caller vouches for addresses and shapes.
    unsafe {
        let layers = launch.blocks(0);
        let key_caches = view(launch.param::<*const *mut T>(0), 0, layers);
        let value_caches = view(launch.param::<*const *mut T>(1), 0, layers);
        let mapping = view(launch.param::<*const [i64; 2]>(2), 0, launch.blocks(1));
        let (key_numel, value_numel) = (launch.count(3), launch.count(4));
        for (&key_cache, &value_cache) in key_caches.iter().zip(value_caches) {
            for &[from, to] in mapping {
                let (from, to) = (from as usize, to as usize);
                let (source, target) = (key_cache.add(from * key_numel), key_cache.add(to * key_numel));
                core::ptr::copy(source.cast_const(), target, key_numel);
                let (source, target) =
                    (value_cache.add(from * value_numel), value_cache.add(to * value_numel));
                core::ptr::copy(source.cast_const(), target, value_numel);
            }
        }
    }
}
