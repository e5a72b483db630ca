//! Attention: v1 and v2 agree with the definition.

use gpu_agent_kernels_cpu::element::{Dtype, Element};
use gpu_agent_kernels_cpu::kernel::{BLOCK_SIZES, HEAD_SIZES, PARTITION_TOKENS};
use gpu_agent_kernels_cpu::reference::{Attention, CacheShape, paged_attention};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use proptest::sample::select;

use crate::launch::{Arg, Random, assert_close, dtypes, for_dtype, input, int, optional, output, run};

#[derive(Clone, Debug)]
struct Case {
    head_size: usize,
    block_size: usize,
    num_kv_heads: usize,
    group: usize,
    contexts: Vec<usize>,
    softcapping: f32,
    alibi: bool,
    sinks: bool,
    seed: u64,
}

fn cases(longest: usize) -> impl Strategy<Value = Case> {
    (
        (select(HEAD_SIZES.to_vec()), select(BLOCK_SIZES.to_vec()), 1..=3usize, 1..=3usize),
        proptest::collection::vec(1..=longest, 1..=3),
        prop_oneof![Just(1.0f32), Just(5.0f32)],
        any::<(bool, bool, u64)>(),
    )
        .prop_map(|(sizes, contexts, softcapping, (alibi, sinks, seed))| {
            let (head_size, block_size, num_kv_heads, group) = sizes;
            Case { head_size, block_size, num_kv_heads, group, contexts, softcapping, alibi, sinks, seed }
        })
}

/// A case with its tensors.
struct Tensors<T> {
    query: Vec<T>,
    q_stride: usize,
    key_cache: Vec<T>,
    value_cache: Vec<T>,
    block_tables: Vec<i32>,
    table_stride: usize,
    context_lens: Vec<i32>,
    alibi_slopes: Option<Vec<f32>>,
    sinks: Option<Vec<f32>>,
    shape: CacheShape,
    num_heads: usize,
}

impl<T: Element> Tensors<T> {
    fn new(case: &Case) -> Self {
        let mut random = Random(case.seed);
        let num_heads = case.num_kv_heads * case.group;
        let blocks: Vec<usize> = case.contexts.iter().map(|len| len.div_ceil(case.block_size)).collect();
        let shape = CacheShape {
            num_blocks: blocks.iter().sum::<usize>() + 2,
            num_kv_heads: case.num_kv_heads,
            head_size: case.head_size,
            block_size: case.block_size,
            x: T::LANES,
        };
        let table_stride = blocks.iter().max().unwrap() + 1;
        let mut block_tables = vec![-1; case.contexts.len() * table_stride];
        let mut free = random.permutation(shape.num_blocks).into_iter();
        let nan = T::from_f32(f32::NAN);
        let (mut key_cache, mut value_cache) = (vec![nan; shape.numel()], vec![nan; shape.numel()]);
        for (seq, &context) in case.contexts.iter().enumerate() {
            for (index, block) in free.by_ref().take(blocks[seq]).enumerate() {
                block_tables[seq * table_stride + index] = block as i32;
                let tokens = (context - index * case.block_size).min(case.block_size);
                for offset in 0..tokens {
                    for head in 0..case.num_kv_heads {
                        let values = random.tensor::<T>(2 * case.head_size);
                        for dim in 0..case.head_size {
                            let slot = block * case.block_size + offset;
                            key_cache[shape.key_index(slot, head, dim)] = values[2 * dim];
                            value_cache[shape.value_index(slot, head, dim)] = values[2 * dim + 1];
                        }
                    }
                }
            }
        }
        let q_stride = (num_heads + 1) * case.head_size;
        Self {
            query: random.tensor(case.contexts.len() * q_stride),
            q_stride,
            key_cache,
            value_cache,
            block_tables,
            table_stride,
            context_lens: case.contexts.iter().map(|&len| len as i32).collect(),
            alibi_slopes: case.alibi.then(|| random.tensor(num_heads)),
            sinks: case.sinks.then(|| random.tensor(num_heads)),
            shape,
            num_heads,
        }
    }

    fn scale(&self) -> f32 {
        1.0 / (self.shape.head_size as f32).sqrt()
    }

