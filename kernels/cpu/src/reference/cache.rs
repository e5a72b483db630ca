//! The paged KV cache: its layout, and the three kernels that only move elements.

/// Shape of one layer's key and value caches.
///
/// key_cache `[num_blocks, num_kv_heads, head_size / x, block_size, x]`,
/// value_cache `[num_blocks, num_kv_heads, head_size, block_size]` (vLLM and mistral.rs).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheShape {
    /// Blocks of the pool.
    pub num_blocks: usize,
    /// Key/value heads.
    pub num_kv_heads: usize,
    /// Elements of a head.
    pub head_size: usize,
    /// Tokens of a block.
    pub block_size: usize,
    /// Elements the key cache keeps together: 16 bytes' worth.
    pub x: usize,
}

impl CacheShape {
    /// Elements of either cache.
    #[must_use]
    pub fn numel(&self) -> usize {
        self.num_blocks * self.block_numel()
    }

    /// Elements of one block of either cache.
    #[must_use]
    pub fn block_numel(&self) -> usize {
        self.num_kv_heads * self.head_size * self.block_size
    }

    /// Elements of one head in one block of either cache.
    #[must_use]
    pub fn head_numel(&self) -> usize {
        self.head_size * self.block_size
    }

    /// Where the key cache holds dimension `dim` of head `head` of the token in `slot` of the pool.
    #[must_use]
    pub fn key_index(&self, slot: usize, head: usize, dim: usize) -> usize {
        let (block, offset) = (slot / self.block_size, slot % self.block_size);
        let chunks = self.head_size / self.x;
        (((block * self.num_kv_heads + head) * chunks + dim / self.x) * self.block_size + offset) * self.x
            + dim % self.x
    }

    /// Where the value cache holds it.
    #[must_use]
    pub fn value_index(&self, slot: usize, head: usize, dim: usize) -> usize {
        let (block, offset) = (slot / self.block_size, slot % self.block_size);
        ((block * self.num_kv_heads + head) * self.head_size + dim) * self.block_size + offset
    }
}

/// Writes token `t` (row `t` of `key` and `value`, `[tokens, num_kv_heads * head_size]`) to `slots[t]`; negative
/// slots are padding.
pub fn reshape_and_cache<T: Copy>(
    key: &[T],
    value: &[T],
    key_cache: &mut [T],
    value_cache: &mut [T],
    slots: &[i64],
    shape: &CacheShape,
) {
    let row = shape.num_kv_heads * shape.head_size;
    for (token, &slot) in slots.iter().enumerate() {
        let Ok(slot) = usize::try_from(slot) else { continue };
        for head in 0..shape.num_kv_heads {
            for dim in 0..shape.head_size {
                let from = token * row + head * shape.head_size + dim;
                key_cache[shape.key_index(slot, head, dim)] = key[from];
                value_cache[shape.value_index(slot, head, dim)] = value[from];
            }
        }
    }
}

/// Reads sequences back: sequence `s` has `lens[s]` tokens in the blocks of row `s` of `block_tables`.
pub fn gather_kv_cache<T: Copy>(
    key_cache: &[T],
    value_cache: &[T],
    block_tables: &[i32],
    table_stride: usize,
    lens: &[usize],
    shape: &CacheShape,
) -> (Vec<T>, Vec<T>) {
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    for (seq, &len) in lens.iter().enumerate() {
        for position in 0..len {
            let block = block_tables[seq * table_stride + position / shape.block_size] as usize;
            let slot = block * shape.block_size + position % shape.block_size;
            for head in 0..shape.num_kv_heads {
                for dim in 0..shape.head_size {
                    keys.push(key_cache[shape.key_index(slot, head, dim)]);
                    values.push(value_cache[shape.value_index(slot, head, dim)]);
                }
            }
        }
    }
    (keys, values)
}

/// Copies block `from` over block `to` for each pair, in order.
pub fn copy_blocks<T: Copy>(cache: &mut [T], pairs: &[(usize, usize)], block_numel: usize) {
    for &(from, to) in pairs {
        cache.copy_within(from * block_numel..(from + 1) * block_numel, to * block_numel);
    }
}
