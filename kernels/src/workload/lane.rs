//! A lane: one stream with a batch of sequences, their KV cache and all buffers of a forward pass.
//!
//! Enter: prompts, then one decode step after another; leave: logits on the host, folded into a checksum, and the
//! next tokens. Rows of a prefill are ordered by position, then sequence, so that the last `batch` rows are the
//! last tokens of the prompts.

use std::rc::Rc;
use std::sync::Arc;

use super::blocks::Blocks;
use super::checksum::Checksum;
use super::forward::{self, Pass};
use super::options::Sizes;
use super::pacer::Pacer;
use super::plan::Progress;
use super::weights::Weights;
use crate::element::Element;
use crate::launch::LaunchError;
use crate::launch::buffer::{DeviceBuffer, PinnedBuffer};
use crate::launch::graph::Graph;
use crate::launch::runtime::{Context, Stream};
use crate::launch::swap::{swap_blocks_in, swap_blocks_out};
use crate::random::Random;

/// A device buffer and the pinned buffer it is filled from.
#[derive(Debug)]
pub(super) struct Input<T> {
    pub(super) host: PinnedBuffer<T>,
    pub(super) device: DeviceBuffer<T>,
}

impl<T: crate::element::Plain> Input<T> {
    fn new(stream: &Rc<Stream>, len: usize) -> Result<Self, LaunchError> {
        Ok(Self { host: PinnedBuffer::new(stream, len)?, device: DeviceBuffer::new(stream.context(), len)? })
    }

    /// Enqueues the copy of the first `len` elements.
    pub(super) fn upload(&self, len: usize) -> Result<(), LaunchError> {
        self.host.upload(0, self.device.view().slice(0, len, "input")?)
    }
}

/// Scratch of `paged_attention_v2`.
#[derive(Debug)]
pub(super) struct Partitions<T> {
    pub(super) exp_sums: DeviceBuffer<f32>,
    pub(super) max_logits: DeviceBuffer<f32>,
    pub(super) out: DeviceBuffer<T>,
}

/// Every buffer of a lane.
#[derive(Debug)]
pub(super) struct Buffers<T> {
    pub(super) embeddings: PinnedBuffer<T>,
    pub(super) residual: DeviceBuffer<T>,
    pub(super) normed: DeviceBuffer<T>,
    pub(super) qkv: DeviceBuffer<T>,
    pub(super) attended: DeviceBuffer<T>,
    pub(super) inner: DeviceBuffer<T>,
    pub(super) last: DeviceBuffer<T>,
    pub(super) logits: DeviceBuffer<T>,
    pub(super) host_logits: PinnedBuffer<T>,
    pub(super) gathered: [DeviceBuffer<T>; 2],
    pub(super) prefix: [PinnedBuffer<T>; 2],
    pub(super) slots: Input<i64>,
    pub(super) tables: Input<i32>,
    pub(super) lens: Input<i32>,
    pub(super) starts: Input<i32>,
    pub(super) pairs: Input<i64>,
    pub(super) partitions: Option<Partitions<T>>,
    /// Key and value cache of each layer.
    pub(super) caches: Vec<[DeviceBuffer<T>; 2]>,
    /// Device addresses of the key caches, and of the value caches.
    pub(super) cache_addresses: [DeviceBuffer<u64>; 2],
    pub(super) swapped: PinnedBuffer<T>,
}

impl<T: Element> Buffers<T> {
    fn new(context: &Arc<Context>, stream: &Rc<Stream>, sizes: &Sizes) -> Result<Self, LaunchError> {
        let (rows, hidden, batch) = (sizes.prefill_rows(), sizes.hidden(), sizes.batch);
        let device = |len| DeviceBuffer::new(context, len);
        let pinned = |len| PinnedBuffer::new(stream, len);
        let cells = sizes.partition_cells();
        let partitions = if sizes.v2 {
            Some(Partitions {
                exp_sums: DeviceBuffer::new(context, cells)?,
                max_logits: DeviceBuffer::new(context, cells)?,
                out: device(cells * sizes.head_size)?,
            })
        } else {
            None
        };
        Ok(Self {
            embeddings: pinned(rows * hidden)?,
            residual: device(rows * hidden)?,
            normed: device(rows * hidden)?,
            qkv: device(rows * sizes.qkv_width())?,
            attended: device(rows * hidden)?,
            inner: device(rows * sizes.inner())?,
            last: device(batch * hidden)?,
            logits: device(batch * sizes.vocab)?,
            host_logits: pinned(batch * sizes.vocab)?,
            gathered: [device(rows * sizes.kv_width())?, device(rows * sizes.kv_width())?],
            prefix: [pinned(rows * sizes.kv_width())?, pinned(rows * sizes.kv_width())?],
            slots: Input::new(stream, rows)?,
            tables: Input::new(stream, rows * sizes.blocks_per_seq())?,
            lens: Input::new(stream, rows)?,
            starts: Input::new(stream, batch + 1)?,
            pairs: Input::new(stream, 2 * batch)?,
            partitions,
            caches: (0..sizes.layers)
                .map(|_| Ok([device(sizes.cache_numel())?, device(sizes.cache_numel())?]))
                .collect::<Result<_, LaunchError>>()?,
            cache_addresses: [
                DeviceBuffer::new(context, sizes.layers)?,
                DeviceBuffer::new(context, sizes.layers)?,
            ],
            swapped: pinned(2 * sizes.layers * sizes.block_numel())?,
        })
    }
}

