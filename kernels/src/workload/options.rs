//! The workload's command line. Enter: arguments; leave: checked options and the sizes that follow from them.
//! Refuses sizes for which no kernel is compiled or that do not fit together.

use crate::element::Dtype;
use crate::kernel::{BLOCK_SIZES, HEAD_SIZES, PARTITION_TOKENS};

/// An LLM-like decode loop on a CUDA device, real or simulated. It prefills a batch of sequences, decodes them token
/// by token with a growing KV cache, and prints one JSON line with exact counts of what it did.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "gpu-agent-workload", version)]
pub struct Options {
    /// Transformer layers.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub layers: u32,
    /// Sequences decoded together on each stream.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub batch: u32,
    /// Tokens of each prompt.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub prompt: u32,
    /// Tokens decoded after each prompt.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub tokens: u32,
    /// Elements of an attention head: 64, 128 or 256.
    #[arg(long, default_value_t = 64)]
    pub head_size: usize,
    /// Query heads: a multiple of --kv-heads.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub heads: u32,
    /// Key/value heads.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub kv_heads: u32,
    /// Tokens of a KV-cache block: 16 or 32.
    #[arg(long, default_value_t = 16)]
    pub block_size: usize,
    /// Size of the vocabulary.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub vocab: u32,
    /// Element type: f16, bf16 or f32.
    #[arg(long, default_value_t = Dtype::F16)]
    pub dtype: Dtype,
    /// Streams of each thread; each decodes a batch of its own.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub streams: u32,
    /// Host threads; at least one per device. Thread i uses device i modulo --devices.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: u32,
    /// Devices.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub devices: u32,
    /// Capture the decode step of each stream in a CUDA graph, once, and replay it.
    #[arg(long)]
    pub graph: bool,
    /// Decode with paged_attention_v2 instead of v1.
    #[arg(long)]
    pub v2: bool,
    /// Swap one block per stream out to the host and in again every this many steps; 0: never.
    #[arg(long, default_value_t = 8, value_name = "STEPS")]
    pub swap_every: u32,
    /// Copy the last block of every sequence (as beam search does) every this many steps; 0: never.
    #[arg(long, default_value_t = 8, value_name = "STEPS")]
    pub fork_every: u32,
    /// Kernel launches per second and thread, paced; 0: as fast as it goes.
    #[arg(long, default_value_t = 0.0, value_name = "PER_SECOND")]
    pub rate: f64,
    /// Stop each thread after exactly this many kernel launches; 0: no such limit.
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    pub launches: u64,
    /// Start new rounds of prefill and decode until this many seconds have passed; 0: no such limit.
    #[arg(long, default_value_t = 0.0, value_name = "SECONDS")]
    pub seconds: f64,
    /// Seed of weights and prompts.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// When all memory is allocated and all kernels are loaded, print `ready` and wait for a line on stdin.
    #[arg(long)]
    pub wait_stdin: bool,
    /// Stay idle, with everything still allocated, for this long after the work.
    #[arg(long, default_value_t = 0.0, value_name = "SECONDS")]
    pub linger: f64,
}

/// Sizes of the model and of its batches, in elements unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Transformer layers.
    pub layers: usize,
    /// Sequences of a lane.
    pub batch: usize,
    /// Tokens of a prompt.
    pub prompt: usize,
    /// Tokens decoded after it.
    pub tokens: usize,
    /// Elements of a head.
    pub head_size: usize,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads.
    pub kv_heads: usize,
    /// Tokens of a cache block.
    pub block_size: usize,
    /// Size of the vocabulary.
    pub vocab: usize,
    /// Bytes of an element.
    pub element_bytes: usize,
    /// Whether decoding uses v2.
    pub v2: bool,
}

impl Sizes {
    /// Width of the residual stream.
    pub fn hidden(&self) -> usize {
        self.heads * self.head_size
    }

