//! Normalisation and matrix product agree with the definition, at shapes that do not fill their tiles.

use gpu_agent_kernels_cpu::element::{Dtype, Element};
use gpu_agent_kernels_cpu::reference::{Activation, gemm, rms_norm};
use proptest::prelude::{Just, any, prop_oneof, proptest};

use crate::launch::{Arg, Random, assert_close, dtypes, for_dtype, input, int, output, run};

fn check_rms_norm<T: Element>(tokens: usize, hidden: usize, seed: u64) {
    let mut random = Random(seed);
    let values: Vec<T> = random.tensor(tokens * hidden);
    let weight: Vec<T> = random.tensor(hidden);
    let mut out = vec![T::default(); values.len()];
    let name = format!("rms_norm_{}", T::DTYPE);
    let args = [output(&mut out), input(&values), input(&weight), int(hidden), Arg::Float(1e-5)];
    run(&name, [tokens, 1, 1], &args);
    let expected = rms_norm(&values, &weight, 1e-5);
    assert_close(&out, &expected);

    let mut in_place = values.clone();
    let pointer = output(&mut in_place);
    let args = [pointer, input(&in_place), input(&weight), int(hidden), Arg::Float(1e-5)];
    run(&name, [tokens, 1, 1], &args);
    assert_close(&in_place, &expected);
}

fn check_gemm<T: Element>([m, n, k]: [usize; 3], beta: f32, activation: Activation, seed: u64) {
    let mut random = Random(seed);
    let (a, b): (Vec<T>, Vec<T>) = (random.tensor(m * k), random.tensor(n * k));
    // With beta 0 the output is not read: what stands there must not matter.
    let before: Vec<T> = if beta == 0.0 { vec![T::from_f32(f32::NAN); m * n] } else { random.tensor(m * n) };
    let mut out = before.clone();
    let args = [
        output(&mut out),
        input(&a),
        input(&b),
        int(m),
        int(n),
        int(k),
        Arg::Float(0.5),
        Arg::Float(beta),
        Arg::Int(activation as i32),
    ];
    run(&format!("gemm_{}", T::DTYPE), [n.div_ceil(64), m.div_ceil(64), 1], &args);
    assert_close(&out, &gemm(&a, &b, &before, [m, n, k], 0.5, beta, activation));
}

proptest! {
    #[test]
    fn rms_norm_agrees_with_the_definition(
        dtype in dtypes(), tokens in 1..=4usize, hidden in 1..=600usize, seed in any::<u64>()
    ) {
        for_dtype!(dtype, check_rms_norm(tokens, hidden, seed));
    }

    #[test]
    fn gemm_agrees_with_the_definition(
        dtype in dtypes(),
        shape in [1..=70usize, 1..=70, 1..=90],
        beta in prop_oneof![Just(0.0f32), Just(1.0f32), Just(-0.5f32)],
        activation in prop_oneof![Just(Activation::Identity), Just(Activation::Silu)],
        seed in any::<u64>()
    ) {
        for_dtype!(dtype, check_gemm(shape, beta, activation, seed));
    }
}
