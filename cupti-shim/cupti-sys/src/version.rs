//! In: what `cuptiGetVersion` answered. Out: an ordered version to ask "does this CUPTI have that?". Refuses nothing.
//!
//! Source: `CUPTI_API_VERSION` in `cupti_version.h` of each release. It counted 1, 2, 3 … until 12.9 and is
//! `MAJOR * 10000 + MINOR * 100 + patch` since 13.0. 11.8, 12.0 and 12.1 all answer 18.

/// `CUPTI_API_VERSION` of a loaded library. Later versions compare greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct ApiVersion(pub u32);

impl ApiVersion {
    /// First answer of CUPTI 11.8, and of 12.0 and 12.1.
    pub const V11_8: Self = Self(18);
    /// First answer of CUPTI 12.2.
    pub const V12_2: Self = Self(20);
    /// First answer of CUPTI 12.3.
    pub const V12_3: Self = Self(21);
    /// First answer of CUPTI 12.4.
    pub const V12_4: Self = Self(22);
    /// First answer of CUPTI 12.5.
    pub const V12_5: Self = Self(23);
    /// First answer of CUPTI 12.6.
    pub const V12_6: Self = Self(24);
    /// First answer of CUPTI 12.8.
    pub const V12_8: Self = Self(26);
    /// First answer of CUPTI 12.9.
    pub const V12_9: Self = Self(27);
    /// First answer of CUPTI 13.0.
    pub const V13_0: Self = Self(130_000);
    /// First answer of CUPTI 13.1.
    pub const V13_1: Self = Self(130_100);
    /// First answer of CUPTI 13.2.
    pub const V13_2: Self = Self(130_200);
    /// First answer of CUPTI 13.3.
    pub const V13_3: Self = Self(130_300);
    /// First answer of CUPTI 13.4.
    pub const V13_4: Self = Self(130_400);
    /// First answer of CUPTI 13.5, the newest that this crate was checked against.
    pub const V13_5: Self = Self(130_500);
}
