//! Attention cases: buffers, launch, error.
#![allow(unsafe_code, reason = "the entry points are C functions on raw device pointers")]

use std::ffi::{c_int, c_void};
use std::rc::Rc;

use super::case::{Cost, Operation};
use crate::element::Element;
use crate::launch::buffer::DeviceBuffer;
use crate::launch::runtime::Stream;
use crate::launch::{LaunchError, entry};
use crate::random::Random;
use crate::reference::{self, CacheShape, NumericalError};

/// Sequences that are checked against the reference.
const CHECKED: usize = 2;

/// A decode step's attention.
pub(super) struct Attention<T> {
    stream: Rc<Stream>,
    shape: CacheShape,
    seqs: usize,
    heads: usize,
    context: usize,
    query: (Vec<T>, DeviceBuffer<T>),
    caches: [(Vec<T>, DeviceBuffer<T>); 2],
    tables: (Vec<i32>, DeviceBuffer<i32>),
    lens: (Vec<i32>, DeviceBuffer<i32>),
    out: DeviceBuffer<T>,
    /// Scratch of v2.
    partitions: Option<(DeviceBuffer<f32>, DeviceBuffer<f32>, DeviceBuffer<T>)>,
}

/// Host values and their copy on the device.
pub(super) fn both<T: crate::element::Plain>(
    stream: &Stream,
    values: Vec<T>,
) -> Result<(Vec<T>, DeviceBuffer<T>), LaunchError> {
    let buffer = DeviceBuffer::new(stream.context(), values.len())?;
    buffer.write(&values)?;
    Ok((values, buffer))
}

impl<T: Element> Attention<T> {
    pub(super) fn new(
        stream: &Rc<Stream>,
        head_size: usize,
        block_size: usize,
        v2: bool,
        large: bool,
    ) -> Result<Self, LaunchError> {
        let (seqs, heads, num_kv_heads, context) = match (large, v2) {
            (false, false) => (2, 8, 2, 200),
            (false, true) => (1, 8, 2, 600),
            (true, false) => (32, 32, 8, 1000),
            (true, true) => (4, 32, 8, 8000),
        };
        let blocks_per_seq = usize::div_ceil(context, block_size);
        let num_blocks = seqs * blocks_per_seq;
        let shape = CacheShape { num_blocks, num_kv_heads, head_size, block_size, x: T::LANES };
        let mut random = Random::new(1, &[head_size as u64, block_size as u64]);
        let tables = random.permutation(num_blocks).into_iter().map(|block| block as i32).collect();
        let cells = seqs * heads * entry::num_partitions(context);
        let context_of = stream.context();
        let partitions = if v2 {
            Some((
                DeviceBuffer::new(context_of, cells)?,
                DeviceBuffer::new(context_of, cells)?,
                DeviceBuffer::new(context_of, cells * head_size)?,
            ))
        } else {
            None
        };
        Ok(Self {
            shape,
            seqs,
            heads,
            context,
            query: both(stream, random.tensor(seqs * heads * head_size, 0.0, 1.0))?,
            caches: [
                both(stream, random.tensor(shape.numel(), 0.0, 1.0))?,
                both(stream, random.tensor(shape.numel(), 0.0, 1.0))?,
            ],
            tables: both(stream, tables)?,
            lens: both(stream, vec![context as i32; seqs])?,
            out: DeviceBuffer::new(context_of, seqs * heads * head_size)?,
            partitions,
            stream: Rc::clone(stream),
        })
    }

    fn scale(&self) -> f32 {
        1.0 / (self.shape.head_size as f32).sqrt()
    }
}

impl<T: Element> Operation for Attention<T> {
    fn cost(&self) -> Cost {
        let head = self.shape.head_size;
        let cached = 2 * self.seqs * self.context * self.shape.num_kv_heads * head;
        let rows = 2 * self.seqs * self.heads * head;
        Cost {
            bytes: ((cached + rows) * size_of::<T>()) as u64,
            flops: (4 * self.seqs * self.heads * self.context * head) as u64,
        }
    }

    fn enqueue(&mut self) -> Result<(), LaunchError> {
        let [(_, key_cache), (_, value_cache)] = &self.caches;
        let (key_cache, value_cache) = (pointer(key_cache), pointer(value_cache));
        let (query, out) = (pointer(&self.query.1), pointer(&self.out));
        let tables = self.tables.1.view().address() as *const c_int;
        let lens = self.lens.1.view().address() as *const c_int;
        let shape = &self.shape;
        let [block_size, head_size, kv_heads] =
            [shape.block_size, shape.head_size, shape.num_kv_heads].map(|size| size as c_int);
        let [context, seqs, heads, blocks] =
            [self.context, self.seqs, self.heads, shape.num_blocks / self.seqs].map(|size| size as c_int);
        let [block_stride, head_stride] = [shape.block_numel(), shape.head_numel()].map(|size| size as c_int);
        let (scale, raw, dtype) = (self.scale(), self.stream.raw(), T::DTYPE as u32);
        let (none, no_scale) = (std::ptr::null(), std::ptr::null());
        if let Some((exp_sums, max_logits, tmp_out)) = &self.partitions {
            // SAFETY: every buffer has the shape that is passed, and lives as long as `self`.
            unsafe {
                entry::paged_attention_v2(T::DTYPE)(
                    out,
                    pointer(exp_sums).cast(),
                    pointer(max_logits).cast(),
                    pointer(tmp_out),
                    query,
                    key_cache,
                    value_cache,
                    none,
                    kv_heads,
                    scale,
                    1.0,
                    tables,
                    lens,
                    block_size,
                    context,
                    seqs,
                    heads,
                    head_size,
                    blocks,
                    heads * head_size,
                    block_stride,
                    head_stride,
                    raw,
                    dtype,
                    no_scale,
                    no_scale,
                    no_scale,
                );
            }
        } else {
            // SAFETY: as above.
            unsafe {
                entry::paged_attention_v1(T::DTYPE)(
                    out,
                    query,
                    key_cache,
                    value_cache,
                    none,
                    kv_heads,
                    scale,
                    1.0,
                    tables,
                    lens,
                    block_size,
                    context,
                    seqs,
                    heads,
                    head_size,
                    blocks,
                    heads * head_size,
                    block_stride,
                    head_stride,
                    raw,
                    dtype,
                    no_scale,
                    no_scale,
                    no_scale,
                );
            }
        }
        entry::take_error()
    }

    fn error(&mut self) -> Result<NumericalError, LaunchError> {
        let result = self.out.read()?;
        let checked = self.seqs.min(CHECKED);
        let width = checked * self.heads * self.shape.head_size;
        let table_stride = self.shape.num_blocks / self.seqs;
        let [(key_cache, _), (value_cache, _)] = &self.caches;
        let expected = reference::paged_attention(&reference::Attention {
            query: self.query.0.get(..width).unwrap_or_default(),
            key_cache,
            value_cache,
            block_tables: &self.tables.0,
            table_stride,
            context_lens: self.lens.0.get(..checked).unwrap_or_default(),
            num_heads: self.heads,
            scale: self.scale(),
            softcapping: 1.0,
            alibi_slopes: None,
            sinks: None,
            shape: self.shape,
        });
        Ok(NumericalError::between(result.get(..width).unwrap_or_default(), &expected))
    }
}

pub(super) fn pointer<T: crate::element::Plain>(buffer: &DeviceBuffer<T>) -> *const c_void {
    buffer.view().address() as *const c_void
}
