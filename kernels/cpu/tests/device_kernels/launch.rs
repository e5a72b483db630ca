//! Runs one kernel with typed arguments, and makes random tensors.

use core::ffi::c_void;

use gpu_agent_kernels_cpu::device::{Launch, lookup};
use gpu_agent_kernels_cpu::element::{Dtype, Element};
use gpu_agent_kernels_cpu::reference::{NumericalError, tolerance};

/// One kernel argument.
pub(crate) enum Arg {
    Pointer(*const c_void),
    Int(i32),
    Float(f32),
}

impl Arg {
    fn size_and_address(&self) -> (usize, *const c_void) {
        match self {
            Self::Pointer(value) => (8, std::ptr::from_ref(value).cast()),
            Self::Int(value) => (4, std::ptr::from_ref(value).cast()),
            Self::Float(value) => (4, std::ptr::from_ref(value).cast()),
        }
    }
}

pub(crate) fn input<T>(tensor: &[T]) -> Arg {
    Arg::Pointer(tensor.as_ptr().cast())
}

pub(crate) fn output<T>(tensor: &mut [T]) -> Arg {
    Arg::Pointer(tensor.as_mut_ptr().cast::<c_void>().cast_const())
}

pub(crate) fn optional<T>(tensor: Option<&[T]>) -> Arg {
    Arg::Pointer(tensor.map_or(std::ptr::null(), |tensor| tensor.as_ptr().cast()))
}

pub(crate) fn int(value: usize) -> Arg {
    Arg::Int(i32::try_from(value).unwrap())
}

/// Runs `name` over `grid`; the arguments must have the sizes that the kernel declares.
pub(crate) fn run(name: &str, grid: [usize; 3], args: &[Arg]) {
    let kernel = lookup(name).unwrap_or_else(|| panic!("no kernel {name}"));
    let (sizes, params): (Vec<_>, Vec<_>) = args.iter().map(Arg::size_and_address).unzip();
    assert_eq!(sizes, kernel.param_sizes, "{name}");
    let launch = Launch {
        grid: grid.map(|n| u32::try_from(n).unwrap()),
        block: [128, 1, 1],
        dynamic_shared_bytes: 0,
        params: &params,
    };
    // SAFETY: the arguments have the declared sizes and point to tensors of the shapes that the tests state.
    unsafe { (kernel.run)(&launch) };
}

/// Pseudo-random numbers (SplitMix64), so that tensors follow from one seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A tensor of values in -1 to 1.
    pub(crate) fn tensor<T: Element>(&mut self, numel: usize) -> Vec<T> {
        (0..numel).map(|_| T::from_f32((self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0)).collect()
    }

    /// The numbers below `n`, shuffled.
    pub(crate) fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, (self.next() % (i as u64 + 1)) as usize);
        }
        order
    }
}

/// Fails where the result is further from the reference than its type allows.
pub(crate) fn assert_close<T: Element>(result: &[T], reference: &[f64]) {
    let largest = reference.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    let error = NumericalError::between(result, reference).max_absolute;
    let allowed = tolerance(T::DTYPE, largest);
    assert!(
        error <= allowed,
        "error {error:e} of values up to {largest:e} in {}: allowed {allowed:e}",
        T::DTYPE
    );
}

/// Calls a generic test function for the element type of `dtype`.
macro_rules! for_dtype {
    ($dtype:expr, $function:ident($($argument:expr),*)) => {
        match $dtype {
            Dtype::F16 => $function::<half::f16>($($argument),*),
            Dtype::Bf16 => $function::<half::bf16>($($argument),*),
            Dtype::F32 => $function::<f32>($($argument),*),
        }
    };
}
pub(crate) use for_dtype;

pub(crate) fn dtypes() -> impl proptest::strategy::Strategy<Value = Dtype> {
    proptest::sample::select(Dtype::ALL.to_vec())
}
