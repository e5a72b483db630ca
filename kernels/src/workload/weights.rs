//! The model's weights on the device, and its embedding table on the host.

use std::sync::Arc;

use super::options::Sizes;
use crate::element::Element;
use crate::launch::LaunchError;
use crate::launch::buffer::DeviceBuffer;
use crate::launch::runtime::Context;
use crate::random::Random;

/// Weights of one layer. Matrices are `[outputs, inputs]`.
#[derive(Debug)]
pub(super) struct Layer<T> {
    pub(super) attention_norm: DeviceBuffer<T>,
    pub(super) qkv: DeviceBuffer<T>,
    pub(super) out: DeviceBuffer<T>,
    pub(super) feed_norm: DeviceBuffer<T>,
    pub(super) up: DeviceBuffer<T>,
    pub(super) down: DeviceBuffer<T>,
}

/// Weights of the model.
#[derive(Debug)]
pub(super) struct Weights<T> {
    pub(super) layers: Vec<Layer<T>>,
    pub(super) final_norm: DeviceBuffer<T>,
    pub(super) head: DeviceBuffer<T>,
    /// `[vocab, hidden]`, on the host.
    pub(super) embeddings: Vec<T>,
}

impl<T: Element> Weights<T> {
    /// Allocates them; [`Self::upload`] fills them.
    pub(super) fn new(context: &Arc<Context>, sizes: &Sizes, seed: u64) -> Result<Self, LaunchError> {
        let hidden = sizes.hidden();
        let layers = (0..sizes.layers)
            .map(|_| {
                Ok(Layer {
                    attention_norm: DeviceBuffer::new(context, hidden)?,
                    qkv: DeviceBuffer::new(context, sizes.qkv_width() * hidden)?,
                    out: DeviceBuffer::new(context, hidden * hidden)?,
                    feed_norm: DeviceBuffer::new(context, hidden)?,
                    up: DeviceBuffer::new(context, sizes.inner() * hidden)?,
                    down: DeviceBuffer::new(context, hidden * sizes.inner())?,
                })
            })
            .collect::<Result<_, LaunchError>>()?;
        Ok(Self {
            layers,
            final_norm: DeviceBuffer::new(context, hidden)?,
            head: DeviceBuffer::new(context, sizes.vocab * hidden)?,
            embeddings: Random::new(seed, &[0]).tensor(sizes.vocab * hidden, 0.0, 1.0),
        })
    }

    /// Loads the model: one copy per tensor.
    pub(super) fn upload(&self, seed: u64) -> Result<(), LaunchError> {
        let hidden = self.final_norm.view().len();
        for (index, layer) in self.layers.iter().enumerate() {
            let inner = layer.down.view().len() / hidden;
            let matrices =
                [(&layer.qkv, hidden), (&layer.out, hidden), (&layer.up, hidden), (&layer.down, inner)];
            for (part, (matrix, inputs)) in matrices.into_iter().enumerate() {
                let mut random = Random::new(seed, &[1, index as u64, part as u64]);
                let spread = 1.0 / (inputs as f32).sqrt();
                matrix.write(&random.tensor(matrix.view().len(), 0.0, spread))?;
            }
            for (part, norm) in [&layer.attention_norm, &layer.feed_norm].into_iter().enumerate() {
                let mut random = Random::new(seed, &[2, index as u64, part as u64]);
                norm.write(&random.tensor(norm.view().len(), 1.0, 0.25))?;
            }
        }
        self.final_norm.write(&Random::new(seed, &[3]).tensor(hidden, 1.0, 0.25))?;
        let spread = 4.0 / (hidden as f32).sqrt();
        self.head.write(&Random::new(seed, &[4]).tensor(self.head.view().len(), 0.0, spread))
    }
}
