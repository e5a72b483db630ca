//! The CUDA driver of this process.
//!
//! Enters: the mapped libcuda.so.1. Leaves: its version, and whether it is the simulated one. Refuses: to load it.
#![allow(unsafe_code, reason = "dlopen, dlsym, and a call through what they give")]

use core::ffi::{CStr, c_int, c_void};
use core::ptr::NonNull;

/// The mapped libcuda.so.1, held while its functions are looked up.
#[derive(Debug)]
pub struct Driver {
    handle: NonNull<c_void>,
}

impl Driver {
    /// `None` where libcuda.so.1 is not mapped.
    #[must_use]
    pub fn of_this_process() -> Option<Self> {
        // SAFETY: RTLD_NOLOAD loads nothing and runs nothing.
        let handle = unsafe { libc::dlopen(c"libcuda.so.1".as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
        NonNull::new(handle).map(|handle| Self { handle })
    }

    /// `cuDriverGetVersion`: major × 1000 + minor × 10; `None` where it fails.
    #[must_use]
    pub fn version(&self) -> Option<u32> {
        let symbol = self.symbol(c"cuDriverGetVersion")?;
        // SAFETY: the driver's function of this name has had this signature since CUDA 2.2.
        let function: unsafe extern "C" fn(*mut c_int) -> c_int =
            unsafe { core::mem::transmute(symbol.as_ptr()) };
        let mut version = 0;
        // SAFETY: an out-pointer to a live int; the call needs no initialised driver.
        let status = unsafe { function(&raw mut version) };
        (status == 0 && version > 0).then_some(version.unsigned_abs())
    }

    /// Whether it is the stand-in of `tests/cuda-sim`.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.symbol(c"gpu_agent_cuda_sim_driver").is_some()
    }

    fn symbol(&self, name: &CStr) -> Option<NonNull<c_void>> {
        // SAFETY: a live handle and a NUL-terminated name.
        NonNull::new(unsafe { libc::dlsym(self.handle.as_ptr(), name.as_ptr()) })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // SAFETY: the handle is ours to give back; whoever loaded libcuda holds it too, so it stays mapped.
        unsafe { libc::dlclose(self.handle.as_ptr()) };
    }
}
