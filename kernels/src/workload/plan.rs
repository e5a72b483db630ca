//! What the workload must have done, computed from its options and its progress alone. Enter: sizes and how often
//! each phase ran; leaves: the [`Tally`] that the counters must show. Knows nothing of a driver, so that the ground
//! truth is not measured by what it is to check.

use super::options::Sizes;
use crate::element::Dtype;
use crate::kernel::Kernel;
use crate::tally::Tally;

/// How often a lane (one stream of one thread) ran each phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Prefills.
    pub prefills: u64,
    /// Decode steps.
    pub steps: u64,
    /// Blocks swapped out and in.
    pub swaps: u64,
    /// Forks of all sequences.
    pub forks: u64,
    /// Launches that only fill up a launch budget.
    pub fillers: u64,
}

/// The arithmetic.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    sizes: Sizes,
    dtype: Dtype,
    graph: bool,
}

impl Plan {
    /// For these options.
    #[must_use]
    pub fn new(sizes: Sizes, dtype: Dtype, graph: bool) -> Self {
        Self { sizes, dtype, graph }
    }

    /// Kernel launches of one decode step of a lane.
    #[must_use]
    pub fn step_launches(&self) -> u64 {
        self.step().total_launches()
    }

    /// Kernel launches of one prefill of a lane.
    #[must_use]
    pub fn prefill_launches(&self) -> u64 {
        self.prefill().total_launches()
    }

    /// What a lane that made this progress, and set itself up before and freed everything after, has done.
    #[must_use]
    pub fn lane(&self, progress: &Progress) -> Tally {
        let mut tally = self.lane_setup();
        let phases = [
            (self.prefill(), progress.prefills),
            (self.swap(), progress.swaps),
            (self.fork(), progress.forks),
        ];
        for (phase, times) in phases {
            add_times(&mut tally, &phase, times);
        }
        let step = self.step();
        if self.graph {
            tally.add_replay(&step, progress.steps);
            tally.launch_calls += if progress.steps > 0 { step.launch_calls } else { 0 };
        } else {
            add_times(&mut tally, &step, progress.steps);
        }
        self.launch(&mut tally, Kernel::rms_norm(self.dtype), progress.fillers);
        tally
    }

    /// What a thread does apart from its lanes: the weights.
    #[must_use]
    pub fn weights(&self) -> Tally {
        let sizes = &self.sizes;
        let hidden = sizes.hidden();
        let layer = [
            hidden,
            sizes.qkv_width() * hidden,
            hidden * hidden,
            hidden,
            sizes.inner() * hidden,
            hidden * sizes.inner(),
        ];
        let mut tally = Tally::default();
        for numel in layer {
            self.buffer(&mut tally, sizes.layers as u64, numel, sizes.element_bytes);
            tally.htod.add(sizes.layers as u64, (numel * sizes.element_bytes) as u64);
        }
        for numel in [hidden, sizes.vocab * hidden] {
            self.buffer(&mut tally, 1, numel, sizes.element_bytes);
            tally.htod.add(1, (numel * sizes.element_bytes) as u64);
        }
        tally
    }

    /// Buffers of a lane, the memsets of its caches, the addresses of the caches.
    fn lane_setup(&self) -> Tally {
        let sizes = &self.sizes;
        let (rows, hidden, layers) = (sizes.prefill_rows(), sizes.hidden(), sizes.layers as u64);
        let table = rows * sizes.blocks_per_seq();
        let mut tally = Tally::default();
        let activations = [
            rows * hidden,
            rows * hidden,
            rows * sizes.qkv_width(),
            rows * hidden,
            rows * sizes.inner(),
            sizes.batch * hidden,
            sizes.batch * sizes.vocab,
            rows * sizes.kv_width(),
            rows * sizes.kv_width(),
        ];
        for numel in activations {
            self.buffer(&mut tally, 1, numel, sizes.element_bytes);
        }
        self.buffer(&mut tally, 2 * layers, sizes.cache_numel(), sizes.element_bytes);
        tally.memsets.add(2 * layers, (sizes.cache_numel() * sizes.element_bytes) as u64);
        self.buffer(&mut tally, 2, sizes.layers, 8);
        tally.htod.add(2, 8 * layers);
        let inputs = [(rows, 8), (table, 4), (rows, 4), (sizes.batch + 1, 4), (2 * sizes.batch, 8)];
        for (numel, bytes) in inputs {
            self.buffer(&mut tally, 1, numel, bytes);
            self.pinned(&mut tally, numel, bytes);
        }
        if sizes.v2 {
            let cells = sizes.partition_cells();
            self.buffer(&mut tally, 2, cells, 4);
            self.buffer(&mut tally, 1, cells * sizes.head_size, sizes.element_bytes);
        }
        let staging = [
            rows * hidden,
            sizes.batch * sizes.vocab,
            rows * sizes.kv_width(),
            rows * sizes.kv_width(),
            2 * sizes.layers * sizes.block_numel(),
        ];
        for numel in staging {
            self.pinned(&mut tally, numel, sizes.element_bytes);
        }
        tally
    }

