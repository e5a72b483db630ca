//! Memory, copies and memsets.
#![allow(unsafe_code, reason = "writes through the pointers that a C caller passes")]

use core::ffi::c_void;

use crate::binding;
use crate::call::{drive, exports};
use crate::driver::{Driver, Handle};
use crate::error::{Error, Outcome};
use crate::registration;

use super::device::put;
use super::own;

/// A synchronous copy; `kind` is a `cudaMemcpyKind`.
fn copy(driver: &Driver, to: u64, from: u64, bytes: usize, kind: u32) -> Outcome {
    match kind {
        1 => drive!(driver.cuMemcpyHtoD_v2(to, from, bytes)),
        2 => drive!(driver.cuMemcpyDtoH_v2(to, from, bytes)),
        3 => drive!(driver.cuMemcpyDtoD_v2(to, from, bytes)),
        0 | 4 => drive!(driver.cuMemcpy(to, from, bytes)),
        _ => Err(Error::INVALID_MEMCPY_DIRECTION),
    }
}

fn copy_async(driver: &Driver, to: u64, from: u64, bytes: usize, kind: u32, stream: Handle) -> Outcome {
    match kind {
        1 => drive!(driver.cuMemcpyHtoDAsync_v2(to, from, bytes, stream)),
        2 => drive!(driver.cuMemcpyDtoHAsync_v2(to, from, bytes, stream)),
        3 => drive!(driver.cuMemcpyDtoDAsync_v2(to, from, bytes, stream)),
        0 | 4 => drive!(driver.cuMemcpyAsync(to, from, bytes, stream)),
        _ => Err(Error::INVALID_MEMCPY_DIRECTION),
    }
}

/// The part of a registered variable that a copy means.
fn part(driver: &Driver, symbol: *const c_void, bytes: usize, offset: usize) -> Outcome<u64> {
    let (start, length) = registration::variable(driver, symbol)?;
    match offset.checked_add(bytes) {
        Some(end) if end <= length => Ok(start + offset as u64),
        _ => Err(Error::INVALID_VALUE),
    }
}

