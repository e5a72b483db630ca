//! Cases that move the KV cache: buffers, launch, error (which must be zero).
#![allow(unsafe_code, reason = "the entry points are C functions on raw device pointers")]

use std::ffi::c_int;
use std::rc::Rc;

use super::attention::{both, pointer};
use super::case::{Cost, Operation};
use crate::element::Element;
use crate::launch::buffer::{DeviceBuffer, PinnedBuffer};
use crate::launch::runtime::Stream;
use crate::launch::swap::{swap_blocks_in, swap_blocks_out};
use crate::launch::{LaunchError, entry};
use crate::random::Random;
use crate::reference::{self, CacheShape, NumericalError};

/// The cache that all of these work on: 8 heads of 128 elements in blocks of 16 tokens.
fn shape_of<T: Element>(tokens: usize) -> CacheShape {
    CacheShape {
        num_blocks: tokens.div_ceil(16),
        num_kv_heads: 8,
        head_size: 128,
        block_size: 16,
        x: T::LANES,
    }
}

fn row(shape: &CacheShape) -> usize {
    shape.num_kv_heads * shape.head_size
}

/// The larger of two errors.
fn worst<T: Element>(pairs: [(&[T], &[T]); 2]) -> NumericalError {
    pairs.iter().fold(NumericalError::default(), |worst, (result, expected)| {
        let expected: Vec<f64> = expected.iter().map(|value| f64::from(value.to_f32())).collect();
        let error = NumericalError::between(result, &expected);
        NumericalError {
            max_absolute: worst.max_absolute.max(error.max_absolute),
            max_relative: worst.max_relative.max(error.max_relative),
        }
    })
}

/// Keys and values of new tokens into the cache.
pub(super) struct Reshape<T> {
    stream: Rc<Stream>,
    shape: CacheShape,
    rows: [(Vec<T>, DeviceBuffer<T>); 2],
    slots: (Vec<i64>, DeviceBuffer<i64>),
    caches: [DeviceBuffer<T>; 2],
}

impl<T: Element> Reshape<T> {
    pub(super) fn new(stream: &Rc<Stream>, large: bool) -> Result<Self, LaunchError> {
        let tokens = if large { 16384 } else { 64 };
        let shape = shape_of::<T>(tokens);
        let mut random = Random::new(2, &[]);
        let zeros = vec![T::default(); shape.numel()];
        Ok(Self {
            shape,
            rows: [
                both(stream, random.tensor(tokens * row(&shape), 0.0, 1.0))?,
                both(stream, random.tensor(tokens * row(&shape), 0.0, 1.0))?,
            ],
            slots: both(stream, random.permutation(tokens).into_iter().map(|slot| slot as i64).collect())?,
            caches: [both(stream, zeros.clone())?.1, both(stream, zeros)?.1],
            stream: Rc::clone(stream),
        })
    }
}

impl<T: Element> Operation for Reshape<T> {
    fn cost(&self) -> Cost {
        Cost { bytes: (4 * self.shape.numel() * size_of::<T>()) as u64, flops: 0 }
    }

    fn enqueue(&mut self) -> Result<(), LaunchError> {
        let [(_, key), (_, value)] = &self.rows;
        let [key_cache, value_cache] = &self.caches;
        let shape = &self.shape;
        // SAFETY: every buffer has the shape that is passed, and lives as long as `self`.
        unsafe {
            entry::reshape_and_cache(
                pointer(key),
                pointer(value),
                pointer(key_cache),
                pointer(value_cache),
                self.slots.1.view().address() as *const i64,
                self.slots.0.len() as c_int,
                shape.num_kv_heads as c_int,
                shape.head_size as c_int,
                shape.block_size as c_int,
                shape.x as c_int,
                row(shape) as c_int,
                row(shape) as c_int,
                self.stream.raw(),
                T::DTYPE as u32,
                T::DTYPE as u32,
                std::ptr::null(),
                std::ptr::null(),
            );
        }
        entry::take_error()
    }

