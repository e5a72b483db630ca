//! Memsets, linear and of planes, of 1, 2 and 4 bytes.

use crate::call::exports;
use crate::copy::Set;
use crate::error::Outcome;
use crate::ffi::{DevicePtr, Handle};
use crate::stream::{Stream, resolve};

fn set(
    (address, pitch): (u64, usize),
    pattern: (u32, u64),
    size: (usize, usize),
    stream: Outcome<&'static Stream>,
    is_async: bool,
) -> Outcome {
    let stream = stream?;
    if size.0 == 0 || size.1 == 0 {
        return Ok(());
    }
    Set::new(address, pitch as u64, pattern, size, is_async)?.submit(stream)
}

fn default() -> Outcome<&'static Stream> {
    resolve(Handle::NULL, false)
}

exports! {
    ready fn cuMemsetD8_v2(address: DevicePtr, value: u8, count: usize) {
        set((address, 0), (value.into(), 1), (count, 1), default(), false)
    }

    ready fn cuMemsetD16_v2(address: DevicePtr, value: u16, count: usize) {
        set((address, 0), (value.into(), 2), (count, 1), default(), false)
    }

    ready fn cuMemsetD32_v2(address: DevicePtr, value: u32, count: usize) {
        set((address, 0), (value, 4), (count, 1), default(), false)
    }

    ready fn cuMemsetD8Async(address: DevicePtr, value: u8, count: usize, stream: Handle) {
        set((address, 0), (value.into(), 1), (count, 1), resolve(stream, false), true)
    }

    ready fn cuMemsetD16Async(address: DevicePtr, value: u16, count: usize, stream: Handle) {
        set((address, 0), (value.into(), 2), (count, 1), resolve(stream, false), true)
    }

    ready fn cuMemsetD32Async(address: DevicePtr, value: u32, count: usize, stream: Handle) {
        set((address, 0), (value, 4), (count, 1), resolve(stream, false), true)
    }

    ready fn cuMemsetD8Async_ptsz(address: DevicePtr, value: u8, count: usize, stream: Handle) {
        set((address, 0), (value.into(), 1), (count, 1), resolve(stream, true), true)
    }

    ready fn cuMemsetD16Async_ptsz(address: DevicePtr, value: u16, count: usize, stream: Handle) {
        set((address, 0), (value.into(), 2), (count, 1), resolve(stream, true), true)
    }

    ready fn cuMemsetD32Async_ptsz(address: DevicePtr, value: u32, count: usize, stream: Handle) {
        set((address, 0), (value, 4), (count, 1), resolve(stream, true), true)
    }

    ready fn cuMemsetD2D8_v2(address: DevicePtr, pitch: usize, value: u8, width: usize, height: usize) {
        set((address, pitch), (value.into(), 1), (width, height), default(), false)
    }

    ready fn cuMemsetD2D8Async(
        address: DevicePtr, pitch: usize, value: u8, width: usize, height: usize, stream: Handle,
    ) {
        set((address, pitch), (value.into(), 1), (width, height), resolve(stream, false), true)
    }
}
