//! The forward pass of a lane: what it enqueues, in order. Enter: staged inputs; leaves: work on the stream that
//! ends with the logits in pinned memory.
//!
//! The model: per layer, RMS norm → query/key/value projection → reshape_and_cache → paged attention → output
//! projection added to the residual → RMS norm → SiLU projection up → projection down added to the residual; then a
//! final norm and the logits. In a prefill each token of a prompt is a query of its own, with the context before
//! it, which is causal attention.
#![allow(unsafe_code, reason = "the cache kernels are C entry points on raw device pointers")]

use std::ffi::{c_int, c_void};
use std::rc::Rc;

use super::lane::Buffers;
use super::options::Sizes;
use super::pacer::Pacer;
use super::weights::{Layer, Weights};
use crate::element::Element;
use crate::launch::buffer::{DeviceBuffer, View};
use crate::launch::dense::{Gemm, rms_norm};
use crate::launch::graph::Graph;
use crate::launch::runtime::Stream;
use crate::launch::{LaunchError, entry};
use crate::reference::Activation;

const EPSILON: f32 = 1e-5;

/// What differs between passes.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    /// Whether it takes whole prompts in; if not, one token of each sequence.
    pub(super) prefill: bool,
    /// Tokens taken in.
    pub(super) rows: usize,
    /// Upper bound of the context lengths.
    pub(super) longest: usize,
    /// Paces each launch; none while capturing.
    pub(super) pacer: Option<&'a Pacer>,
}

impl Pass<'_> {
    fn pace(&self) {
        if let Some(pacer) = self.pacer {
            pacer.wait(1);
        }
    }
}

/// Enqueues a pass.
pub(super) fn pass<T: Element>(
    buffers: &mut Buffers<T>,
    weights: &Weights<T>,
    sizes: &Sizes,
    stream: &Stream,
    pass: &Pass<'_>,
) -> Result<(), LaunchError> {
    let (rows, hidden, batch) = (pass.rows, sizes.hidden(), sizes.batch);
    buffers.embeddings.upload(0, buffers.residual.view().slice(0, rows * hidden, "residual")?)?;
    buffers.slots.upload(rows)?;
    buffers.tables.upload(rows * sizes.blocks_per_seq())?;
    buffers.lens.upload(rows)?;
    buffers.logits.fill(0, stream)?;
    for (index, layer) in weights.layers.iter().enumerate() {
        attend(buffers, layer, index, sizes, stream, pass)?;
        feed(buffers, layer, sizes, stream, pass)?;
    }
    let mut last = buffers.residual.view();
    if pass.prefill {
        // The last tokens of the prompts, moved to where the decode steps have theirs.
        last.slice((rows - batch) * hidden, batch * hidden, "residual")?
            .copy_to(buffers.last.view(), stream)?;
        last = buffers.last.view();
    }
    pass.pace();
    rms_norm(buffers.normed.view(), last, weights.final_norm.view(), batch, EPSILON, stream)?;
    pass.pace();
    let product = Gemm::new(batch, sizes.vocab, hidden);
    product.launch(buffers.logits.view(), buffers.normed.view(), weights.head.view(), stream)?;
    buffers.host_logits.download(0, buffers.logits.view())
}

/// Captures a pass.
pub(super) fn capture<T: Element>(
    buffers: &mut Buffers<T>,
    weights: &Weights<T>,
    sizes: &Sizes,
    stream: &Rc<Stream>,
    description: &Pass<'_>,
) -> Result<Graph, LaunchError> {
    // SAFETY: the lane owns the graph and the buffers, drops the graph first, and borrows the buffers' contents
    // only within single methods, which do not replay; the weights outlive every lane.
    unsafe { Graph::capture(stream, || pass(buffers, weights, sizes, stream, description)) }
}

