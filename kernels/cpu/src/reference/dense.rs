//! Normalisation and matrix product by their definitions.

use crate::element::Element;

/// What is applied to a product before it is added to the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Activation {
    /// Nothing.
    Identity = 0,
    /// `x / (1 + exp(-x))`.
    Silu = 1,
}

/// `input / sqrt(mean(input^2) + epsilon) * weight`, by rows of `weight.len()`.
#[must_use]
pub fn rms_norm<T: Element>(input: &[T], weight: &[T], epsilon: f32) -> Vec<f64> {
    let wide = |value: &T| f64::from(value.to_f32());
    input
        .chunks(weight.len())
        .flat_map(|row| {
            let mean = row.iter().map(|value| wide(value).powi(2)).sum::<f64>() / row.len() as f64;
            let scale = 1.0 / (mean + f64::from(epsilon)).sqrt();
            row.iter().zip(weight).map(move |(value, weight)| wide(value) * scale * wide(weight))
        })
        .collect()
}

/// `activation(alpha * a[m, k] b[n, k]^T) + beta * out[m, n]`; `out` may be empty where `beta` is 0.
#[must_use]
pub fn gemm<T: Element>(
    a: &[T],
    b: &[T],
    out: &[T],
    [m, n, k]: [usize; 3],
    alpha: f32,
    beta: f32,
    activation: Activation,
) -> Vec<f64> {
    let wide = |value: T| f64::from(value.to_f32());
    let mut result = Vec::with_capacity(m * n);
    for row in 0..m {
        for column in 0..n {
            let sum: f64 = (0..k).map(|i| wide(a[row * k + i]) * wide(b[column * k + i])).sum();
            let product = sum * f64::from(alpha);
            let activated = match activation {
                Activation::Identity => product,
                Activation::Silu => product / (1.0 + (-product).exp()),
            };
            let kept = if beta == 0.0 { 0.0 } else { f64::from(beta) * wide(out[row * n + column]) };
            result.push(activated + kept);
        }
    }
    result
}
