//! Paged attention: `paged_attention_v1`, and `paged_attention_v2` with its reduction.
//!
//! One query token per sequence attends to `context_lens[seq]` cached tokens. Query heads share key/value heads
//! in groups of `num_heads / num_kv_heads` (GQA). v2 cuts the context into partitions of [`PARTITION`] tokens,
//! each with its own maximum and sum, which the reduction joins.
//!
//! A block of keys or values is widened whole, then walked the way it lies in memory: keys by 16-byte pieces of
//! neighbouring tokens, values by rows of `BLOCK` tokens.
#![allow(unsafe_code, reason = "kernels work on raw device addresses")]

use super::Launch;
use super::memory::{view, view_mut};
use crate::element::Element;

/// Tokens of one partition of v2.
pub(crate) const PARTITION: usize = 512;

/// What v1 and v2 have in common, read from the launch from parameter `first` (query) on.
struct Inputs<T> {
    query: *const T,
    key_cache: *const T,
    value_cache: *const T,
    num_kv_heads: usize,
    scale: f32,
    softcapping: f32,
    block_tables: *const i32,
    context_lens: *const i32,
    table_stride: usize,
    alibi_slopes: *const f32,
    q_stride: usize,
    kv_block_stride: usize,
    kv_head_stride: usize,
    num_heads: usize,
}

impl<T: Element> Inputs<T> {
    /// # Safety
    /// The launch's parameters from `first` on are those of v1 from query on.
    unsafe fn read(launch: &Launch<'_>, first: usize) -> Option<Self> {
        // SAFETY: the caller vouches for the parameter types.
        let inputs = unsafe {
            Self {
                query: launch.param(first),
                key_cache: launch.param(first + 1),
                value_cache: launch.param(first + 2),
                num_kv_heads: launch.count(first + 3),
                scale: launch.param(first + 4),
                softcapping: launch.param(first + 5),
                block_tables: launch.param(first + 6),
                context_lens: launch.param(first + 7),
                table_stride: launch.count(first + 8),
                alibi_slopes: launch.param(first + 9),
                q_stride: launch.count(first + 10),
                kv_block_stride: launch.count(first + 11),
                kv_head_stride: launch.count(first + 12),
                num_heads: launch.blocks(0),
            }
        };
        (inputs.num_kv_heads != 0 && inputs.num_heads.is_multiple_of(inputs.num_kv_heads)).then_some(inputs)
    }

    /// Scores of tokens `from..from + scores.len()` of sequence `seq` against query head `head`.
    ///
    /// # Safety
    /// The cache holds those tokens; `from` is a multiple of `BLOCK`.
    unsafe fn scores<const HEAD: usize, const BLOCK: usize>(
        &self,
        seq: usize,
        head: usize,
        from: usize,
        scores: &mut [f32],
        wide: &mut [f32],
    ) {
        let mut query = [0.0f32; HEAD];
        // SAFETY: the caller vouches for shapes and addresses.
        unsafe {
            T::widen(view(self.query, seq * self.q_stride + head * HEAD, HEAD), &mut query);
            query.iter_mut().for_each(|query| *query *= self.scale);
            let context = *self.context_lens.add(seq);
            let slope = if self.alibi_slopes.is_null() { 0.0 } else { *self.alibi_slopes.add(head) };
            for (index, scores) in scores.chunks_mut(BLOCK).enumerate() {
                let base = self.block_base(seq, from / BLOCK + index, head);
                T::widen(view(self.key_cache, base, HEAD * BLOCK), wide);
                block_scores::<T, HEAD, BLOCK>(&query, wide, scores);
                for (slot, score) in scores.iter_mut().enumerate() {
                    let position = (from + index * BLOCK + slot) as i32;
                    if self.softcapping != 1.0 {
                        *score = (*score / self.softcapping).tanh() * self.softcapping;
                    }
                    *score += slope * (position - context + 1) as f32;
                }
            }
        }
    }