    fn prefill(&self) -> Tally {
        let sizes = &self.sizes;
        let (rows, layers, bytes) = (sizes.prefill_rows(), sizes.layers as u64, sizes.element_bytes);
        let mut tally = self.forward(rows);
        tally.dtod.add(1, (sizes.batch * sizes.hidden() * bytes) as u64);
        tally.htod.add(1, 4 * (sizes.batch as u64 + 1));
        self.launch(&mut tally, Kernel::gather_kv_cache(self.dtype), layers);
        tally.dtoh.add(2 * layers, (rows * sizes.kv_width() * bytes) as u64);
        tally
    }

    fn step(&self) -> Tally {
        self.forward(self.sizes.batch)
    }

    /// One pass of `rows` tokens through the model, inputs up and logits down included.
    fn forward(&self, rows: usize) -> Tally {
        let sizes = &self.sizes;
        let (layers, dtype, bytes) = (sizes.layers as u64, self.dtype, sizes.element_bytes);
        let mut tally = Tally::default();
        for size in [rows * sizes.hidden() * bytes, rows * 8, rows * sizes.blocks_per_seq() * 4, rows * 4] {
            tally.htod.add(1, size as u64);
        }
        let logits = (sizes.batch * sizes.vocab * bytes) as u64;
        tally.memsets.add(1, logits);
        self.launch(&mut tally, Kernel::rms_norm(dtype), 2 * layers + 1);
        self.launch(&mut tally, Kernel::gemm(dtype), 4 * layers + 1);
        self.launch(&mut tally, Kernel::reshape_and_cache(dtype), layers);
        let attention: [Option<Kernel>; 2] = if sizes.v2 {
            [
                Kernel::paged_attention_v2(dtype, sizes.head_size, sizes.block_size),
                Kernel::paged_attention_v2_reduce(dtype, sizes.head_size),
            ]
        } else {
            [Kernel::paged_attention_v1(dtype, sizes.head_size, sizes.block_size), None]
        };
        for kernel in attention.into_iter().flatten() {
            self.launch(&mut tally, kernel, layers);
        }
        tally.dtoh.add(1, logits);
        tally
    }

    fn swap(&self) -> Tally {
        let copies = 2 * self.sizes.layers as u64;
        let block = (self.sizes.block_numel() * self.sizes.element_bytes) as u64;
        let mut tally = Tally::default();
        tally.dtoh.add(copies, block);
        tally.htod.add(copies, block);
        tally
    }

    fn fork(&self) -> Tally {
        let mut tally = Tally::default();
        tally.htod.add(1, 16 * self.sizes.batch as u64);
        self.launch(&mut tally, Kernel::copy_blocks(self.dtype), 1);
        tally
    }

    fn launch(&self, tally: &mut Tally, kernel: Kernel, count: u64) {
        tally.launch(kernel, count);
        tally.launch_calls += count;
    }

    fn buffer(&self, tally: &mut Tally, count: u64, numel: usize, element_bytes: usize) {
        tally.allocations.add(count, (numel * element_bytes) as u64);
        tally.frees += count;
    }

    fn pinned(&self, tally: &mut Tally, numel: usize, element_bytes: usize) {
        tally.pinned_allocations.add(1, (numel * element_bytes) as u64);
        tally.pinned_frees += 1;
    }
}

