//! In: bytes and an offset known at compile time. Out: a number. Refuses a slice that is too short (`None`).

/// A number, or bytes, as a record holds them.
pub(crate) trait Scalar: Sized {
    /// The value at byte `AT`, or `None` where `bytes` ends before it does. With a slice whose length the compiler
    /// knows, this is one load.
    fn read<const AT: usize>(bytes: &[u8]) -> Option<Self>;
}

macro_rules! little_endian {
    ($($int:ty),*) => {$(
        impl Scalar for $int {
            #[inline(always)]
            fn read<const AT: usize>(bytes: &[u8]) -> Option<Self> {
                bytes.get(AT..)?.first_chunk().map(|raw| Self::from_le_bytes(*raw))
            }
        }
    )*};
}
little_endian!(u8, u16, u32, u64, i32);

impl<const N: usize> Scalar for [u8; N] {
    #[inline(always)]
    fn read<const AT: usize>(bytes: &[u8]) -> Option<Self> {
        bytes.get(AT..)?.first_chunk().copied()
    }
}

/// A field's meaning, made from the number that the record holds; total.
pub(crate) trait FromRaw<Raw> {
    fn from_raw(raw: Raw) -> Self;
}

impl FromRaw<u8> for bool {
    #[inline(always)]
    fn from_raw(raw: u8) -> Self {
        raw != 0
    }
}

impl FromRaw<u32> for bool {
    #[inline(always)]
    fn from_raw(raw: u32) -> Self {
        raw != 0
    }
}

/// Widens the record's number into the newtype's, which the header's enum has.
macro_rules! widen {
    ($($type:ident: $($raw:ty),+;)*) => {$($(
        impl $crate::record::scalar::FromRaw<$raw> for $type {
            #[inline(always)]
            fn from_raw(raw: $raw) -> Self {
                Self(u32::from(raw))
            }
        }
    )+)*};
}
pub(crate) use widen;