    /// Adds the values of the tokens that `weights` stands for, weighted, to `sums`.
    ///
    /// # Safety
    /// As [`Self::scores`].
    unsafe fn weigh<const HEAD: usize, const BLOCK: usize>(
        &self,
        seq: usize,
        head: usize,
        from: usize,
        weights: &[f32],
        sums: &mut [f32; HEAD],
        wide: &mut [f32],
    ) {
        for (index, weights) in weights.chunks(BLOCK).enumerate() {
            // SAFETY: the caller vouches for shapes and addresses.
            let block = unsafe {
                view(self.value_cache, self.block_base(seq, from / BLOCK + index, head), HEAD * BLOCK)
            };
            T::widen(block, wide);
            for (sum, row) in sums.iter_mut().zip(wide.as_chunks::<BLOCK>().0) {
                *sum += row.iter().zip(weights).map(|(value, weight)| value * weight).sum::<f32>();
            }
        }
    }

    /// Where block `index` of `seq` begins in either cache, for the key/value head of query head `head`.
    ///
    /// # Safety
    /// The sequence's table has that block.
    unsafe fn block_base(&self, seq: usize, index: usize, head: usize) -> usize {
        let kv_head = head / (self.num_heads / self.num_kv_heads);
        // SAFETY: the caller vouches for the table.
        let block = unsafe { *self.block_tables.add(seq * self.table_stride + index) } as usize;
        block * self.kv_block_stride + kv_head * self.kv_head_stride
    }
}

/// Dot products of one query with the tokens of one key block, `[HEAD / x, BLOCK, x]`.
fn block_scores<T: Element, const HEAD: usize, const BLOCK: usize>(
    query: &[f32; HEAD],
    block: &[f32],
    scores: &mut [f32],
) {
    scores.fill(0.0);
    for (query, tokens) in query.chunks_exact(T::LANES).zip(block.chunks_exact(BLOCK * T::LANES)) {
        for (score, key) in scores.iter_mut().zip(tokens.chunks_exact(T::LANES)) {
            *score += query.iter().zip(key).map(|(query, key)| query * key).sum::<f32>();
        }
    }
}

/// Turns scores into `exp(score - maximum)`; returns the maximum and the sum.
fn exponentiate(scores: &mut [f32]) -> (f32, f32) {
    let maximum = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in scores {
        *score = (*score - maximum).exp();
        sum += *score;
    }
    (maximum, sum)
}

/// `paged_attention_v1`: grid x = heads, y = sequences.
///
/// # Safety
/// See [`super::DeviceKernel::run`].
pub(super) unsafe fn v1<T: Element, const HEAD: usize, const BLOCK: usize>(launch: &Launch<'_>) {
    // SAFETY: the table gives the parameter types, and the caller vouches for addresses and shapes.
    unsafe {
        let out = launch.param::<*mut T>(0);
        let Some(inputs) = Inputs::<T>::read(launch, 1) else { return };
        let sinks = launch.param::<*const f32>(14);
        let mut scores = Vec::new();
        let mut wide = vec![0.0f32; HEAD * BLOCK];
        for seq in 0..launch.blocks(1) {
            let context = usize::try_from(*inputs.context_lens.add(seq)).unwrap_or(0);
            scores.resize(context, 0.0f32);
            for head in 0..inputs.num_heads {
                inputs.scores::<HEAD, BLOCK>(seq, head, 0, &mut scores, &mut wide);
                let (maximum, mut sum) = exponentiate(&mut scores);
                if !sinks.is_null() {
                    sum += (*sinks.add(head) - maximum).exp();
                }
                let mut sums = [0.0f32; HEAD];
                inputs.weigh::<HEAD, BLOCK>(seq, head, 0, &scores, &mut sums, &mut wide);
                let out = view_mut(out, (seq * inputs.num_heads + head) * HEAD, HEAD);
                store(out, &sums, 1.0 / sum);
            }
        }
    }
}