    fn error(&mut self) -> Result<NumericalError, LaunchError> {
        let [(key, _), (value, _)] = &self.rows;
        let [key_cache, value_cache] = &self.caches;
        let mut keys = vec![T::default(); self.shape.numel()];
        let mut values = keys.clone();
        reference::reshape_and_cache(key, value, &mut keys, &mut values, &self.slots.0, &self.shape);
        Ok(worst([(&key_cache.read()?, &keys), (&value_cache.read()?, &values)]))
    }
}

/// Keys and values of cached sequences out of the cache.
pub(super) struct Gather<T> {
    stream: Rc<Stream>,
    shape: CacheShape,
    lens: Vec<usize>,
    caches: [(Vec<T>, DeviceBuffer<T>); 2],
    tables: (Vec<i32>, DeviceBuffer<i32>),
    starts: DeviceBuffer<i32>,
    outs: [DeviceBuffer<T>; 2],
}

impl<T: Element> Gather<T> {
    pub(super) fn new(stream: &Rc<Stream>, large: bool) -> Result<Self, LaunchError> {
        let (seqs, len) = if large { (16, 1024) } else { (2, 32) };
        let shape = shape_of::<T>(seqs * len);
        let mut random = Random::new(3, &[]);
        let tables = random.permutation(shape.num_blocks).into_iter().map(|block| block as i32).collect();
        let starts = (0..=seqs).map(|seq| (seq * len) as i32).collect();
        let context = stream.context();
        Ok(Self {
            shape,
            lens: vec![len; seqs],
            caches: [
                both(stream, random.tensor(shape.numel(), 0.0, 1.0))?,
                both(stream, random.tensor(shape.numel(), 0.0, 1.0))?,
            ],
            tables: both(stream, tables)?,
            starts: both(stream, starts)?.1,
            outs: [DeviceBuffer::new(context, shape.numel())?, DeviceBuffer::new(context, shape.numel())?],
            stream: Rc::clone(stream),
        })
    }

    fn table_stride(&self) -> usize {
        self.shape.num_blocks / self.lens.len()
    }
}

impl<T: Element> Operation for Gather<T> {
    fn cost(&self) -> Cost {
        Cost { bytes: (4 * self.shape.numel() * size_of::<T>()) as u64, flops: 0 }
    }

    fn enqueue(&mut self) -> Result<(), LaunchError> {
        let [(_, key_cache), (_, value_cache)] = &self.caches;
        let [k_out, v_out] = &self.outs;
        let shape = &self.shape;
        // SAFETY: every buffer has the shape that is passed, and lives as long as `self`.
        unsafe {
            entry::gather_kv_cache(
                pointer(key_cache),
                pointer(value_cache),
                pointer(k_out),
                pointer(v_out),
                std::ptr::null(),
                std::ptr::null(),
                self.tables.1.view().address() as *const c_int,
                self.starts.view().address() as *const c_int,
                self.lens.iter().sum::<usize>() as c_int,
                self.lens.len() as c_int,
                shape.block_size as c_int,
                self.table_stride() as c_int,
                shape.num_kv_heads as c_int,
                shape.head_size as c_int,
                shape.x as c_int,
                self.stream.raw(),
                T::DTYPE as u32,
                T::DTYPE as u32,
            );
        }
        entry::take_error()
    }

    fn error(&mut self) -> Result<NumericalError, LaunchError> {
        let [(key_cache, _), (value_cache, _)] = &self.caches;
        let [k_out, v_out] = &self.outs;
        let stride = self.table_stride();
        let (keys, values) = reference::gather_kv_cache(
            key_cache,
            value_cache,
            &self.tables.0,
            stride,
            &self.lens,
            &self.shape,
        );
        Ok(worst([(&k_out.read()?, &keys), (&v_out.read()?, &values)]))
    }
}

/// Blocks within the device: the first half of the pool over the second.
pub(super) struct Copy<T> {
    stream: Rc<Stream>,
    shape: CacheShape,
    caches: [(Vec<T>, DeviceBuffer<T>); 2],
    addresses: [DeviceBuffer<u64>; 2],
    pairs: DeviceBuffer<i64>,
}