    /// Width of the keys, and of the values, of one token.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_size
    }

    /// Width of query, key and value of one token together.
    pub fn qkv_width(&self) -> usize {
        self.hidden() + 2 * self.kv_width()
    }

    /// Width of the feed-forward layer.
    pub fn inner(&self) -> usize {
        2 * self.hidden()
    }

    /// Rows of the prefill: every token of every prompt.
    pub fn prefill_rows(&self) -> usize {
        self.batch * self.prompt
    }

    /// Tokens of the longest context.
    pub fn longest(&self) -> usize {
        self.prompt + self.tokens
    }

    /// Cache blocks of one sequence at its longest.
    pub fn blocks_per_seq(&self) -> usize {
        self.longest().div_ceil(self.block_size)
    }

    /// Cache blocks of a lane: those of its sequences, and a spare one each.
    pub fn num_blocks(&self) -> usize {
        self.batch * (self.blocks_per_seq() + 1)
    }

    /// Elements of a block of either cache.
    pub fn block_numel(&self) -> usize {
        self.kv_width() * self.block_size
    }

    /// Elements of either cache of a layer.
    pub fn cache_numel(&self) -> usize {
        self.num_blocks() * self.block_numel()
    }

    /// Cells of `exp_sums` and `max_logits` of v2; none for v1.
    pub fn partition_cells(&self) -> usize {
        if self.v2 { self.prefill_rows() * self.heads * self.longest().div_ceil(PARTITION_TOKENS) } else { 0 }
    }
}

impl Options {
    /// Worker threads: those asked for, and at least one per device.
    #[must_use]
    pub fn workers(&self) -> u32 {
        self.threads.max(self.devices)
    }

    /// The sizes, if they fit together.
    ///
    /// # Errors
    /// A sentence about what does not.
    pub fn sizes(&self) -> Result<Sizes, String> {
        if !HEAD_SIZES.contains(&self.head_size) {
            return Err(format!("--head-size {}: compiled are 64, 128 and 256", self.head_size));
        }
        if !BLOCK_SIZES.contains(&self.block_size) {
            return Err(format!("--block-size {}: compiled are 16 and 32", self.block_size));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(format!("--heads {} is not a multiple of --kv-heads {}", self.heads, self.kv_heads));
        }
        for (flag, value) in [("--rate", self.rate), ("--seconds", self.seconds), ("--linger", self.linger)] {
            if !(0.0..=1e9).contains(&value) {
                return Err(format!("{flag} {value}: between 0 and 1e9"));
            }
        }
        Ok(Sizes {
            layers: self.layers as usize,
            batch: self.batch as usize,
            prompt: self.prompt as usize,
            tokens: self.tokens as usize,
            head_size: self.head_size,
            heads: self.heads as usize,
            kv_heads: self.kv_heads as usize,
            block_size: self.block_size,
            vocab: self.vocab as usize,
            element_bytes: self.dtype.size_bytes(),
            v2: self.v2,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::Options;

    fn parse(arguments: &str) -> Options {
        Options::parse_from(std::iter::once("workload").chain(arguments.split_whitespace()))
    }

    #[test]
    fn sizes_that_no_kernel_has_are_refused_by_name() {
        let refusal = |arguments| parse(arguments).sizes().unwrap_err();
        assert!(refusal("--head-size 96").starts_with("--head-size 96"));
        assert!(refusal("--block-size 8").starts_with("--block-size 8"));
        assert!(refusal("--heads 4 --kv-heads 3").contains("not a multiple"));
        assert!(refusal("--rate=-1").starts_with("--rate"));
        assert!(refusal("--seconds NaN").starts_with("--seconds"));
        assert!(parse("").sizes().is_ok());
    }

    #[test]
    fn every_device_has_a_thread() {
        assert_eq!(parse("--devices 2").workers(), 2);
        assert_eq!(parse("--devices 2 --threads 8").workers(), 8);
    }
}
