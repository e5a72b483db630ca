//! `rms_norm` and `gemm` with checked shapes. Enter: views and sizes; leaves: a launch on a stream. Refuses a view
//! that is too small for its shape; the kernels read and write nothing outside of the views.
#![allow(unsafe_code, reason = "kernel parameters are raw; the shapes are checked here")]

use super::buffer::View;
use super::error::LaunchError;
use super::module::{self, Shape, params};
use super::runtime::Stream;
use crate::element::Element;
use crate::kernel::Kernel;
use crate::reference::Activation;

/// Rows and columns of the output that one block of the GEMM makes.
const TILE: usize = 64;

/// `out = input / sqrt(mean(input^2) + epsilon) * weight` for `tokens` rows of `weight.len()` elements; `out` may
/// be `input`.
///
/// # Errors
/// [`LaunchError::Shape`], or what the driver returned.
pub fn rms_norm<T: Element>(
    out: View<'_, T>,
    input: View<'_, T>,
    weight: View<'_, T>,
    tokens: usize,
    epsilon: f32,
    stream: &Stream,
) -> Result<(), LaunchError> {
    let hidden = weight.len();
    let out = out.slice(0, tokens.saturating_mul(hidden), "rms_norm: out")?;
    let input = input.slice(0, tokens.saturating_mul(hidden), "rms_norm: input")?;
    let shape = Shape { grid: [tokens as u32, 1, 1], threads: 256, shared_bytes: 0 };
    // SAFETY: the parameters are those of rms_norm, and every view holds what the shape says.
    unsafe {
        module::launch(
            Kernel::rms_norm(T::DTYPE),
            shape,
            stream.raw(),
            params![out.address(), input.address(), weight.address(), hidden as i32, epsilon],
        )
    }
}

/// A matrix product: `out[m, n] = activation(alpha * a[m, k] b[n, k]^T) + beta * out`, all row-major.
#[derive(Clone, Copy, Debug)]
pub struct Gemm {
    /// Rows of `a` and `out`.
    pub m: usize,
    /// Rows of `b`, columns of `out`.
    pub n: usize,
    /// Columns of `a` and `b`.
    pub k: usize,
    /// Factor of the product.
    pub alpha: f32,
    /// Factor of what `out` holds; it is not read where this is 0.
    pub beta: f32,
    /// Applied to the product.
    pub activation: Activation,
}

impl Gemm {
    /// The plain product of these sizes.
    #[must_use]
    pub fn new(m: usize, n: usize, k: usize) -> Self {
        Self { m, n, k, alpha: 1.0, beta: 0.0, activation: Activation::Identity }
    }

    /// Launches it.
    ///
    /// # Errors
    /// [`LaunchError::Shape`], or what the driver returned.
    pub fn launch<T: Element>(
        self,
        out: View<'_, T>,
        a: View<'_, T>,
        b: View<'_, T>,
        stream: &Stream,
    ) -> Result<(), LaunchError> {
        let Self { m, n, k, alpha, beta, activation } = self;
        let out = out.slice(0, m.saturating_mul(n), "gemm: out")?;
        let a = a.slice(0, m.saturating_mul(k), "gemm: a")?;
        let b = b.slice(0, n.saturating_mul(k), "gemm: b")?;
        let grid = [n.div_ceil(TILE) as u32, m.div_ceil(TILE) as u32, 1];
        let shape = Shape { grid, threads: 256, shared_bytes: 0 };
        let (m, n, k, activation) = (m as i32, n as i32, k as i32, activation as u32);
        // SAFETY: the parameters are those of gemm, and every view holds what the shape says.
        unsafe {
            module::launch(
                Kernel::gemm(T::DTYPE),
                shape,
                stream.raw(),
                params![out.address(), a.address(), b.address(), m, n, k, alpha, beta, activation],
            )
        }
    }
}
