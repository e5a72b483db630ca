//! Kernel launches, and what nvcc's generated code calls before and around them.
#![allow(unsafe_code, reason = "exported C functions that read and write through the caller's pointers")]

use core::ffi::{c_char, c_void};
use std::cell::RefCell;

use crate::call::{self, drive, exports};
use crate::driver::{self, Driver, Handle, Parameters};
use crate::error::{Error, Outcome, Status};
use crate::{cbid, registration};

use super::device::put;
use super::own;

/// `dim3`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Dim3 {
    x: u32,
    y: u32,
    z: u32,
}

/// `cudaLaunchConfig_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Configuration {
    grid: Dim3,
    block: Dim3,
    shared_bytes: usize,
    stream: Handle,
    attributes: *const Attribute,
    attribute_count: u32,
}

/// `cudaLaunchAttribute`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Attribute {
    id: u32,
    padding: u32,
    value: [u64; 8],
}

/// `cudaLaunchAttributeCooperative`.
const COOPERATIVE: u32 = 2;

thread_local! {
    /// Configurations of `<<<…>>>` between their push and pop.
    static CONFIGURATIONS: RefCell<Vec<(Dim3, Dim3, usize, usize)>> = const { RefCell::new(Vec::new()) };
}

/// Bad grids and blocks have an error of their own in the runtime.
fn as_launch_error(error: Error) -> Error {
    if error == Error::INVALID_VALUE { Error::INVALID_CONFIGURATION } else { error }
}

fn launch(
    driver: &Driver,
    function: Handle,
    (grid, block): (Dim3, Dim3),
    arguments: Parameters,
    shared_bytes: usize,
    stream: Handle,
) -> Outcome {
    let shared = u32::try_from(shared_bytes).or(Err(Error::INVALID_CONFIGURATION))?;
    let none = std::ptr::null_mut();
    drive!(driver.cuLaunchKernel(
        function, grid.x, grid.y, grid.z, block.x, block.y, block.z, shared, stream, arguments, none
    ))
    .map_err(as_launch_error)
}

fn launch_cooperative(
    driver: &Driver,
    function: Handle,
    (grid, block): (Dim3, Dim3),
    arguments: Parameters,
    shared_bytes: usize,
    stream: Handle,
) -> Outcome {
    let shared = u32::try_from(shared_bytes).or(Err(Error::INVALID_CONFIGURATION))?;
    drive!(driver.cuLaunchCooperativeKernel(
        function, grid.x, grid.y, grid.z, block.x, block.y, block.z, shared, stream, arguments
    ))
    .map_err(as_launch_error)
}

fn launch_configured(
    driver: &Driver,
    configuration: *const Configuration,
    function: *const c_void,
    arguments: Parameters,
    stream_of: fn(Handle) -> Handle,
) -> Outcome {
    if configuration.is_null() {
        return Err(Error::INVALID_VALUE);
    }
    // SAFETY: not NULL; the caller passes a `cudaLaunchConfig_t`.
    let c = unsafe { configuration.read_unaligned() };
    let count = if c.attributes.is_null() { 0 } else { c.attribute_count as usize };
    let cooperative = (0..count).any(|index| {
        // SAFETY: `attribute_count` attributes stand there. The value's first word is an int for this id.
        let attribute = unsafe { c.attributes.add(index).read_unaligned() };
        attribute.id == COOPERATIVE && attribute.value.first().is_some_and(|value| *value as u32 != 0)
    });
    let function = registration::function(driver, function)?;
    let run = if cooperative { launch_cooperative } else { launch };
    run(driver, function, (c.grid, c.block), arguments, c.shared_bytes, stream_of(c.stream))
}