/// The first half of a layer.
fn attend<T: Element>(
    buffers: &Buffers<T>,
    layer: &Layer<T>,
    index: usize,
    sizes: &Sizes,
    stream: &Stream,
    pass: &Pass<'_>,
) -> Result<(), LaunchError> {
    let (rows, hidden, width) = (pass.rows, sizes.hidden(), sizes.qkv_width());
    let (residual, normed) = (buffers.residual.view(), buffers.normed.view());
    pass.pace();
    rms_norm(normed, residual, layer.attention_norm.view(), rows, EPSILON, stream)?;
    pass.pace();
    Gemm::new(rows, width, hidden).launch(buffers.qkv.view(), normed, layer.qkv.view(), stream)?;
    let Some([key_cache, value_cache]) = buffers.caches.get(index) else { return Ok(()) };
    let qkv = buffers.qkv.view().slice(0, rows * width, "qkv")?;
    let key = qkv.slice(hidden, sizes.kv_width(), "key")?;
    let value = qkv.slice(hidden + sizes.kv_width(), sizes.kv_width(), "value")?;
    pass.pace();
    // SAFETY: rows of `qkv` are `width` apart and hold query, key and value; slots and caches are this lane's.
    unsafe {
        entry::reshape_and_cache(
            pointer(key),
            pointer(value),
            pointer(key_cache.view()),
            pointer(value_cache.view()),
            buffers.slots.device.view().address() as *const i64,
            rows as c_int,
            sizes.kv_heads as c_int,
            sizes.head_size as c_int,
            sizes.block_size as c_int,
            T::LANES as c_int,
            width as c_int,
            width as c_int,
            stream.raw(),
            T::DTYPE as u32,
            T::DTYPE as u32,
            std::ptr::null(),
            std::ptr::null(),
        );
    }
    entry::take_error()?;
    pass.pace();
    paged_attention(buffers, [key_cache, value_cache], qkv, sizes, stream, pass)?;
    pass.pace();
    let product = Gemm { beta: 1.0, ..Gemm::new(rows, hidden, hidden) };
    product.launch(residual, buffers.attended.view(), layer.out.view(), stream)
}

fn paged_attention<T: Element>(
    buffers: &Buffers<T>,
    [key_cache, value_cache]: [&DeviceBuffer<T>; 2],
    qkv: View<'_, T>,
    sizes: &Sizes,
    stream: &Stream,
    pass: &Pass<'_>,
) -> Result<(), LaunchError> {
    let out = pointer(buffers.attended.view());
    let (key_cache, value_cache) = (pointer(key_cache.view()), pointer(value_cache.view()));
    let tables = buffers.tables.device.view().address() as *const c_int;
    let lens = buffers.lens.device.view().address() as *const c_int;
    let scale = 1.0 / (sizes.head_size as f32).sqrt();
    let [kv_heads, heads, head_size, block_size] =
        [sizes.kv_heads, sizes.heads, sizes.head_size, sizes.block_size].map(|size| size as c_int);
    let [longest, rows, blocks, width] =
        [pass.longest, pass.rows, sizes.blocks_per_seq(), sizes.qkv_width()].map(|size| size as c_int);
    let block_stride = sizes.block_numel() as c_int;
    let head_stride = head_size * block_size;
    let (raw, cache_dtype) = (stream.raw(), T::DTYPE as u32);
    let (none, no_scale, no_sinks) = (std::ptr::null(), std::ptr::null(), std::ptr::null());
    if let Some(scratch) = &buffers.partitions {
        pass.pace();
        // SAFETY: query, tables and lengths have `rows` rows; tables name blocks of the caches; the scratch holds
        // a cell per row, head and partition of the longest context.
        unsafe {
            entry::paged_attention_v2(T::DTYPE)(
                out,
                scratch.exp_sums.view().address() as *const f32,
                scratch.max_logits.view().address() as *const f32,
                pointer(scratch.out.view()),
                pointer(qkv),
                key_cache,
                value_cache,
                none,
                kv_heads,
                scale,
                1.0,
                tables,
                lens,
                block_size,
                longest,
                rows,
                heads,
                head_size,
                blocks,
                width,
                block_stride,
                head_stride,
                raw,
                cache_dtype,
                no_scale,
                no_scale,
                no_sinks,
            );
        }
    } else {
        // SAFETY: query, tables and lengths have `rows` rows; tables name blocks of the caches.
        unsafe {
            entry::paged_attention_v1(T::DTYPE)(
                out,
                pointer(qkv),
                key_cache,
                value_cache,
                none,
                kv_heads,
                scale,
                1.0,
                tables,
                lens,
                block_size,
                longest,
                rows,
                heads,
                head_size,
                blocks,
                width,
                block_stride,
                head_stride,
                raw,
                cache_dtype,
                no_scale,
                no_scale,
                no_sinks,
            );
        }
    }
    entry::take_error()
}

