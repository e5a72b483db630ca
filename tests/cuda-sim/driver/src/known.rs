//! Kernels that the simulator computes. Enters: a kernel's name and parameter sizes. Leaves: the function that does
//! on the CPU what the kernel does. Refuses: a kernel of a known name whose parameters differ.
//!
//! The project's reference kernels come from `gpu-agent-kernels-cpu`; the others are those of cudarc's example programs.
#![allow(unsafe_code, reason = "kernels work on raw device memory")]

use core::ffi::c_void;

use gpu_agent_kernels_cpu::device::{self, DeviceKernel, Launch};

use crate::error::{Error, Outcome};
use crate::module::Module;
use crate::ptx::Parameter;

/// A kernel with a CPU implementation.
#[derive(Clone, Copy)]
pub(crate) enum Known {
    /// One of the project's own.
    Reference(&'static DeviceKernel),
    /// One of cudarc's examples.
    Example(&'static Example),
}

/// A kernel of cudarc's example programs.
pub(crate) struct Example {
    name: &'static str,
    param_sizes: &'static [usize],
    run: unsafe fn(&Launch<'_>, &Module) -> Outcome,
}

static EXAMPLES: [Example; 5] = [
    Example { name: "sin_kernel", param_sizes: &[8, 8, 4], run: sin_kernel },
    Example { name: "matmul", param_sizes: &[8, 8, 8, 4], run: matmul },
    Example { name: "polynomial_kernel", param_sizes: &[8, 8, 4], run: polynomial_kernel },
    Example { name: "my_custom_kernel", param_sizes: &[32], run: my_custom_kernel },
    Example { name: "hello_world", param_sizes: &[4], run: hello_world },
];

/// The implementation of this kernel; `declared` are its parameters where the module tells them.
pub(crate) fn find(name: &str, declared: Option<&[Parameter]>) -> Option<Known> {
    let example = || EXAMPLES.iter().find(|example| example.name == name).map(Known::Example);
    let known = device::lookup(name).map(Known::Reference).or_else(example)?;
    let agrees = declared
        .is_none_or(|declared| declared.iter().map(|p| p.size).eq(known.param_sizes().iter().copied()));
    agrees.then_some(known)
}

impl Known {
    /// Size of each parameter, bytes.
    pub(crate) fn param_sizes(self) -> &'static [usize] {
        match self {
            Self::Reference(kernel) => kernel.param_sizes,
            Self::Example(example) => example.param_sizes,
        }
    }

    /// Registers per thread, as reported.
    pub(crate) fn registers(self) -> u32 {
        match self {
            Self::Reference(kernel) => u32::from(kernel.registers),
            Self::Example(_) => 16,
        }
    }

    /// Static shared memory of a block, bytes.
    pub(crate) fn static_shared_bytes(self) -> u32 {
        match self {
            Self::Reference(kernel) => kernel.static_shared_bytes,
            Self::Example(_) => 0,
        }
    }

    /// Computes the grid.
    ///
    /// # Safety
    /// As [`DeviceKernel::run`].
    pub(crate) unsafe fn run(self, launch: &Launch<'_>, module: &Module) -> Outcome {
        match self {
            Self::Reference(kernel) => {
                // SAFETY: by this function's contract.
                unsafe { (kernel.run)(launch) };
                Ok(())
            }
            // SAFETY: by this function's contract.
            Self::Example(example) => unsafe { (example.run)(launch, module) },
        }
    }
}

/// The value of parameter `index`.
///
/// # Safety
/// The parameter exists and has the type `T`.
unsafe fn parameter<T: Copy>(launch: &Launch<'_>, index: usize) -> T {
    let pointer: *const c_void = launch.params.get(index).copied().unwrap_or_default();
    // SAFETY: by this function's contract.
    unsafe { pointer.cast::<T>().read_unaligned() }
}

fn threads(launch: &Launch<'_>, axis: usize) -> usize {
    let of = |size: &[u32; 3]| size.get(axis).copied().unwrap_or(1) as usize;
    of(&launch.grid) * of(&launch.block)
}

/// `out[i] = sin(in[i])`.
unsafe fn sin_kernel(launch: &Launch<'_>, _: &Module) -> Outcome {
    // SAFETY: the parameters are (float* out, const float* in, int n), and the program vouches for n elements.
    unsafe { map(launch, f32::sin) };
    Ok(())
}

/// `out[i] = polynomial(in[i])` with the module's constant `coefficients`.
unsafe fn polynomial_kernel(launch: &Launch<'_>, module: &Module) -> Outcome {
    let (address, bytes) = module.variable("coefficients").ok_or(Error::NOT_FOUND)?;
    if bytes < 16 {
        return Err(Error::INVALID_VALUE);
    }
    let coefficients: *const [f32; 4] = std::ptr::with_exposed_provenance(address as usize);
    // SAFETY: the module's variable is at least 16 bytes and lives as long as the module.
    let [a, b, c, d] = unsafe { coefficients.read_unaligned() };
    // SAFETY: as in `sin_kernel`.
    unsafe { map(launch, |x| a + b * x + c * x * x + d * x * x * x) };
    Ok(())
}

/// Applies `function` to each of the elements that the grid covers.
///
/// # Safety
/// The parameters are (float* out, const float* in, int n) with n elements behind both.
unsafe fn map(launch: &Launch<'_>, function: impl Fn(f32) -> f32) {
    // SAFETY: by this function's contract.
    let (out, input, n) = unsafe {
        (parameter::<*mut f32>(launch, 0), parameter::<*const f32>(launch, 1), parameter::<i32>(launch, 2))
    };
    for i in 0..threads(launch, 0).min(n.max(0) as usize) {
        // SAFETY: i < n.
        unsafe { out.add(i).write(function(input.add(i).read())) };
    }
}

/// `C = A × B` for square row-major matrices.
unsafe fn matmul(launch: &Launch<'_>, _: &Module) -> Outcome {
    // SAFETY: the parameters are (float* A, float* B, float* C, int N).
    let (a, b, c, n) = unsafe {
        (
            parameter::<*const f32>(launch, 0),
            parameter::<*const f32>(launch, 1),
            parameter::<*mut f32>(launch, 2),
            parameter::<i32>(launch, 3).max(0) as usize,
        )
    };
    for row in 0..threads(launch, 1).min(n) {
        for column in 0..threads(launch, 0).min(n) {
            // SAFETY: row, column and i are below N, and the program vouches for N × N elements behind each.
            unsafe {
                let sum: f32 = (0..n).map(|i| a.add(row * n + i).read() * b.add(i * n + column).read()).sum();
                c.add(row * n + column).write(sum);
            }
        }
    }
    Ok(())
}

/// The structure of cudarc's example 05.
#[repr(C)]
#[derive(Clone, Copy)]
struct Thing {
    a: f32,
    b: f64,
    c: u32,
    d: u64,
}

/// Asserts that the structure passed by value holds what the example puts there.
unsafe fn my_custom_kernel(launch: &Launch<'_>, _: &Module) -> Outcome {
    // SAFETY: the parameter is { float; double; unsigned; size_t }.
    let thing = unsafe { parameter::<Thing>(launch, 0) };
    let Thing { a, b, c, d } = thing;
    if a == 1.0 && b == 2.34 && c == 57 && d == 420 { Ok(()) } else { Err(Error::ASSERT) }
}

/// Prints what the kernel prints.
unsafe fn hello_world(launch: &Launch<'_>, _: &Module) -> Outcome {
    // SAFETY: the parameter is an int.
    let i = unsafe { parameter::<i32>(launch, 0) };
    for _ in 0..threads(launch, 0) {
        println!("Hello from the cuda kernel in thread {i}");
    }
    Ok(())
}