/// `paged_attention_v2`: grid x = heads, y = sequences, z = partitions.
///
/// # Safety
/// See [`super::DeviceKernel::run`].
pub(super) unsafe fn v2<T: Element, const HEAD: usize, const BLOCK: usize>(launch: &Launch<'_>) {
    // SAFETY: the table gives the parameter types, and the caller vouches for addresses and shapes.
    unsafe {
        let (exp_sums, max_logits) = (launch.param::<*mut f32>(0), launch.param::<*mut f32>(1));
        let tmp_out = launch.param::<*mut T>(2);
        let Some(inputs) = Inputs::<T>::read(launch, 3) else { return };
        let partitions = launch.blocks(2);
        let mut scores = Vec::new();
        let mut wide = vec![0.0f32; HEAD * BLOCK];
        for seq in 0..launch.blocks(1) {
            let context = usize::try_from(*inputs.context_lens.add(seq)).unwrap_or(0);
            for partition in 0..partitions.min(context.div_ceil(PARTITION)) {
                let from = partition * PARTITION;
                scores.resize((context - from).min(PARTITION), 0.0f32);
                for head in 0..inputs.num_heads {
                    inputs.scores::<HEAD, BLOCK>(seq, head, from, &mut scores, &mut wide);
                    let (maximum, sum) = exponentiate(&mut scores);
                    let mut sums = [0.0f32; HEAD];
                    inputs.weigh::<HEAD, BLOCK>(seq, head, from, &scores, &mut sums, &mut wide);
                    let index = (seq * inputs.num_heads + head) * partitions + partition;
                    max_logits.add(index).write(maximum);
                    exp_sums.add(index).write(sum);
                    store(view_mut(tmp_out, index * HEAD, HEAD), &sums, 1.0 / sum);
                }
            }
        }
    }
}

/// `paged_attention_v2_reduce`: grid x = heads, y = sequences; joins the partitions of v2.
///
/// # Safety
/// See [`super::DeviceKernel::run`].
pub(super) unsafe fn v2_reduce<T: Element, const HEAD: usize>(launch: &Launch<'_>) {
    // SAFETY: the table gives the parameter types, and the caller vouches for addresses and shapes.
    unsafe {
        let out = launch.param::<*mut T>(0);
        let (exp_sums, max_logits) = (launch.param::<*const f32>(1), launch.param::<*const f32>(2));
        let tmp_out = launch.param::<*const T>(3);
        let context_lens = launch.param::<*const i32>(4);
        let max_partitions = launch.count(5);
        let sinks = launch.param::<*const f32>(6);
        let heads = launch.blocks(0);
        for seq in 0..launch.blocks(1) {
            let context = usize::try_from(*context_lens.add(seq)).unwrap_or(0);
            let partitions = context.div_ceil(PARTITION).min(max_partitions);
            for head in 0..heads {
                let first = (seq * heads + head) * max_partitions;
                let maxima = view(max_logits, first, partitions);
                let maximum = maxima.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let mut total = if sinks.is_null() { 0.0 } else { (*sinks.add(head) - maximum).exp() };
                let mut sums = [0.0f32; HEAD];
                for (index, (&local, &sum)) in
                    maxima.iter().zip(view(exp_sums, first, partitions)).enumerate()
                {
                    let weight = sum * (local - maximum).exp();
                    total += weight;
                    let values = view(tmp_out, (first + index) * HEAD, HEAD);
                    for (sum, value) in sums.iter_mut().zip(values) {
                        *sum += weight * value.to_f32();
                    }
                }
                store(view_mut(out, (seq * heads + head) * HEAD, HEAD), &sums, 1.0 / total);
            }
        }
    }
}

/// Writes `sums * factor`; zero where the context was empty (`factor` is then infinite).
fn store<T: Element>(out: &mut [T], sums: &[f32], factor: f32) {
    let factor = if factor.is_finite() { factor } else { 0.0 };
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = T::from_f32(sum * factor);
    }
}
