//! The kernels that move the cache: bit for bit what the definition says, and nothing else touched.

use gpu_agent_kernels_cpu::element::{Dtype, Element};
use gpu_agent_kernels_cpu::kernel::BLOCK_SIZES;
use gpu_agent_kernels_cpu::reference::{CacheShape, copy_blocks, gather_kv_cache, reshape_and_cache};
use proptest::prelude::{Strategy, any, proptest};
use proptest::sample::select;

use crate::launch::{Random, dtypes, for_dtype, input, int, output, run};

fn shapes() -> impl Strategy<Value = (usize, usize, usize)> {
    (select(BLOCK_SIZES.to_vec()), 1..=3usize, select(vec![64usize, 80, 128]))
}

fn shape_of<T: Element>((block_size, num_kv_heads, head_size): (usize, usize, usize)) -> CacheShape {
    CacheShape { num_blocks: 7, num_kv_heads, head_size, block_size, x: T::LANES }
}

fn bits<T: Element>(tensor: &[T]) -> Vec<u32> {
    tensor.iter().map(|value| value.to_f32().to_bits()).collect()
}

fn check_reshape<T: Element>(sizes: (usize, usize, usize), tokens: usize, padding: usize, seed: u64) {
    let shape = shape_of::<T>(sizes);
    let mut random = Random(seed);
    let row = shape.num_kv_heads * shape.head_size;
    let (key_stride, value_stride) = (row + padding, row + 2 * padding);
    let key: Vec<T> = random.tensor(tokens * key_stride);
    let value: Vec<T> = random.tensor(tokens * value_stride);
    let mut slots: Vec<i64> = random.permutation(shape.num_blocks * shape.block_size)[..tokens]
        .iter()
        .map(|&slot| slot as i64)
        .collect();
    slots[tokens / 2] = -1;
    let before: Vec<T> = random.tensor(shape.numel());
    let (mut keys, mut values) = (before.clone(), before.clone());
    let args = [
        input(&key),
        input(&value),
        output(&mut keys),
        output(&mut values),
        input(&slots),
        int(key_stride),
        int(value_stride),
        int(shape.num_kv_heads),
        int(shape.head_size),
        int(shape.block_size),
        int(shape.x),
    ];
    run(&format!("reshape_and_cache_{}", T::DTYPE), [tokens, 1, 1], &args);

    let packed = |rows: &[T], stride| -> Vec<T> {
        rows.chunks(stride).flat_map(|chunk| chunk[..row].iter().copied()).collect()
    };
    let (mut expected_keys, mut expected_values) = (before.clone(), before);
    reshape_and_cache(
        &packed(&key, key_stride),
        &packed(&value, value_stride),
        &mut expected_keys,
        &mut expected_values,
        &slots,
        &shape,
    );
    assert_eq!(bits(&keys), bits(&expected_keys));
    assert_eq!(bits(&values), bits(&expected_values));
}

fn check_gather<T: Element>(sizes: (usize, usize, usize), lens: &[usize], seed: u64) {
    let shape = shape_of::<T>(sizes);
    let mut random = Random(seed);
    let key_cache: Vec<T> = random.tensor(shape.numel());
    let value_cache: Vec<T> = random.tensor(shape.numel());
    let stride = 3;
    let block_tables: Vec<i32> =
        (0..lens.len() * stride).map(|_| (random.next() % shape.num_blocks as u64) as i32).collect();
    let mut starts = vec![0i32];
    for &len in lens {
        starts.push(starts[starts.len() - 1] + len as i32);
    }
    let tokens: usize = lens.iter().sum();
    let numel = tokens * shape.num_kv_heads * shape.head_size;
    let (mut keys, mut values) = (vec![T::default(); numel], vec![T::default(); numel]);
    let args = [
        input(&key_cache),
        input(&value_cache),
        output(&mut keys),
        output(&mut values),
        input(&block_tables),
        input(&starts),
        int(lens.len()),
        int(shape.block_size),
        int(stride),
        int(shape.num_kv_heads),
        int(shape.head_size),
        int(shape.x),
    ];
    run(&format!("gather_kv_cache_{}", T::DTYPE), [tokens, 1, 1], &args);
    let (expected_keys, expected_values) =
        gather_kv_cache(&key_cache, &value_cache, &block_tables, stride, lens, &shape);
    assert_eq!(bits(&keys), bits(&expected_keys));
    assert_eq!(bits(&values), bits(&expected_values));
}

fn check_copy<T: Element>(layers: usize, seed: u64) {
    let mut random = Random(seed);
    let (blocks, key_numel, value_numel) = (8, 96, 160);
    let mut keys: Vec<Vec<T>> = (0..layers).map(|_| random.tensor(blocks * key_numel)).collect();
    let mut values: Vec<Vec<T>> = (0..layers).map(|_| random.tensor(blocks * value_numel)).collect();
    let order = random.permutation(blocks);
    let pairs = [(order[0], order[1]), (order[2], order[3]), (order[0], order[4])];
    let mapping: Vec<i64> = pairs.iter().flat_map(|&(from, to)| [from as i64, to as i64]).collect();
    let (mut expected_keys, mut expected_values) = (keys.clone(), values.clone());
    for layer in 0..layers {
        copy_blocks(&mut expected_keys[layer], &pairs, key_numel);
        copy_blocks(&mut expected_values[layer], &pairs, value_numel);
    }
    let key_pointers: Vec<*mut T> = keys.iter_mut().map(Vec::as_mut_ptr).collect();
    let value_pointers: Vec<*mut T> = values.iter_mut().map(Vec::as_mut_ptr).collect();
    let args =
        [input(&key_pointers), input(&value_pointers), input(&mapping), int(key_numel), int(value_numel)];
    run(&format!("copy_blocks_{}", T::DTYPE), [layers, pairs.len(), 1], &args);
    for layer in 0..layers {
        assert_eq!(bits(&keys[layer]), bits(&expected_keys[layer]));
        assert_eq!(bits(&values[layer]), bits(&expected_values[layer]));
    }
}

proptest! {
    #[test]
    fn reshape_and_cache_fills_exactly_its_slots(
        dtype in dtypes(), sizes in shapes(), tokens in 1..=40usize, padding in 0..=8usize, seed in any::<u64>()
    ) {
        for_dtype!(dtype, check_reshape(sizes, tokens, padding, seed));
    }

    #[test]
    fn gather_reads_every_sequence_back(
        dtype in dtypes(), sizes in shapes(), lens in proptest::collection::vec(0..=48usize, 1..=4),
        seed in any::<u64>()
    ) {
        for_dtype!(dtype, check_gather(sizes, &lens, seed));
    }

    #[test]
    fn copy_blocks_copies_in_every_layer(dtype in dtypes(), layers in 1..=3usize, seed in any::<u64>()) {
        for_dtype!(dtype, check_copy(layers, seed));
    }
}