/// One stream's share of the work. Fields are dropped in order: the graph first, the stream last.
#[derive(Debug)]
pub(super) struct Lane<T> {
    graph: Option<Graph>,
    buffers: Buffers<T>,
    stream: Rc<Stream>,
    sizes: Sizes,
    blocks: Blocks,
    /// The token of each sequence that the next step takes in.
    tokens: Vec<usize>,
    /// Cached tokens of each sequence.
    context: usize,
    prompts: Random,
    pub(super) progress: Progress,
}

impl<T: Element> Lane<T> {
    /// Allocates everything.
    pub(super) fn new(context: &Arc<Context>, sizes: Sizes, prompts: Random) -> Result<Self, LaunchError> {
        let stream = Stream::new(context)?;
        Ok(Self {
            graph: None,
            buffers: Buffers::new(context, &stream, &sizes)?,
            stream,
            sizes,
            blocks: Blocks::new(&sizes),
            tokens: vec![0; sizes.batch],
            context: 0,
            prompts,
            progress: Progress::default(),
        })
    }

    /// Clears the caches and tells the device where they are.
    pub(super) fn clear(&self) -> Result<(), LaunchError> {
        for cache in self.buffers.caches.iter().flatten() {
            cache.fill(0, &self.stream)?;
        }
        let [keys, values] = &self.buffers.cache_addresses;
        let addresses = |part: fn(&[DeviceBuffer<T>; 2]) -> &DeviceBuffer<T>| -> Vec<u64> {
            self.buffers.caches.iter().map(|layer| part(layer).view().address()).collect()
        };
        keys.write(&addresses(|[keys, _]| keys))?;
        values.write(&addresses(|[_, values]| values))
    }

    /// Enqueues the prefill of new prompts, and the save of their keys and values to the host.
    pub(super) fn start_prefill(&mut self, weights: &Weights<T>, pacer: &Pacer) -> Result<(), LaunchError> {
        let Sizes { batch, prompt, vocab, .. } = self.sizes;
        let tokens: Vec<usize> = (0..self.sizes.prefill_rows()).map(|_| self.prompts.below(vocab)).collect();
        let positions: Vec<usize> =
            (0..prompt).flat_map(|position| (0..batch).map(move |_| position)).collect();
        self.stage(weights, &tokens, &positions)?;
        let starts = self.buffers.starts.host.get_mut()?;
        for (seq, start) in starts.iter_mut().enumerate() {
            *start = (seq * prompt) as i32;
        }
        let pass = Pass { prefill: true, rows: tokens.len(), longest: prompt, pacer: Some(pacer) };
        forward::pass(&mut self.buffers, weights, &self.sizes, &self.stream, &pass)?;
        forward::save_prefix(&mut self.buffers, &self.sizes, &self.stream, pacer)?;
        self.context = prompt;
        self.progress.prefills += 1;
        Ok(())
    }

    /// Enqueues one decode step.
    pub(super) fn start_step(
        &mut self,
        weights: &Weights<T>,
        pacer: &Pacer,
        graph: Option<u64>,
    ) -> Result<(), LaunchError> {
        let tokens = std::mem::take(&mut self.tokens);
        let positions = vec![self.context; self.sizes.batch];
        self.stage(weights, &tokens, &positions)?;
        let Self { buffers, sizes, stream, .. } = self;
        if let Some(launches) = graph {
            // A graph's kernels keep their parameters: the longest context must fit from the start.
            let pass = Pass { prefill: false, rows: sizes.batch, longest: sizes.longest(), pacer: None };
            if self.graph.is_none() {
                self.graph = Some(forward::capture(buffers, weights, sizes, stream, &pass)?);
            }
            pacer.wait(launches);
            self.graph.as_ref().map_or(Ok(()), Graph::replay)?;
        } else {
            let pass =
                Pass { prefill: false, rows: sizes.batch, longest: self.context + 1, pacer: Some(pacer) };
            forward::pass(buffers, weights, sizes, stream, &pass)?;
        }
        self.context += 1;
        self.progress.steps += 1;
        Ok(())
    }

