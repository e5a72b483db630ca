//! In: nothing. Out: what `cuptiGetVersion` answers in each release of the fixture.

/// `CUPTI_API_VERSION` in the `cupti_version.h` of each release in the fixture.
pub(crate) const API_VERSIONS: &[(&str, u32)] = &[
    ("11.8.87", 18),
    ("12.0.146", 18),
    ("12.1.105", 18),
    ("12.2.142", 20),
    ("12.3.101", 21),
    ("12.4.127", 22),
    ("12.5.82", 23),
    ("12.6.80", 24),
    ("12.8.90", 26),
    ("12.9.79", 28),
    ("13.0.85", 130_001),
    ("13.1.115", 130_101),
    ("13.2.86", 130_202),
    ("13.3.75", 130_301),
    ("13.4.92", 130_401),
    ("13.5.25", 130_500),
];