impl<T: Element> Copy<T> {
    pub(super) fn new(stream: &Rc<Stream>, large: bool) -> Result<Self, LaunchError> {
        let shape = shape_of::<T>(if large { 16384 } else { 128 });
        let mut random = Random::new(4, &[]);
        let keys = both(stream, random.tensor(shape.numel(), 0.0, 1.0))?;
        let values = both(stream, random.tensor(shape.numel(), 0.0, 1.0))?;
        let half = shape.num_blocks / 2;
        let pairs = (0..half).flat_map(|block| [block as i64, (block + half) as i64]).collect();
        Ok(Self {
            shape,
            addresses: [
                both(stream, vec![keys.1.view().address()])?.1,
                both(stream, vec![values.1.view().address()])?.1,
            ],
            caches: [keys, values],
            pairs: both(stream, pairs)?.1,
            stream: Rc::clone(stream),
        })
    }
}

impl<T: Element> Operation for Copy<T> {
    fn cost(&self) -> Cost {
        Cost { bytes: (2 * self.shape.numel() * size_of::<T>()) as u64, flops: 0 }
    }

    fn enqueue(&mut self) -> Result<(), LaunchError> {
        let [keys, values] = &self.addresses;
        let numel = self.shape.block_numel() as i32;
        // SAFETY: the address tables hold one cache each, and the pairs name different blocks of it.
        unsafe {
            entry::copy_blocks_of(T::DTYPE)(
                pointer(keys).cast_mut(),
                pointer(values).cast_mut(),
                pointer(&self.pairs),
                1,
                (self.shape.num_blocks / 2) as i32,
                numel,
                numel,
                self.stream.raw() as i64,
            );
        }
        entry::take_error()
    }

    fn error(&mut self) -> Result<NumericalError, LaunchError> {
        let half = self.shape.num_blocks / 2;
        let pairs: Vec<(usize, usize)> = (0..half).map(|block| (block, block + half)).collect();
        let [(keys, key_cache), (values, value_cache)] = &self.caches;
        let (mut keys, mut values) = (keys.clone(), values.clone());
        reference::copy_blocks(&mut keys, &pairs, self.shape.block_numel());
        reference::copy_blocks(&mut values, &pairs, self.shape.block_numel());
        Ok(worst([(&key_cache.read()?, &keys), (&value_cache.read()?, &values)]))
    }
}

/// Blocks between device and host, in reverse order.
pub(super) struct Swap<T> {
    shape: CacheShape,
    out: bool,
    pairs: Vec<(usize, usize)>,
    values: Vec<T>,
    cache: DeviceBuffer<T>,
    host: PinnedBuffer<T>,
}

impl<T: Element> Swap<T> {
    pub(super) fn new(stream: &Rc<Stream>, out: bool, large: bool) -> Result<Self, LaunchError> {
        let shape = shape_of::<T>(if large { 1024 } else { 64 });
        let (values, cache) = both(stream, Random::new(5, &[]).tensor(shape.numel(), 0.0, 1.0))?;
        let mut host = PinnedBuffer::new(stream, shape.numel())?;
        if !out {
            host.get_mut()?.copy_from_slice(&values);
        }
        let pairs = (0..shape.num_blocks).map(|block| (block, shape.num_blocks - 1 - block)).collect();
        Ok(Self { shape, out, pairs, values, cache, host })
    }
}

impl<T: Element> Operation for Swap<T> {
    fn cost(&self) -> Cost {
        Cost { bytes: (self.shape.numel() * size_of::<T>()) as u64, flops: 0 }
    }

    fn enqueue(&mut self) -> Result<(), LaunchError> {
        let numel = self.shape.block_numel();
        if self.out {
            swap_blocks_out(self.cache.view(), &mut self.host, &self.pairs, numel)
        } else {
            swap_blocks_in(&self.host, self.cache.view(), &self.pairs, numel)
        }
    }

    fn error(&mut self) -> Result<NumericalError, LaunchError> {
        let expected: Vec<T> =
            self.values.chunks(self.shape.block_numel()).rev().flatten().copied().collect();
        let on_device = if self.out { expected.clone() } else { self.cache.read()? };
        let on_host = if self.out { self.host.get()? } else { &expected };
        Ok(worst([(&on_device, &expected), (on_host, &expected)]))
    }
}