fn add_times(tally: &mut Tally, phase: &Tally, times: u64) {
    let graph_launches = tally.graph_launches;
    tally.add_replay(phase, times);
    tally.graph_launches = graph_launches;
    tally.launch_calls += phase.launch_calls * times;
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{Plan, Progress};
    use crate::tally::Volume;
    use crate::workload::options::Options;

    fn plan(arguments: &str) -> Plan {
        let options = Options::parse_from(std::iter::once("workload").chain(arguments.split_whitespace()));
        Plan::new(options.sizes().unwrap(), options.dtype, options.graph)
    }

    const SMALL: &str = "--layers 3 --batch 2 --prompt 5 --tokens 4 --heads 4 --kv-heads 2 --vocab 10";

    #[test]
    fn a_decode_step_is_counted_by_hand() {
        let progress = Progress { steps: 7, ..Progress::default() };
        let tally = plan(SMALL).lane(&progress);
        let launches: Vec<_> = tally.launches().collect();
        let expected = [
            ("paged_attention_v1_f16_h64_b16", 7 * 3),
            ("reshape_and_cache_f16", 7 * 3),
            ("rms_norm_f16", 7 * (2 * 3 + 1)),
            ("gemm_f16", 7 * (4 * 3 + 1)),
        ];
        assert_eq!(launches, expected);
        assert_eq!(tally.launch_calls, 7 * 26);
        // Logits: 2 sequences, 10 words, 2 bytes.
        assert_eq!(tally.dtoh, Volume { count: 7, bytes: 7 * 2 * 10 * 2 });
        // Embeddings 2 x 256 x 2, slots 2 x 8, one table entry per sequence 2 x 4, lengths 2 x 4; once, before,
        // the addresses of the caches of 3 layers.
        assert_eq!(tally.htod, Volume { count: 7 * 4 + 2, bytes: 7 * (1024 + 16 + 8 + 8) + 2 * 3 * 8 });
        // The logits each step; once, before, 6 caches of 2 x (1 + 1) blocks of 2 x 64 x 16 elements.
        let cache = 4 * 2 * 64 * 16 * 2;
        assert_eq!(tally.memsets, Volume { count: 7 + 6, bytes: 7 * 40 + 6 * cache });
    }

    #[test]
    fn a_graph_executes_the_same_and_is_captured_once() {
        let progress = Progress { prefills: 2, steps: 9, swaps: 1, forks: 3, fillers: 5 };
        let eager = plan(SMALL).lane(&progress);
        let graph = plan(&format!("{SMALL} --graph")).lane(&progress);
        assert!(eager.launches().eq(graph.launches()));
        assert_eq!((eager.htod, eager.dtoh, eager.memsets), (graph.htod, graph.dtoh, graph.memsets));
        assert_eq!((eager.graph_launches, graph.graph_launches), (0, 9));
        assert_eq!(eager.launch_calls - graph.launch_calls, 8 * 26);
    }

    #[test]
    fn v2_launches_its_reduction_as_often_as_itself() {
        let progress = Progress { steps: 4, ..Progress::default() };
        let tally = plan(&format!("{SMALL} --v2 --dtype bf16")).lane(&progress);
        let attention: Vec<_> = tally.launches().filter(|(name, _)| name.contains("attention")).collect();
        let expected = [("paged_attention_v2_bf16_h64_b16", 12), ("paged_attention_v2_reduce_bf16_h64", 12)];
        assert_eq!(attention, expected);
    }

    #[test]
    fn prefill_saves_the_prefix_and_everything_allocated_is_freed() {
        let progress = Progress { prefills: 1, ..Progress::default() };
        let tally = plan(SMALL).lane(&progress);
        assert!(tally.launches().any(|launches| launches == ("gather_kv_cache_f16", 3)));
        // Keys and values of 3 layers, 10 tokens of 2 x 64 elements each; and the logits.
        assert_eq!(tally.dtoh, Volume { count: 7, bytes: 6 * 10 * 128 * 2 + 40 });
        assert_eq!(tally.dtod, Volume { count: 1, bytes: 2 * 256 * 2 });
        assert_eq!(tally.allocations.count, tally.frees);
        assert_eq!(tally.pinned_allocations.count, tally.pinned_frees);
    }
}
