//! Devices, versions, errors, peer access, profiler switches.
#![allow(unsafe_code, reason = "writes through the pointers that a C caller passes")]

use core::ffi::{CStr, c_char, c_void};

use crate::binding;
use crate::call::{drive, exports};
use crate::driver::Driver;
use crate::error::{Error, Outcome, Status, describe, last, take_last};
use crate::registration;

/// Offsets in `cudaDeviceProp`; the first part is the same in CUDA 12 and 13 (`driver_types.h`, 12.9 and 13.0).
struct Layout {
    size: usize,
    multiprocessors: usize,
    concurrent_kernels: usize,
    pci_bus_id: usize,
    unified_addressing: usize,
    l2_bytes: usize,
    threads_per_multiprocessor: usize,
    shared_per_multiprocessor: usize,
    registers_per_multiprocessor: usize,
    shared_opt_in: usize,
}

const LAYOUT_12: Layout = Layout {
    size: 1032,
    multiprocessors: 388,
    concurrent_kernels: 576,
    pci_bus_id: 584,
    unified_addressing: 604,
    l2_bytes: 616,
    threads_per_multiprocessor: 624,
    shared_per_multiprocessor: 640,
    registers_per_multiprocessor: 648,
    shared_opt_in: 696,
};

const LAYOUT_13: Layout = Layout {
    size: 1008,
    multiprocessors: 384,
    concurrent_kernels: 560,
    pci_bus_id: 568,
    unified_addressing: 588,
    l2_bytes: 596,
    threads_per_multiprocessor: 604,
    shared_per_multiprocessor: 624,
    registers_per_multiprocessor: 632,
    shared_opt_in: 672,
};

/// The CUDA major version that this copy of the library stands for, from the name of its file.
fn major() -> i32 {
    let mut info = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    let here = major as *const c_void;
    // SAFETY: any address may be asked for; `info` is valid for the call.
    if unsafe { libc::dladdr(here, &raw mut info) } == 0 || info.dli_fname.is_null() {
        return 12;
    }
    // SAFETY: not NULL, so NUL-terminated.
    let name = unsafe { CStr::from_ptr(info.dli_fname) }.to_string_lossy();
    if name.contains("cudart.so.13") { 13 } else { 12 }
}

/// Fills the properties that the simulator knows; the others are 0.
fn properties(driver: &Driver, out: *mut u8, device: i32) -> Outcome {
    if out.is_null() {
        return Err(Error::INVALID_VALUE);
    }
    let is_13 = major() >= 13;
    let layout = if is_13 { &LAYOUT_13 } else { &LAYOUT_12 };
    let attribute = |number: i32| {
        let mut value = 0;
        drive!(driver.cuDeviceGetAttribute(&raw mut value, number, device)).map(|()| value)
    };
    let ints = [
        (304, 12),
        (308, 10),
        (320, 1),
        (324, 2),
        (328, 3),
        (332, 4),
        (336, 5),
        (340, 6),
        (344, 7),
        (360, 75),
        (364, 76),
        (layout.multiprocessors, 16),
        (layout.concurrent_kernels, 31),
        (layout.pci_bus_id, 33),
        (layout.unified_addressing, 41),
        (layout.l2_bytes, 38),
        (layout.threads_per_multiprocessor, 39),
        (layout.registers_per_multiprocessor, 82),
    ];
    let sizes =
        [(296, 8), (312, 11), (352, 9), (layout.shared_per_multiprocessor, 81), (layout.shared_opt_in, 97)];
    let mut values = Vec::new();
    for (offset, number) in ints {
        values.push((offset, attribute(number)?.to_ne_bytes().to_vec()));
    }
    for (offset, number) in sizes {
        values.push((offset, (attribute(number)? as usize).to_ne_bytes().to_vec()));
    }
    let mut total = 0_usize;
    drive!(driver.cuDeviceTotalMem_v2(&raw mut total, device))?;
    values.push((288, total.to_ne_bytes().to_vec()));
    if !is_13 {
        values.push((348, attribute(13)?.to_ne_bytes().to_vec()));
    }
    // SAFETY: the caller passes a `cudaDeviceProp` of its CUDA version, which has this size.
    unsafe { out.write_bytes(0, layout.size) };
    drive!(driver.cuDeviceGetName(out.cast::<c_char>(), 256, device))?;
    drive!(driver.cuDeviceGetUuid_v2(out.wrapping_add(256).cast(), device))?;
    for (offset, bytes) in values {
        // SAFETY: all offsets lie inside the structure.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), out.add(offset), bytes.len()) };
    }
    Ok(())
}

