//! Explicit bounds of the histograms, each in its instrument's unit.
//!
//! Enters: nothing. Leaves: constants. Refuses: bounds made for one machine: each list spans what CUDA programs
//! do, from the shortest kernel to the longest wait.

/// GPU time of kernels and copies, seconds: 1 µs to 1 s, in steps of 1, 2.5, 5.
pub(super) const GPU_SECONDS: &[f64] = &[
    0.000_001,
    0.000_002_5,
    0.000_005,
    0.000_01,
    0.000_025,
    0.000_05,
    0.000_1,
    0.000_25,
    0.000_5,
    0.001,
    0.002_5,
    0.005,
    0.01,
    0.025,
    0.1,
    1.0,
];

/// Time of one attention or cache call, milliseconds: 1 µs to 1 s.
pub(super) const CALL_MILLISECONDS: &[f64] =
    &[0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 100.0, 1000.0];

/// Host time of CUDA calls, engines' calls and waits, seconds: 500 ns to 10 s.
pub(super) const HOST_SECONDS: &[f64] = &[
    0.000_000_5,
    0.000_001,
    0.000_002_5,
    0.000_005,
    0.000_01,
    0.000_025,
    0.000_05,
    0.000_1,
    0.000_5,
    0.001,
    0.005,
    0.01,
    0.1,
    1.0,
    10.0,
];

/// Sizes of tensors, bytes: 1 KiB to 64 GiB, by 4.
pub(super) const TENSOR_BYTES: &[f64] = &[
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
    4_294_967_296.0,
    17_179_869_184.0,
    68_719_476_736.0,
];