/// The second half of a layer.
fn feed<T: Element>(
    buffers: &Buffers<T>,
    layer: &Layer<T>,
    sizes: &Sizes,
    stream: &Stream,
    pass: &Pass<'_>,
) -> Result<(), LaunchError> {
    let (rows, hidden, inner) = (pass.rows, sizes.hidden(), sizes.inner());
    let (residual, normed) = (buffers.residual.view(), buffers.normed.view());
    pass.pace();
    rms_norm(normed, residual, layer.feed_norm.view(), rows, EPSILON, stream)?;
    pass.pace();
    let up = Gemm { activation: Activation::Silu, ..Gemm::new(rows, inner, hidden) };
    up.launch(buffers.inner.view(), normed, layer.up.view(), stream)?;
    pass.pace();
    let down = Gemm { beta: 1.0, ..Gemm::new(rows, hidden, inner) };
    down.launch(residual, buffers.inner.view(), layer.down.view(), stream)
}

/// Enqueues reading the prompts' keys and values out of the cache, layer by layer, and copying them to the host.
pub(super) fn save_prefix<T: Element>(
    buffers: &mut Buffers<T>,
    sizes: &Sizes,
    stream: &Stream,
    pacer: &Pacer,
) -> Result<(), LaunchError> {
    buffers.starts.upload(sizes.batch + 1)?;
    let Buffers {
        caches, gathered: [keys, values], prefix: [host_keys, host_values], tables, starts, ..
    } = buffers;
    for [key_cache, value_cache] in caches {
        pacer.wait(1);
        // SAFETY: the first `batch` rows of the tables are those of the sequences, `starts` their first tokens;
        // the outputs hold every prompt token.
        unsafe {
            entry::gather_kv_cache(
                pointer(key_cache.view()),
                pointer(value_cache.view()),
                pointer(keys.view()),
                pointer(values.view()),
                std::ptr::null(),
                std::ptr::null(),
                tables.device.view().address() as *const c_int,
                starts.device.view().address() as *const c_int,
                sizes.prefill_rows() as c_int,
                sizes.batch as c_int,
                sizes.block_size as c_int,
                sizes.blocks_per_seq() as c_int,
                sizes.kv_heads as c_int,
                sizes.head_size as c_int,
                T::LANES as c_int,
                stream.raw(),
                T::DTYPE as u32,
                T::DTYPE as u32,
            );
        }
        entry::take_error()?;
        host_keys.download(0, keys.view())?;
        host_values.download(0, values.view())?;
    }
    Ok(())
}

/// Enqueues the copy of the staged pairs of blocks in every layer.
pub(super) fn fork<T: Element>(
    buffers: &Buffers<T>,
    sizes: &Sizes,
    stream: &Stream,
) -> Result<(), LaunchError> {
    buffers.pairs.upload(2 * sizes.batch)?;
    let [keys, values] = &buffers.cache_addresses;
    let numel = sizes.block_numel() as i32;
    // SAFETY: the address tables hold one cache per layer, the pairs name blocks of them, different ones.
    unsafe {
        entry::copy_blocks_of(T::DTYPE)(
            pointer(keys.view()).cast_mut(),
            pointer(values.view()).cast_mut(),
            pointer(buffers.pairs.device.view()),
            sizes.layers as i32,
            sizes.batch as i32,
            numel,
            numel,
            stream.raw() as i64,
        );
    }
    entry::take_error()
}

/// Enqueues the final norm alone.
pub(super) fn final_norm<T: Element>(
    buffers: &Buffers<T>,
    weights: &Weights<T>,
    sizes: &Sizes,
    stream: &Stream,
) -> Result<(), LaunchError> {
    let (out, input) = (buffers.normed.view(), buffers.last.view());
    rms_norm(out, input, weights.final_norm.view(), sizes.batch, EPSILON, stream)
}

fn pointer<T: crate::element::Plain>(view: View<'_, T>) -> *const c_void {
    view.address() as *const c_void
}
