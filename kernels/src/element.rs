//! Element types of tensors. Enter: stored values; leave: `f32` for arithmetic, and back with one rounding
//! (to nearest, ties to even, as `cvt.rn` does). Refuses nothing: every bit pattern is a value.

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
}

impl Element for f16 {
    const DTYPE: Dtype = Dtype::F16;
    fn to_f32(self) -> f32 {
        f16::to_f32(self)
    }
    fn from_f32(value: f32) -> Self {
        f16::from_f32(value)
    }
}

impl Element for bf16 {
    const DTYPE: Dtype = Dtype::Bf16;
    fn to_f32(self) -> f32 {
        bf16::to_f32(self)
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
