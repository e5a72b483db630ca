//! Numerical error of a result against the reference, and how much of it each element type is allowed.

use crate::element::{Dtype, Element};

/// Largest errors over a tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NumericalError {
    /// Largest `|result - reference|`.
    pub max_absolute: f64,
    /// Largest `|result - reference| / max(|reference|, r)`, with `r` the root mean square of the reference, so that
    /// a value next to zero does not decide.
    pub max_relative: f64,
}

impl NumericalError {
    /// Compares element by element. A NaN in the result, or a difference in length, is an infinite error.
    #[must_use]
    pub fn between<T: Element>(result: &[T], reference: &[f64]) -> Self {
        if result.len() != reference.len() {
            return Self { max_absolute: f64::INFINITY, max_relative: f64::INFINITY };
        }
        let squares: f64 = reference.iter().map(|value| value * value).sum();
        let floor = (squares / reference.len().max(1) as f64).sqrt().max(f64::MIN_POSITIVE);
        let mut error = Self::default();
        for (result, reference) in result.iter().zip(reference) {
            let difference = (f64::from(result.to_f32()) - reference).abs();
            let difference = if difference.is_nan() { f64::INFINITY } else { difference };
            error.max_absolute = error.max_absolute.max(difference);
            error.max_relative = error.max_relative.max(difference / reference.abs().max(floor));
        }
        error
    }
}

/// Largest absolute error allowed in a result whose largest value is `largest`: four units in the last place of
/// the type at that size (half of one is the last rounding; v2 rounds its partial results too), and for f32 the
/// rounding of sums of a few thousand terms.
#[must_use]
pub fn tolerance(dtype: Dtype, largest: f64) -> f64 {
    let unit = match dtype {
        Dtype::F16 => 1.0 / 1024.0,
        Dtype::Bf16 => 1.0 / 128.0,
        Dtype::F32 => 1.0 / f64::from(1 << 18),
    };
    4.0 * unit * largest.max(1e-3)
}

#[cfg(test)]
mod tests {
    use super::NumericalError;

    #[test]
    fn error_is_the_largest_difference() {
        let error = NumericalError::between(&[1.0f32, 7.5, -1.0], &[1.0, 7.0, -1.0]);
        assert_eq!(error, NumericalError { max_absolute: 0.5, max_relative: 0.5 / 7.0 });
    }

    #[test]
    fn nan_and_missing_elements_are_infinite_errors() {
        assert_eq!(NumericalError::between(&[f32::NAN], &[0.0]).max_absolute, f64::INFINITY);
        assert_eq!(NumericalError::between(&[1.0f32], &[1.0, 2.0]).max_relative, f64::INFINITY);
    }
}