/// Writes through a pointer of the caller.
pub(super) fn put<T>(out: *mut T, value: T) -> Outcome {
    if out.is_null() {
        return Err(Error::INVALID_VALUE);
    }
    // SAFETY: not NULL; the caller vouches for the rest.
    unsafe { out.write_unaligned(value) };
    Ok(())
}

exports! {
    any(driver) fn cudaDriverGetVersion(version: *mut i32) {
        drive!(driver.cuDriverGetVersion(version))
    }

    any(_driver) fn cudaRuntimeGetVersion(version: *mut i32) {
        put(version, if major() >= 13 { 13000 } else { 12090 })
    }

    initialized(driver) fn cudaGetDeviceCount(count: *mut i32) {
        drive!(driver.cuDeviceGetCount(count))
    }

    initialized(_driver) fn cudaGetDevice(device: *mut i32) {
        put(device, binding::device())
    }

    initialized(driver) fn cudaSetDevice(device: i32) {
        binding::set_device(driver, device)
    }

    initialized(driver) fn cudaGetDeviceProperties(out: *mut u8, device: i32) {
        properties(driver, out, device)
    }

    initialized(driver) fn cudaGetDeviceProperties_v2(out: *mut u8, device: i32) {
        properties(driver, out, device)
    }

    initialized(driver) fn cudaDeviceGetAttribute(value: *mut i32, attribute: i32, device: i32) {
        drive!(driver.cuDeviceGetAttribute(value, attribute, device))
    }

    initialized(driver) fn cudaDeviceGetPCIBusId(text: *mut c_char, length: i32, device: i32) {
        drive!(driver.cuDeviceGetPCIBusId(text, length, device))
    }

    initialized(driver) fn cudaDeviceCanAccessPeer(can: *mut i32, device: i32, peer: i32) {
        drive!(driver.cuDeviceCanAccessPeer(can, device, peer))
    }

    bound(driver) fn cudaDeviceEnablePeerAccess(peer: i32, flags: u32) {
        drive!(driver.cuCtxEnablePeerAccess(binding::primary(driver, peer)?, flags))
    }

    bound(driver) fn cudaDeviceGetStreamPriorityRange(least: *mut i32, greatest: *mut i32) {
        drive!(driver.cuCtxGetStreamPriorityRange(least, greatest))
    }

    bound(driver) fn cudaDeviceSynchronize() {
        drive!(driver.cuCtxSynchronize())
    }

    initialized(driver) fn cudaDeviceReset() {
        registration::forget_loaded();
        binding::reset(driver)
    }

    initialized(driver) fn cudaProfilerStart() {
        drive!(driver.cuProfilerStart())
    }

    initialized(driver) fn cudaProfilerStop() {
        drive!(driver.cuProfilerStop())
    }
}

#[unsafe(no_mangle)]
extern "C" fn cudaGetLastError() -> Status {
    take_last()
}

#[unsafe(no_mangle)]
extern "C" fn cudaPeekAtLastError() -> Status {
    last()
}

#[unsafe(no_mangle)]
extern "C" fn cudaGetErrorName(error: Status) -> *const c_char {
    describe(error).0.as_ptr()
}

#[unsafe(no_mangle)]
extern "C" fn cudaGetErrorString(error: Status) -> *const c_char {
    describe(error).1.as_ptr()
}
