//! Copies. Synchronous ones run in the default stream and are waited for; `_ptds` and `_ptsz` forms mean the
//! per-thread default stream.

use crate::call::exports;
use crate::context;
use crate::copy::{Copy, Extent, Place, check_peer};
use crate::error::{Error, Outcome};
use crate::ffi::{DevicePtr, Handle, In};
use crate::stream::{Stream, resolve};

use super::memory::check_context;

/// Which ends must be memory that CUDA knows.
#[derive(Clone, Copy)]
enum Ends {
    HostToDevice,
    DeviceToHost,
    DeviceToDevice,
    Any,
}

fn copy(
    to: u64,
    from: u64,
    bytes: usize,
    ends: Ends,
    stream: Outcome<&'static Stream>,
    is_async: bool,
) -> Outcome {
    let stream = stream?;
    if bytes == 0 {
        return Ok(());
    }
    let extent = Extent::linear(bytes as u64);
    let host = |address| Place::host(address, 0, extent);
    let device = |address| Place::device(address, 0, extent);
    let (from, to) = match ends {
        Ends::HostToDevice => (host(from)?, device(to)?),
        Ends::DeviceToHost => (device(from)?, host(to)?),
        Ends::DeviceToDevice => (device(from)?, device(to)?),
        Ends::Any => (host(from)?, host(to)?),
    };
    Copy::new(from, to, extent, is_async).submit(stream)
}

fn copy_peer(
    (to, to_context): (u64, Handle),
    (from, from_context): (u64, Handle),
    bytes: usize,
    stream: Outcome<&'static Stream>,
    is_async: bool,
) -> Outcome {
    let stream = stream?;
    let extent = Extent::linear(bytes as u64);
    let (from, to) = (Place::device(from, 0, extent)?, Place::device(to, 0, extent)?);
    check_peer(&from, check_context(from_context)?)?;
    check_peer(&to, check_context(to_context)?)?;
    Copy::new(from, to, extent, is_async).submit(stream)
}

/// `CUDA_MEMCPY2D`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Plane {
    from_x_bytes: usize,
    from_y: usize,
    from_type: u32,
    from_host: u64,
    from_device: u64,
    from_array: u64,
    from_pitch: usize,
    to_x_bytes: usize,
    to_y: usize,
    to_type: u32,
    to_host: u64,
    to_device: u64,
    to_array: u64,
    to_pitch: usize,
    width_bytes: usize,
    height: usize,
}

fn copy_plane(plane: In<Plane>, stream: Outcome<&'static Stream>, is_async: bool) -> Outcome {
    let (plane, stream) = (plane.get()?, stream?);
    let extent = Extent { width: plane.width_bytes as u64, rows: plane.height as u64 };
    // CU_MEMORYTYPE_HOST 1, DEVICE 2, UNIFIED 4; arrays (3) are not simulated.
    let place = |kind: u32, host: u64, device: u64, pitch: usize, x: usize, y: usize| {
        if pitch < x.saturating_add(plane.width_bytes) && plane.height > 1 {
            return Err(Error::INVALID_VALUE);
        }
        let skipped =
            y.checked_mul(pitch).and_then(|rows| rows.checked_add(x)).ok_or(Error::INVALID_VALUE)? as u64;
        match kind {
            1 => Place::host(host.wrapping_add(skipped), pitch as u64, extent),
            2 => Place::device(device.wrapping_add(skipped), pitch as u64, extent),
            4 => Place::host(device.wrapping_add(skipped), pitch as u64, extent),
            _ => Err(Error::NOT_SUPPORTED),
        }
    };
    let from = place(
        plane.from_type,
        plane.from_host,
        plane.from_device,
        plane.from_pitch,
        plane.from_x_bytes,
        plane.from_y,
    )?;
    let to =
        place(plane.to_type, plane.to_host, plane.to_device, plane.to_pitch, plane.to_x_bytes, plane.to_y)?;
    Copy::new(from, to, extent, is_async).submit(stream)
}

/// The default stream, legacy or of this thread.
fn default(own: bool) -> Outcome<&'static Stream> {
    resolve(Handle::NULL, own)
}