exports! {
    bound(driver) fn cudaLaunchKernel(
        function: *const c_void, grid: Dim3, block: Dim3, arguments: Parameters, shared_bytes: usize, stream: Handle,
    ) {
        launch(driver, registration::function(driver, function)?, (grid, block), arguments, shared_bytes, stream)
    }

    bound(driver) fn cudaLaunchKernel_ptsz(
        function: *const c_void, grid: Dim3, block: Dim3, arguments: Parameters, shared_bytes: usize, stream: Handle,
    ) {
        let function = registration::function(driver, function)?;
        launch(driver, function, (grid, block), arguments, shared_bytes, own(stream))
    }

    bound(driver) fn cudaLaunchKernelExC(
        configuration: *const Configuration, function: *const c_void, arguments: Parameters,
    ) {
        launch_configured(driver, configuration, function, arguments, |stream| stream)
    }

    bound(driver) fn cudaLaunchKernelExC_ptsz(
        configuration: *const Configuration, function: *const c_void, arguments: Parameters,
    ) {
        launch_configured(driver, configuration, function, arguments, own)
    }

    bound(driver) fn cudaLaunchCooperativeKernel(
        function: *const c_void, grid: Dim3, block: Dim3, arguments: Parameters, shared_bytes: usize, stream: Handle,
    ) {
        let function = registration::function(driver, function)?;
        launch_cooperative(driver, function, (grid, block), arguments, shared_bytes, stream)
    }

    bound(driver) fn cudaFuncSetAttribute(function: *const c_void, attribute: i32, value: i32) {
        drive!(driver.cuFuncSetAttribute(registration::function(driver, function)?, attribute, value))
    }

    bound(driver) fn cudaOccupancyMaxActiveBlocksPerMultiprocessor(
        count: *mut i32, function: *const c_void, threads: i32, shared_bytes: usize,
    ) {
        let function = registration::function(driver, function)?;
        drive!(driver.cuOccupancyMaxActiveBlocksPerMultiprocessor(count, function, threads, shared_bytes))
    }

    bound(driver) fn cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        count: *mut i32, function: *const c_void, threads: i32, shared_bytes: usize, _flags: u32,
    ) {
        let function = registration::function(driver, function)?;
        drive!(driver.cuOccupancyMaxActiveBlocksPerMultiprocessor(count, function, threads, shared_bytes))
    }

    bound(driver) fn cudaGetKernel(kernel: *mut Handle, function: *const c_void) {
        put(kernel, registration::function(driver, function)?)
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __cudaRegisterFatBinary(wrapper: *const c_void) -> *mut c_void {
    // SAFETY: nvcc's start-up code passes its wrapper, which lives as long as the program's image.
    std::ptr::without_provenance_mut(unsafe { registration::add_image(wrapper) })
}

#[unsafe(no_mangle)]
extern "C" fn __cudaRegisterFatBinaryEnd(_image: *mut c_void) {}

#[unsafe(no_mangle)]
extern "C" fn __cudaUnregisterFatBinary(image: *mut c_void) {
    let loaded = registration::remove_image(image.addr());
    if let (Some(module), Some(driver)) = (loaded, driver::driver()) {
        // At exit the context may be gone already, and the module with it.
        drive!(driver.cuModuleUnload(module)).ok();
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __cudaRegisterFunction(
    image: *mut c_void,
    host: *const c_void,
    _device: *const c_char,
    name: *const c_char,
    _thread_limit: i32,
) {
    // SAFETY: nvcc's start-up code passes a NUL-terminated name.
    unsafe { registration::add_kernel(image.addr(), host, name) };
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __cudaRegisterVar(
    image: *mut c_void,
    host: *const c_void,
    _device: *const c_char,
    name: *const c_char,
    _external: i32,
    bytes: usize,
    _constant: i32,
    _global: i32,
) {
    // SAFETY: nvcc's start-up code passes a NUL-terminated name.
    unsafe { registration::add_variable(image.addr(), host, name, bytes) };
}

#[unsafe(no_mangle)]
extern "C" fn __cudaInitModule(_image: *mut c_void) -> c_char {
    1
}

#[unsafe(no_mangle)]
extern "C" fn __cudaPushCallConfiguration(
    grid: Dim3,
    block: Dim3,
    shared_bytes: usize,
    stream: Handle,
) -> u32 {
    CONFIGURATIONS.with_borrow_mut(|all| all.push((grid, block, shared_bytes, stream.expose_provenance())));
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __cudaPopCallConfiguration(
    grid: *mut Dim3,
    block: *mut Dim3,
    shared_bytes: *mut usize,
    stream: *mut Handle,
) -> Status {
    let pop = || {
        let (g, b, s, handle) =
            CONFIGURATIONS.with_borrow_mut(Vec::pop).ok_or(Error::MISSING_CONFIGURATION)?;
        put(grid, g)?;
        put(block, b)?;
        put(shared_bytes, s)?;
        put(stream, std::ptr::with_exposed_provenance_mut(handle))
    };
    pop().map_or_else(|error: Error| error.0, |()| 0)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __cudaGetKernel(kernel: *mut Handle, function: *const c_void) -> Status {
    // SAFETY: the same prototype and contract.
    unsafe { cudaGetKernel(kernel, function) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __cudaLaunchKernel(
    kernel: Handle,
    grid: Dim3,
    block: Dim3,
    arguments: Parameters,
    shared_bytes: usize,
    stream: Handle,
) -> Status {
    call::bound((cbid::cudaLaunchKernel, "cudaLaunchKernel"), |driver| {
        launch(driver, kernel, (grid, block), arguments, shared_bytes, stream)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __cudaLaunchKernel_ptsz(
    kernel: Handle,
    grid: Dim3,
    block: Dim3,
    arguments: Parameters,
    shared_bytes: usize,
    stream: Handle,
) -> Status {
    call::bound((cbid::cudaLaunchKernel_ptsz, "cudaLaunchKernel_ptsz"), |driver| {
        launch(driver, kernel, (grid, block), arguments, shared_bytes, own(stream))
    })
}
