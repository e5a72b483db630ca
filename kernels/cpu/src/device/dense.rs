//! The dense kernels: `rms_norm` and `gemm`.
#![allow(unsafe_code, reason = "kernels work on raw device addresses")]

use super::Launch;
use super::memory::{view, view_mut};
use crate::element::Element;

/// Rows and columns of `out` that one block of the GEMM makes.
const TILE: usize = 64;
/// Partial sums a dot product keeps, so that the additions do not wait for each other.
const LANES: usize = 16;

/// `rms_norm`: grid x = tokens; `out = input / sqrt(mean(input^2) + epsilon) * weight`, row by row.
///
/// # Safety
/// See [`super::DeviceKernel::run`].
pub(super) unsafe fn rms_norm<T: Element>(launch: &Launch<'_>) {
    // SAFETY: the table gives the parameter types, and the caller vouches for addresses and shapes.
    unsafe {
        let (out, input) = (launch.param::<*mut T>(0), launch.param::<*const T>(1));
        let hidden = launch.count(3);
        let weight = view(launch.param::<*const T>(2), 0, hidden);
        let epsilon = launch.param::<f32>(4);
        for token in 0..launch.blocks(0) {
            // `out` may be `input`: elements are read before they are written, one at a time.
            let row = input.add(token * hidden);
            let mut squares = 0.0f32;
            for i in 0..hidden {
                let value = (*row.add(i)).to_f32();
                squares += value * value;
            }
            let scale = 1.0 / (squares / hidden as f32 + epsilon).sqrt();
            for (i, weight) in weight.iter().enumerate() {
                let value = (*row.add(i)).to_f32() * scale * weight.to_f32();
                out.add(token * hidden + i).write(T::from_f32(value));
            }
        }
    }
}

/// `gemm`: grid x = tiles of n, y = tiles of m; `out[m, n] = act(alpha * a[m, k] b[n, k]^T) + beta * out`, where
/// `act` is the identity (0) or SiLU (1). `out` is not read when `beta` is zero.
///
/// # Safety
/// See [`super::DeviceKernel::run`].
pub(super) unsafe fn gemm<T: Element>(launch: &Launch<'_>) {
    // SAFETY: the table gives the parameter types, and the caller vouches for addresses and shapes.
    unsafe {
        let (out, a, b) =
            (launch.param::<*mut T>(0), launch.param::<*const T>(1), launch.param::<*const T>(2));
        let (m, n, k) = (launch.count(3), launch.count(4), launch.count(5));
        let (alpha, beta) = (launch.param::<f32>(6), launch.param::<f32>(7));
        let silu = launch.param::<u32>(8) == 1;
        let (rows, columns) = (m.min(launch.blocks(1) * TILE), n.min(launch.blocks(0) * TILE));
        let a = widen(view(a, 0, rows * k));
        let mut b_row = vec![0.0f32; k];
        for column in 0..columns {
            T::widen(view(b, column * k, k), &mut b_row);
            for row in 0..rows {
                let product = alpha * dot(a.get(row * k..(row + 1) * k).unwrap_or_default(), &b_row);
                let activated = if silu { product / (1.0 + (-product).exp()) } else { product };
                let [cell] = view_mut(out, row * n + column, 1) else { continue };
                let kept = if beta == 0.0 { 0.0 } else { beta * cell.to_f32() };
                *cell = T::from_f32(activated + kept);
            }
        }
    }
}

fn widen<T: Element>(narrow: &[T]) -> Vec<f32> {
    let mut wide = vec![0.0; narrow.len()];
    T::widen(narrow, &mut wide);
    wide
}

/// Sum of products, in [`LANES`] partial sums.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}
