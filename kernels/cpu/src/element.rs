//! Element types of tensors. Enter: stored values; leave: `f32` for arithmetic, and back with one rounding
//! (to nearest, ties to even, as `cvt.rn` does). Refuses nothing: every bit pattern is a value.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A type a buffer can hold: any bytes are a value of it, and it has no padding.
pub trait Plain: Copy + FromBytes + IntoBytes + Immutable + Send + Sync + 'static {}

impl<T: Copy + FromBytes + IntoBytes + Immutable + Send + Sync + 'static> Plain for T {}

/// A type a tensor can be made of.
pub trait Element: Plain + Default {
    /// Which type this is, as data.
    const DTYPE: Dtype;
    /// How many elements make the 16 bytes that the key cache groups together (`x` in its layout).
    const LANES: usize = 16 / size_of::<Self>();
    /// Widens, exactly.
    fn to_f32(self) -> f32;
    /// Narrows, to nearest, ties to even.
    fn from_f32(value: f32) -> Self;
    /// Widens as many elements as both slices have, faster than one by one.
    fn widen(narrow: &[Self], wide: &mut [f32]) {
        for (wide, narrow) in wide.iter_mut().zip(narrow) {
            *wide = narrow.to_f32();
        }
    }
}

impl Element for f16 {
    const DTYPE: Dtype = Dtype::F16;
    fn to_f32(self) -> f32 {
        f16::to_f32(self)
    }
    fn from_f32(value: f32) -> Self {
        f16::from_f32(value)
    }
    fn widen(narrow: &[Self], wide: &mut [f32]) {
        let len = narrow.len().min(wide.len());
        if let (Some(narrow), Some(wide)) = (narrow.get(..len), wide.get_mut(..len)) {
            narrow.convert_to_f32_slice(wide);
        }
    }
}

impl Element for bf16 {
    const DTYPE: Dtype = Dtype::Bf16;
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
    fn from_f32(value: f32) -> Self {
        bf16::from_f32(value)
    }
}

impl Element for f32 {
    const DTYPE: Dtype = Dtype::F32;
    fn to_f32(self) -> f32 {
        self
    }
    fn from_f32(value: f32) -> Self {
        value
    }
}

/// An element type, as data. The numbers are those mistral.rs 0.8 passes as `dtype` and `cache_dtype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Dtype {
    /// IEEE 754 binary16.
    F16 = 0,
    /// bfloat16: the upper half of a binary32.
    Bf16 = 1,
    /// IEEE 754 binary32.
    F32 = 2,
}

impl Dtype {
    /// Every element type.
    pub const ALL: [Self; 3] = [Self::F16, Self::Bf16, Self::F32];

    /// The name used in kernel names and on command lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
        }
    }

    /// Bytes of one element.
    #[must_use]
    pub const fn size_bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }

    /// The type with this mistral.rs code; `None` for codes of types these kernels do not have (3 is f8e4m3).
    #[must_use]
    pub const fn from_code(code: u32) -> Option<Self> {
        match code {
            0 => Some(Self::F16),
            1 => Some(Self::Bf16),
            2 => Some(Self::F32),
            _ => None,
        }
    }
}

impl std::str::FromStr for Dtype {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|dtype| dtype.name() == name)
            .ok_or_else(|| format!("unknown element type {name:?}: known are f16, bf16 and f32"))
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::Element;

    fn widens_in_bulk_as_one_by_one<T: Element>(values: &[T]) {
        let mut wide = vec![0.0; values.len() - 1];
        T::widen(values, &mut wide);
        for (value, wide) in values.iter().zip(wide) {
            assert!(value.to_f32() == wide || (value.to_f32().is_nan() && wide.is_nan()));
        }
    }

    #[test]
    fn every_half_widens_in_bulk_as_one_by_one() {
        let all = 0..=u16::MAX;
        widens_in_bulk_as_one_by_one(&all.clone().map(f16::from_bits).collect::<Vec<_>>());
        widens_in_bulk_as_one_by_one(&all.map(bf16::from_bits).collect::<Vec<_>>());
    }

    #[test]
    fn every_bfloat_is_the_upper_half_of_its_f32() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (bf16::from_bits(bits), bf16::from_bits(bits).to_f32());
            assert!(Element::to_f32(ours) == theirs || theirs.is_nan());
        }
    }
}
