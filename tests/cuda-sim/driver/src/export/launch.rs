//! Kernel launches.

use core::ffi::c_void;

use crate::call::exports;
use crate::device::MULTIPROCESSORS;
use crate::error::{Error, Outcome};
use crate::ffi::{Handle, In};
use crate::kernel::{Kernel, Source};
use crate::module::Function;
use crate::occupancy::blocks_per_multiprocessor;
use crate::stream::{Stream, resolve};
use crate::work::Work;

/// `CUlaunchConfig`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Configuration {
    grid: [u32; 3],
    block: [u32; 3],
    shared_bytes: u32,
    stream: Handle,
    attributes: In<Attribute>,
    attribute_count: u32,
}

/// `CUlaunchAttribute`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Attribute {
    id: u32,
    padding: u32,
    value: [u64; 8],
}

/// `CU_LAUNCH_ATTRIBUTE_COOPERATIVE`.
const COOPERATIVE: u32 = 2;

#[inline]
fn launch(
    function: Handle,
    grid: [u32; 3],
    block: [u32; 3],
    shared_bytes: u32,
    stream: Outcome<&'static Stream>,
    source: Source,
) -> Outcome {
    let stream = stream?;
    stream.submit(Work::Kernel(Kernel::new(Function::find(function)?, grid, block, shared_bytes, source)?))
}

fn launch_cooperative(
    function: Handle,
    grid: [u32; 3],
    block: [u32; 3],
    shared_bytes: u32,
    stream: Outcome<&'static Stream>,
    source: Source,
) -> Outcome {
    let found = Function::find(function)?;
    let threads = block.iter().copied().fold(1_u32, u32::saturating_mul);
    let resident = u64::from(blocks_per_multiprocessor(found, threads, shared_bytes) * MULTIPROCESSORS);
    let kernel = Kernel::new(found, grid, block, shared_bytes, source)?;
    if kernel.blocks() > resident {
        return Err(Error::COOPERATIVE_LAUNCH_TOO_LARGE);
    }
    stream?.submit(Work::Kernel(kernel))
}

fn launch_configured(
    configuration: In<Configuration>,
    function: Handle,
    source: Source,
    own: bool,
) -> Outcome {
    let c = configuration.get()?;
    let attributes = c.attributes.many(c.attribute_count as usize)?;
    // The first word of the value is an int for this attribute.
    let is_cooperative =
        |a: &Attribute| a.id == COOPERATIVE && a.value.first().is_some_and(|v| *v as u32 != 0);
    let stream = resolve(c.stream, own);
    if attributes.iter().any(is_cooperative) {
        return launch_cooperative(function, c.grid, c.block, c.shared_bytes, stream, source);
    }
    launch(function, c.grid, c.block, c.shared_bytes, stream, source)
}

exports! {
    ready fn cuLaunchKernel(
        function: Handle, grid_x: u32, grid_y: u32, grid_z: u32, block_x: u32, block_y: u32, block_z: u32,
        shared_bytes: u32, stream: Handle, each: *const *mut c_void, extra: *const *mut c_void,
    ) {
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        launch(function, grid, block, shared_bytes, resolve(stream, false), Source { each, extra })
    }

    ready fn cuLaunchKernel_ptsz(
        function: Handle, grid_x: u32, grid_y: u32, grid_z: u32, block_x: u32, block_y: u32, block_z: u32,
        shared_bytes: u32, stream: Handle, each: *const *mut c_void, extra: *const *mut c_void,
    ) {
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        launch(function, grid, block, shared_bytes, resolve(stream, true), Source { each, extra })
    }

    ready fn cuLaunchKernelEx(
        configuration: In<Configuration>, function: Handle, each: *const *mut c_void, extra: *const *mut c_void,
    ) {
        launch_configured(configuration, function, Source { each, extra }, false)
    }

    ready fn cuLaunchKernelEx_ptsz(
        configuration: In<Configuration>, function: Handle, each: *const *mut c_void, extra: *const *mut c_void,
    ) {
        launch_configured(configuration, function, Source { each, extra }, true)
    }

    ready fn cuLaunchCooperativeKernel(
        function: Handle, grid_x: u32, grid_y: u32, grid_z: u32, block_x: u32, block_y: u32, block_z: u32,
        shared_bytes: u32, stream: Handle, each: *const *mut c_void,
    ) {
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        let source = Source { each, extra: std::ptr::null() };
        launch_cooperative(function, grid, block, shared_bytes, resolve(stream, false), source)
    }

    ready fn cuLaunchCooperativeKernel_ptsz(
        function: Handle, grid_x: u32, grid_y: u32, grid_z: u32, block_x: u32, block_y: u32, block_z: u32,
        shared_bytes: u32, stream: Handle, each: *const *mut c_void,
    ) {
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        let source = Source { each, extra: std::ptr::null() };
        launch_cooperative(function, grid, block, shared_bytes, resolve(stream, true), source)
    }
}