exports! {
    bound(driver) fn cudaMemGetInfo(free: *mut usize, total: *mut usize) {
        drive!(driver.cuMemGetInfo_v2(free, total))
    }

    bound(driver) fn cudaMalloc(address: *mut u64, bytes: usize) {
        if bytes == 0 {
            return put(address, 0);
        }
        drive!(driver.cuMemAlloc_v2(address, bytes))
    }

    bound(driver) fn cudaMallocManaged(address: *mut u64, bytes: usize, flags: u32) {
        drive!(driver.cuMemAllocManaged(address, bytes, flags))
    }

    bound(driver) fn cudaFree(address: u64) {
        drive!(driver.cuMemFree_v2(address))
    }

    bound(driver) fn cudaMallocHost(address: *mut *mut c_void, bytes: usize) {
        drive!(driver.cuMemHostAlloc(address, bytes, 0))
    }

    bound(driver) fn cudaHostAlloc(address: *mut *mut c_void, bytes: usize, flags: u32) {
        drive!(driver.cuMemHostAlloc(address, bytes, flags))
    }

    bound(driver) fn cudaFreeHost(address: *mut c_void) {
        drive!(driver.cuMemFreeHost(address))
    }

    bound(driver) fn cudaHostRegister(address: *mut c_void, bytes: usize, flags: u32) {
        drive!(driver.cuMemHostRegister_v2(address, bytes, flags))
    }

    bound(driver) fn cudaHostUnregister(address: *mut c_void) {
        drive!(driver.cuMemHostUnregister(address))
    }

    bound(driver) fn cudaMallocAsync(address: *mut u64, bytes: usize, stream: Handle) {
        drive!(driver.cuMemAllocAsync(address, bytes, stream))
    }

    bound(driver) fn cudaMallocAsync_ptsz(address: *mut u64, bytes: usize, stream: Handle) {
        drive!(driver.cuMemAllocAsync(address, bytes, own(stream)))
    }

    bound(driver) fn cudaFreeAsync(address: u64, stream: Handle) {
        drive!(driver.cuMemFreeAsync(address, stream))
    }

    bound(driver) fn cudaFreeAsync_ptsz(address: u64, stream: Handle) {
        drive!(driver.cuMemFreeAsync(address, own(stream)))
    }

    bound(driver) fn cudaMemcpy(to: u64, from: u64, bytes: usize, kind: u32) {
        copy(driver, to, from, bytes, kind)
    }

    bound(driver) fn cudaMemcpy_ptds(to: u64, from: u64, bytes: usize, kind: u32) {
        if kind > 4 {
            return Err(Error::INVALID_MEMCPY_DIRECTION);
        }
        drive!(driver.cuMemcpy_ptds(to, from, bytes))
    }

    bound(driver) fn cudaMemcpyAsync(to: u64, from: u64, bytes: usize, kind: u32, stream: Handle) {
        copy_async(driver, to, from, bytes, kind, stream)
    }

    bound(driver) fn cudaMemcpyAsync_ptsz(to: u64, from: u64, bytes: usize, kind: u32, stream: Handle) {
        copy_async(driver, to, from, bytes, kind, own(stream))
    }

    bound(driver) fn cudaMemcpyPeer(to: u64, to_device: i32, from: u64, from_device: i32, bytes: usize) {
        let (to_context, from_context) = (binding::primary(driver, to_device)?, binding::primary(driver, from_device)?);
        drive!(driver.cuMemcpyPeer(to, to_context, from, from_context, bytes))
    }

    bound(driver) fn cudaMemcpyPeerAsync(
        to: u64, to_device: i32, from: u64, from_device: i32, bytes: usize, stream: Handle,
    ) {
        let (to_context, from_context) = (binding::primary(driver, to_device)?, binding::primary(driver, from_device)?);
        drive!(driver.cuMemcpyPeerAsync(to, to_context, from, from_context, bytes, stream))
    }

    bound(driver) fn cudaMemcpyToSymbol(
        symbol: *const c_void, from: u64, bytes: usize, offset: usize, kind: u32,
    ) {
        let to = part(driver, symbol, bytes, offset)?;
        copy(driver, to, from, bytes, kind)
    }

    bound(driver) fn cudaMemcpyFromSymbol(
        to: u64, symbol: *const c_void, bytes: usize, offset: usize, kind: u32,
    ) {
        let from = part(driver, symbol, bytes, offset)?;
        copy(driver, to, from, bytes, kind)
    }

    bound(driver) fn cudaGetSymbolAddress(address: *mut u64, symbol: *const c_void) {
        put(address, registration::variable(driver, symbol)?.0)
    }

    bound(driver) fn cudaGetSymbolSize(bytes: *mut usize, symbol: *const c_void) {
        put(bytes, registration::variable(driver, symbol)?.1)
    }

    bound(driver) fn cudaMemset(address: u64, value: i32, bytes: usize) {
        drive!(driver.cuMemsetD8_v2(address, value as u8, bytes))
    }

    bound(driver) fn cudaMemset_ptds(address: u64, value: i32, bytes: usize) {
        drive!(driver.cuMemsetD8Async(address, value as u8, bytes, own(std::ptr::null_mut())))
    }

    bound(driver) fn cudaMemsetAsync(address: u64, value: i32, bytes: usize, stream: Handle) {
        drive!(driver.cuMemsetD8Async(address, value as u8, bytes, stream))
    }

    bound(driver) fn cudaMemsetAsync_ptsz(address: u64, value: i32, bytes: usize, stream: Handle) {
        drive!(driver.cuMemsetD8Async(address, value as u8, bytes, own(stream)))
    }

    bound(driver) fn cudaPointerGetAttributes(out: *mut Attributes, address: u64) {
        // Types: unregistered 0, host 1, device 2, managed 3. CUDA 13 has more fields after these, all 0.
        let mut attributes = Attributes { kind: 0, device: -2, device_address: 0, host_address: address };
        let mut ordinal = 0_i32;
        if drive!(driver.cuPointerGetAttribute((&raw mut ordinal).cast(), 9, address)).is_ok() {
            let (mut kind, mut is_managed) = (0_u32, 0_u8);
            drive!(driver.cuPointerGetAttribute((&raw mut kind).cast(), 2, address))?;
            drive!(driver.cuPointerGetAttribute((&raw mut is_managed).cast(), 8, address))?;
            let kind = if is_managed != 0 { 3 } else { kind };
            let host_address = if kind == 2 { 0 } else { address };
            attributes = Attributes { kind, device: ordinal, device_address: address, host_address };
        }
        put(out, attributes)
    }
}

/// `cudaPointerAttributes`, the part that CUDA 12 and 13 share.
#[repr(C)]
pub(crate) struct Attributes {
    kind: u32,
    device: i32,
    device_address: u64,
    host_address: u64,
}