    /// Waits for the logits, folds them into the checksum and picks the next tokens: the likeliest.
    pub(super) fn finish(&mut self, checksum: &mut Checksum) -> Result<(), LaunchError> {
        let logits = self.buffers.host_logits.get()?;
        checksum.add(logits);
        self.tokens = logits.chunks(self.sizes.vocab).map(likeliest).collect();
        Ok(())
    }

    /// Enqueues swapping the first block of the first sequence out, and in again at another place.
    pub(super) fn swap(&mut self) -> Result<(), LaunchError> {
        let numel = self.sizes.block_numel();
        let Some((from, to)) = self.blocks.relocate(0, 0) else { return Ok(()) };
        let Buffers { caches, swapped, .. } = &mut self.buffers;
        for (index, cache) in caches.iter().flatten().enumerate() {
            swap_blocks_out(cache.view(), swapped, &[(from, index)], numel)?;
        }
        for (index, cache) in caches.iter().flatten().enumerate() {
            swap_blocks_in(swapped, cache.view(), &[(index, to)], numel)?;
        }
        self.progress.swaps += 1;
        Ok(())
    }

    /// Enqueues copying the last block of every sequence to another place, where the sequence goes on.
    pub(super) fn fork(&mut self, pacer: &Pacer) -> Result<(), LaunchError> {
        let last = self.context.saturating_sub(1) / self.sizes.block_size;
        let pairs = self.buffers.pairs.host.get_mut()?;
        for (seq, pair) in pairs.chunks_mut(2).enumerate() {
            if let (Some((from, to)), [source, target]) = (self.blocks.relocate(seq, last), pair) {
                (*source, *target) = (from as i64, to as i64);
            }
        }
        pacer.wait(1);
        forward::fork(&self.buffers, &self.sizes, &self.stream)?;
        self.progress.forks += 1;
        Ok(())
    }

    /// Enqueues one launch that changes nothing anyone reads: it fills up a launch budget.
    pub(super) fn filler(&mut self, weights: &Weights<T>, pacer: &Pacer) -> Result<(), LaunchError> {
        pacer.wait(1);
        forward::final_norm(&self.buffers, weights, &self.sizes, &self.stream)?;
        self.progress.fillers += 1;
        Ok(())
    }

    /// Waits for everything enqueued.
    pub(super) fn synchronize(&self) -> Result<(), LaunchError> {
        self.stream.synchronize()
    }

    /// Puts the inputs of a pass into the pinned buffers: row `i` is `tokens[i]` at `positions[i]` of sequence
    /// `i % batch`.
    fn stage(
        &mut self,
        weights: &Weights<T>,
        tokens: &[usize],
        positions: &[usize],
    ) -> Result<(), LaunchError> {
        let Sizes { batch, block_size, .. } = self.sizes;
        let hidden = self.sizes.hidden();
        let rows = self.buffers.embeddings.get_mut()?.chunks_exact_mut(hidden);
        for (row, token) in rows.zip(tokens) {
            let from = token * hidden;
            row.copy_from_slice(weights.embeddings.get(from..from + hidden).unwrap_or_default());
        }
        for (index, (slot, &position)) in
            self.buffers.slots.host.get_mut()?.iter_mut().zip(positions).enumerate()
        {
            let block = self.blocks.of(index % batch).get(position / block_size).copied().unwrap_or(0);
            *slot = block as i64 * block_size as i64 + (position % block_size) as i64;
        }
        for (len, &position) in self.buffers.lens.host.get_mut()?.iter_mut().zip(positions) {
            *len = position as i32 + 1;
        }
        let tables = self.buffers.tables.host.get_mut()?.chunks_exact_mut(self.sizes.blocks_per_seq());
        for (index, row) in tables.take(tokens.len()).enumerate() {
            row.copy_from_slice(self.blocks.of(index % batch));
        }
        Ok(())
    }
}

/// Index of the largest logit; the first of equals.
fn likeliest<T: Element>(logits: &[T]) -> usize {
    let mut best = (0, f32::NEG_INFINITY);
    for (index, logit) in logits.iter().enumerate() {
        let logit = logit.to_f32();
        if logit > best.1 {
            best = (index, logit);
        }
    }
    best.0
}