    fn reference(&self, softcapping: f32) -> Vec<f64> {
        let width = self.num_heads * self.shape.head_size;
        let query: Vec<T> =
            self.query.chunks(self.q_stride).flat_map(|row| row[..width].iter().copied()).collect();
        paged_attention(&Attention {
            query: &query,
            key_cache: &self.key_cache,
            value_cache: &self.value_cache,
            block_tables: &self.block_tables,
            table_stride: self.table_stride,
            context_lens: &self.context_lens,
            num_heads: self.num_heads,
            scale: self.scale(),
            softcapping,
            alibi_slopes: self.alibi_slopes.as_deref(),
            sinks: self.sinks.as_deref(),
            shape: self.shape,
        })
    }

    /// The arguments that v1 and v2 share, from query on.
    fn args(&self, softcapping: f32) -> Vec<Arg> {
        vec![
            input(&self.query),
            input(&self.key_cache),
            input(&self.value_cache),
            int(self.shape.num_kv_heads),
            Arg::Float(self.scale()),
            Arg::Float(softcapping),
            input(&self.block_tables),
            input(&self.context_lens),
            int(self.table_stride),
            optional(self.alibi_slopes.as_deref()),
            int(self.q_stride),
            int(self.shape.block_numel()),
            int(self.shape.head_numel()),
        ]
    }
}

fn check_v1<T: Element>(case: &Case) {
    let tensors = Tensors::<T>::new(case);
    let seqs = case.contexts.len();
    let mut out = vec![T::default(); seqs * tensors.num_heads * case.head_size];
    let mut args = vec![output(&mut out)];
    args.extend(tensors.args(case.softcapping));
    args.push(optional(tensors.sinks.as_deref()));
    let name = format!("paged_attention_v1_{}_h{}_b{}", T::DTYPE, case.head_size, case.block_size);
    run(&name, [tensors.num_heads, seqs, 1], &args);
    assert_close(&out, &tensors.reference(case.softcapping));
}

fn check_v2<T: Element>(case: &Case, spare_partitions: usize) {
    let tensors = Tensors::<T>::new(case);
    let (seqs, heads) = (case.contexts.len(), tensors.num_heads);
    let longest = case.contexts.iter().max().unwrap();
    let partitions = longest.div_ceil(PARTITION_TOKENS) + spare_partitions;
    let mut exp_sums = vec![f32::NAN; seqs * heads * partitions];
    let mut max_logits = exp_sums.clone();
    let mut tmp_out = vec![T::from_f32(f32::NAN); exp_sums.len() * case.head_size];
    let mut args = vec![output(&mut exp_sums), output(&mut max_logits), output(&mut tmp_out)];
    args.extend(tensors.args(case.softcapping));
    let name = format!("paged_attention_v2_{}_h{}_b{}", T::DTYPE, case.head_size, case.block_size);
    run(&name, [heads, seqs, partitions], &args);

    let mut out = vec![T::default(); seqs * heads * case.head_size];
    let name = format!("paged_attention_v2_reduce_{}_h{}", T::DTYPE, case.head_size);
    let args = [
        output(&mut out),
        input(&exp_sums),
        input(&max_logits),
        input(&tmp_out),
        input(&tensors.context_lens),
        int(partitions),
        optional(tensors.sinks.as_deref()),
    ];
    run(&name, [heads, seqs, 1], &args);
    assert_close(&out, &tensors.reference(case.softcapping));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn v1_agrees_with_the_definition(case in cases(70), dtype in dtypes()) {
        for_dtype!(dtype, check_v1(&case));
    }

    #[test]
    fn v2_agrees_with_the_definition(case in cases(70), dtype in dtypes(), spare in 0..2usize) {
        for_dtype!(dtype, check_v2(&case, spare));
    }
}

#[test]
fn v2_joins_partitions_of_sequences_of_different_lengths() {
    for dtype in Dtype::ALL {
        let case = Case {
            head_size: 64,
            block_size: 32,
            num_kv_heads: 1,
            group: 2,
            contexts: vec![1, PARTITION_TOKENS, PARTITION_TOKENS + 1, 2 * PARTITION_TOKENS + 77],
            softcapping: 1.0,
            alibi: false,
            sinks: true,
            seed: 7,
        };
        for_dtype!(dtype, check_v2(&case, 1));
    }
}
