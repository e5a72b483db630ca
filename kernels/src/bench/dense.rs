//! Dense cases: buffers, launch, error on a sample of rows.

use std::rc::Rc;

use super::attention::both;
use super::case::{Cost, Operation};
use crate::element::Element;
use crate::launch::LaunchError;
use crate::launch::buffer::DeviceBuffer;
use crate::launch::dense::{Gemm, rms_norm};
use crate::launch::runtime::Stream;
use crate::random::Random;
use crate::reference::{self, Activation, NumericalError};

/// Rows that are checked against the reference.
const CHECKED: usize = 4;
const EPSILON: f32 = 1e-5;

/// RMS norm.
pub(super) struct RmsNorm<T> {
    stream: Rc<Stream>,
    tokens: usize,
    input: (Vec<T>, DeviceBuffer<T>),
    weight: (Vec<T>, DeviceBuffer<T>),
    out: DeviceBuffer<T>,
}

impl<T: Element> RmsNorm<T> {
    pub(super) fn new(stream: &Rc<Stream>, large: bool) -> Result<Self, LaunchError> {
        let (tokens, hidden) = if large { (8192, 4096) } else { (16, 1024) };
        let mut random = Random::new(6, &[]);
        Ok(Self {
            tokens,
            input: both(stream, random.tensor(tokens * hidden, 0.0, 1.0))?,
            weight: both(stream, random.tensor(hidden, 1.0, 0.25))?,
            out: DeviceBuffer::new(stream.context(), tokens * hidden)?,
            stream: Rc::clone(stream),
        })
    }
}

impl<T: Element> Operation for RmsNorm<T> {
    fn cost(&self) -> Cost {
        let numel = self.input.0.len();
        Cost { bytes: (2 * numel * size_of::<T>()) as u64, flops: 4 * numel as u64 }
    }

    fn enqueue(&mut self) -> Result<(), LaunchError> {
        let (input, weight) = (self.input.1.view(), self.weight.1.view());
        rms_norm(self.out.view(), input, weight, self.tokens, EPSILON, &self.stream)
    }

    fn error(&mut self) -> Result<NumericalError, LaunchError> {
        let result = self.out.read()?;
        let numel = CHECKED.min(self.tokens) * self.weight.0.len();
        let input = self.input.0.get(..numel).unwrap_or_default();
        let expected = reference::rms_norm(input, &self.weight.0, EPSILON);
        Ok(NumericalError::between(result.get(..numel).unwrap_or_default(), &expected))
    }
}

/// A matrix product.
pub(super) struct Product<T> {
    stream: Rc<Stream>,
    gemm: Gemm,
    a: (Vec<T>, DeviceBuffer<T>),
    b: (Vec<T>, DeviceBuffer<T>),
    out: DeviceBuffer<T>,
}

impl<T: Element> Product<T> {
    pub(super) fn new(stream: &Rc<Stream>, large: bool) -> Result<Self, LaunchError> {
        let (m, n, k) = if large { (1024, 4096, 1024) } else { (8, 256, 256) };
        let mut random = Random::new(7, &[]);
        Ok(Self {
            gemm: Gemm::new(m, n, k),
            a: both(stream, random.tensor(m * k, 0.0, 1.0))?,
            b: both(stream, random.tensor(n * k, 0.0, 1.0))?,
            out: DeviceBuffer::new(stream.context(), m * n)?,
            stream: Rc::clone(stream),
        })
    }
}

impl<T: Element> Operation for Product<T> {
    fn cost(&self) -> Cost {
        let Gemm { m, n, k, .. } = self.gemm;
        Cost { bytes: ((m * k + n * k + m * n) * size_of::<T>()) as u64, flops: (2 * m * n * k) as u64 }
    }

    fn enqueue(&mut self) -> Result<(), LaunchError> {
        self.gemm.launch(self.out.view(), self.a.1.view(), self.b.1.view(), &self.stream)
    }

    fn error(&mut self) -> Result<NumericalError, LaunchError> {
        let result = self.out.read()?;
        let Gemm { m, n, k, .. } = self.gemm;
        let rows = CHECKED.min(m);
        let a = self.a.0.get(..rows * k).unwrap_or_default();
        let expected = reference::gemm(a, &self.b.0, &[], [rows, n, k], 1.0, 0.0, Activation::Identity);
        Ok(NumericalError::between(result.get(..rows * n).unwrap_or_default(), &expected))
    }
}