exports! {
    ready fn cuMemcpy(to: DevicePtr, from: DevicePtr, bytes: usize) {
        copy(to, from, bytes, Ends::Any, default(false), false)
    }

    ready fn cuMemcpy_ptds(to: DevicePtr, from: DevicePtr, bytes: usize) {
        copy(to, from, bytes, Ends::Any, default(true), false)
    }

    ready fn cuMemcpyAsync(to: DevicePtr, from: DevicePtr, bytes: usize, stream: Handle) {
        copy(to, from, bytes, Ends::Any, resolve(stream, false), true)
    }

    ready fn cuMemcpyAsync_ptsz(to: DevicePtr, from: DevicePtr, bytes: usize, stream: Handle) {
        copy(to, from, bytes, Ends::Any, resolve(stream, true), true)
    }

    ready fn cuMemcpyHtoD_v2(to: DevicePtr, from: u64, bytes: usize) {
        copy(to, from, bytes, Ends::HostToDevice, default(false), false)
    }

    ready fn cuMemcpyHtoD_v2_ptds(to: DevicePtr, from: u64, bytes: usize) {
        copy(to, from, bytes, Ends::HostToDevice, default(true), false)
    }

    ready fn cuMemcpyHtoDAsync_v2(to: DevicePtr, from: u64, bytes: usize, stream: Handle) {
        copy(to, from, bytes, Ends::HostToDevice, resolve(stream, false), true)
    }

    ready fn cuMemcpyHtoDAsync_v2_ptsz(to: DevicePtr, from: u64, bytes: usize, stream: Handle) {
        copy(to, from, bytes, Ends::HostToDevice, resolve(stream, true), true)
    }

    ready fn cuMemcpyDtoH_v2(to: u64, from: DevicePtr, bytes: usize) {
        copy(to, from, bytes, Ends::DeviceToHost, default(false), false)
    }

    ready fn cuMemcpyDtoH_v2_ptds(to: u64, from: DevicePtr, bytes: usize) {
        copy(to, from, bytes, Ends::DeviceToHost, default(true), false)
    }

    ready fn cuMemcpyDtoHAsync_v2(to: u64, from: DevicePtr, bytes: usize, stream: Handle) {
        copy(to, from, bytes, Ends::DeviceToHost, resolve(stream, false), true)
    }

    ready fn cuMemcpyDtoHAsync_v2_ptsz(to: u64, from: DevicePtr, bytes: usize, stream: Handle) {
        copy(to, from, bytes, Ends::DeviceToHost, resolve(stream, true), true)
    }

    ready fn cuMemcpyDtoD_v2(to: DevicePtr, from: DevicePtr, bytes: usize) {
        copy(to, from, bytes, Ends::DeviceToDevice, default(false), false)
    }

    ready fn cuMemcpyDtoD_v2_ptds(to: DevicePtr, from: DevicePtr, bytes: usize) {
        copy(to, from, bytes, Ends::DeviceToDevice, default(true), false)
    }

    ready fn cuMemcpyDtoDAsync_v2(to: DevicePtr, from: DevicePtr, bytes: usize, stream: Handle) {
        copy(to, from, bytes, Ends::DeviceToDevice, resolve(stream, false), true)
    }

    ready fn cuMemcpyDtoDAsync_v2_ptsz(to: DevicePtr, from: DevicePtr, bytes: usize, stream: Handle) {
        copy(to, from, bytes, Ends::DeviceToDevice, resolve(stream, true), true)
    }

    ready fn cuMemcpyPeer(
        to: DevicePtr, to_context: Handle, from: DevicePtr, from_context: Handle, bytes: usize,
    ) {
        context::current()?;
        copy_peer((to, to_context), (from, from_context), bytes, default(false), false)
    }

    ready fn cuMemcpyPeerAsync(
        to: DevicePtr, to_context: Handle, from: DevicePtr, from_context: Handle, bytes: usize, stream: Handle,
    ) {
        copy_peer((to, to_context), (from, from_context), bytes, resolve(stream, false), true)
    }

    ready fn cuMemcpy2D_v2(plane: In<Plane>) {
        copy_plane(plane, default(false), false)
    }

    ready fn cuMemcpy2DUnaligned_v2(plane: In<Plane>) {
        copy_plane(plane, default(false), false)
    }

    ready fn cuMemcpy2DAsync_v2(plane: In<Plane>, stream: Handle) {
        copy_plane(plane, resolve(stream, false), true)
    }
}
