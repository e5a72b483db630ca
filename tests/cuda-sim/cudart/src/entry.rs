//! The exported C functions, a file for each part of `cuda_runtime_api.h`. Enters: calls of a program. Leaves:
//! `cudaError_t`. Refuses: what the driver refuses.

mod device;
mod launch;
mod memory;
mod order;

use core::ffi::c_void;

/// `CU_STREAM_PER_THREAD`, which the `_ptsz` and `_ptds` forms use in place of NULL.
fn own(stream: *mut c_void) -> *mut c_void {
    if stream.is_null() { std::ptr::without_provenance_mut(2) } else { stream }
}
