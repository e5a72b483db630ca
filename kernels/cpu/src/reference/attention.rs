//! Paged attention by its definition: softmax(scale * q K^T) V for the last token of each sequence.

use super::cache::CacheShape;
use crate::element::Element;

/// Inputs of [`paged_attention`]; shapes as the kernels take them.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a, T> {
    /// `[num_seqs, num_heads, head_size]`.
    pub query: &'a [T],
    /// See [`CacheShape`].
    pub key_cache: &'a [T],
    /// See [`CacheShape`].
    pub value_cache: &'a [T],
    /// `[num_seqs, table_stride]`.
    pub block_tables: &'a [i32],
    /// Entries of a row of `block_tables`.
    pub table_stride: usize,
    /// `[num_seqs]`: cached tokens of each sequence.
    pub context_lens: &'a [i32],
    /// Query heads: a multiple of the key/value heads.
    pub num_heads: usize,
    /// Factor of the scores.
    pub scale: f32,
    /// Cap of the scores; 1 turns it off.
    pub softcapping: f32,
    /// `[num_heads]`: slopes of the position bias.
    pub alibi_slopes: Option<&'a [f32]>,
    /// `[num_heads]`: a score that takes weight and has no value.
    pub sinks: Option<&'a [f32]>,
    /// Shape of the caches.
    pub shape: CacheShape,
}

/// `[num_seqs, num_heads, head_size]`.
#[must_use]
pub fn paged_attention<T: Element>(inputs: &Attention<'_, T>) -> Vec<f64> {
    let Attention { shape, num_heads, .. } = *inputs;
    let mut out = Vec::with_capacity(inputs.query.len());
    for (seq, &context) in inputs.context_lens.iter().enumerate() {
        for head in 0..num_heads {
            let kv_head = head / (num_heads / shape.num_kv_heads);
            let scores: Vec<f64> =
                (0..context as usize).map(|position| score(inputs, seq, head, kv_head, position)).collect();
            let sink = inputs.sinks.map(|sinks| f64::from(sinks[head]));
            let maximum = scores.iter().copied().chain(sink).fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - maximum).exp()).collect();
            let total = weights.iter().sum::<f64>() + sink.map_or(0.0, |sink| (sink - maximum).exp());
            for dim in 0..shape.head_size {
                let weighted = weights.iter().enumerate().map(|(position, weight)| {
                    let index = shape.value_index(slot(inputs, seq, position), kv_head, dim);
                    weight * f64::from(inputs.value_cache[index].to_f32())
                });
                out.push(weighted.sum::<f64>() / total);
            }
        }
    }
    out
}

fn score<T: Element>(
    inputs: &Attention<'_, T>,
    seq: usize,
    head: usize,
    kv_head: usize,
    position: usize,
) -> f64 {
    let Attention { shape, num_heads, .. } = *inputs;
    let slot = slot(inputs, seq, position);
    let product: f64 = (0..shape.head_size)
        .map(|dim| {
            let query = inputs.query[(seq * num_heads + head) * shape.head_size + dim];
            let key = inputs.key_cache[shape.key_index(slot, kv_head, dim)];
            f64::from(query.to_f32()) * f64::from(key.to_f32())
        })
        .sum();
    let mut score = product * f64::from(inputs.scale);
    if inputs.softcapping != 1.0 {
        let cap = f64::from(inputs.softcapping);
        score = (score / cap).tanh() * cap;
    }
    let slope = inputs.alibi_slopes.map_or(0.0, |slopes| f64::from(slopes[head]));
    score + slope * (position as f64 - f64::from(inputs.context_lens[seq]) + 1.0)
}

fn slot<T>(inputs: &Attention<'_, T>, seq: usize, position: usize) -> usize {
    let block_size = inputs.shape.block_size;
    let block = inputs.block_tables[seq * inputs.table_stride + position / block_size] as usize;
    block * block_size + position % block_size
}
