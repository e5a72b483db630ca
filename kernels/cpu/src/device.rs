//! What the simulated device runs. Enter: a kernel's name, its grid and its raw parameters, as `cuLaunchKernel`
//! takes them; leaves: device memory changed as the kernel of that name in `cuda/` would change it. "Device
//! memory" is host memory here: a `CUdeviceptr` is an address of this process.
//!
//! The arithmetic is the kernels': operands widened to `f32`, sums in `f32`, one rounding to the output type.
//! The order of the sums is this module's own, so results agree with a GPU's within rounding, not bit for bit.
//!
//! Refuses nothing by itself: as on a GPU, a wrong pointer or shape is undefined behaviour. A caller that cannot
//! vouch for a launch must not start it.

mod attention;
mod cache;
mod dense;
mod memory;
mod table;

pub(crate) use attention::PARTITION;

use core::ffi::c_void;

/// One kernel that the simulated device can run.
#[derive(Debug)]
pub struct DeviceKernel {
    /// Its entry name in the PTX, e.g. `paged_attention_v1_f16_h128_b16`.
    pub name: &'static str,
    /// Size in bytes of each parameter, in order.
    pub param_sizes: &'static [usize],
    /// Runs the whole grid, on the calling thread.
    ///
    /// # Safety
    /// `Launch::params` holds one readable pointer per entry of `param_sizes`, and the values satisfy what the
    /// kernel's description in `cuda/` asks: pointers valid for the shapes, no concurrent access to what it writes.
    pub run: unsafe fn(&Launch<'_>),
    /// Registers per thread that the simulated device reports. Plausible, not measured on hardware.
    pub registers: u16,
    /// Static shared memory of a block, in bytes, as declared in the source.
    pub static_shared_bytes: u32,
}

/// One launch: the arguments of `cuLaunchKernel`.
#[derive(Debug)]
pub struct Launch<'a> {
    /// Blocks in x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block in x, y, z.
    pub block: [u32; 3],
    /// Dynamic shared memory of a block, in bytes.
    pub dynamic_shared_bytes: u32,
    /// One pointer per parameter: `kernelParams` of `cuLaunchKernel`.
    pub params: &'a [*const c_void],
}

/// The kernel of this name, if it is one of ours.
#[must_use]
pub fn lookup(name: &str) -> Option<&'static DeviceKernel> {
    kernels().find(|kernel| kernel.name == name)
}

/// Every name [`lookup`] knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    kernels().map(|kernel| kernel.name)
}

/// Every kernel.
pub fn kernels() -> impl Iterator<Item = &'static DeviceKernel> {
    table::TABLES.iter().flat_map(|table| table.iter())
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_unique_and_found() {
        let mut names: Vec<_> = super::names().collect();
        assert_eq!(names.len(), 60);
        for name in &names {
            assert_eq!(super::lookup(name).map(|kernel| kernel.name), Some(*name));
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 60);
        assert!(super::lookup("paged_attention_v1_f16_h96_b16").is_none());
    }
}
