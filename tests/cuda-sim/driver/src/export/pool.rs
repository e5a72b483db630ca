//! Memory pools and stream-ordered allocation. A pool is a handle with a threshold; memory comes from the device.

use core::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::call::exports;
use crate::device::{self, by_ordinal};
use crate::error::{Error, Outcome};
use crate::ffi::{DevicePtr, Handle, In, Out};
use crate::memory::Kind;
use crate::stream::{Stream, resolve};
use crate::table::Table;
use crate::work::Work;

use super::memory;

static POOLS: Table<Pool> = Table::new(9);

/// One pool.
pub(crate) struct Pool {
    ordinal: u32,
    /// `CUmemPool_attribute` values, from 1.
    attributes: [AtomicU64; 9],
}

/// `CUmemPoolProps`, CUDA 12.9, up to the location.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Properties {
    allocation: i32,
    handles: i32,
    location: i32,
    ordinal: i32,
}

fn new_pool(ordinal: u32) -> Outcome<Handle> {
    let attributes = [0, 1, 1, 1, 0, 0, 0, 0, 0].map(AtomicU64::new);
    POOLS.insert(Box::leak(Box::new(Pool { ordinal, attributes }))).ok_or(Error::OUT_OF_MEMORY)
}

/// The default pool of a device, made when first asked for.
fn default_pool(ordinal: i32) -> Outcome<Handle> {
    static DEFAULT: std::sync::Mutex<Vec<(u32, Handle)>> = std::sync::Mutex::new(Vec::new());
    let ordinal = by_ordinal(ordinal)?.ordinal;
    let mut pools = crate::sync::lock(&DEFAULT);
    if let Some((_, pool)) = pools.iter().find(|(of, _)| *of == ordinal) {
        return Ok(*pool);
    }
    let pool = new_pool(ordinal)?;
    pools.push((ordinal, pool));
    Ok(pool)
}

fn find(pool: Handle) -> Outcome<&'static Pool> {
    POOLS.get(pool).ok_or(Error::INVALID_VALUE)
}

fn allocate(address: &Out<DevicePtr>, bytes: usize, stream: &'static Stream) -> Outcome {
    address.check()?;
    address.put(memory::allocate(stream.context, bytes, Kind::Device, 0, Some(stream))?)
}

fn free(address: DevicePtr, stream: &'static Stream) -> Outcome {
    if address == 0 {
        return Ok(());
    }
    let block = memory::release(stream.context, address, &[Kind::Device, Kind::Managed], Some(stream))?;
    stream.submit(Work::Free(block))
}

exports! {
    ready fn cuMemAllocAsync(address: Out<DevicePtr>, bytes: usize, stream: Handle) {
        allocate(&address, bytes, resolve(stream, false)?)
    }

    ready fn cuMemAllocAsync_ptsz(address: Out<DevicePtr>, bytes: usize, stream: Handle) {
        allocate(&address, bytes, resolve(stream, true)?)
    }

    ready fn cuMemFreeAsync(address: DevicePtr, stream: Handle) {
        free(address, resolve(stream, false)?)
    }

    ready fn cuMemFreeAsync_ptsz(address: DevicePtr, stream: Handle) {
        free(address, resolve(stream, true)?)
    }

    ready fn cuMemAllocFromPoolAsync(address: Out<DevicePtr>, bytes: usize, pool: Handle, stream: Handle) {
        find(pool)?;
        allocate(&address, bytes, resolve(stream, false)?)
    }

    ready fn cuMemAllocFromPoolAsync_ptsz(
        address: Out<DevicePtr>, bytes: usize, pool: Handle, stream: Handle,
    ) {
        find(pool)?;
        allocate(&address, bytes, resolve(stream, true)?)
    }

    ready fn cuDeviceGetDefaultMemPool(pool: Out<Handle>, device: i32) {
        pool.put(default_pool(device)?)
    }

    ready fn cuDeviceGetMemPool(pool: Out<Handle>, device: i32) {
        pool.put(default_pool(device)?)
    }

    ready fn cuDeviceSetMemPool(device: i32, pool: Handle) {
        let device = by_ordinal(device)?;
        if find(pool)?.ordinal == device.ordinal { Ok(()) } else { Err(Error::INVALID_VALUE) }
    }

    ready fn cuMemPoolCreate(pool: Out<Handle>, properties: In<Properties>) {
        pool.check()?;
        let properties = properties.get()?;
        // Pinned memory on a device is all that there is: CU_MEM_ALLOCATION_TYPE_PINNED, CU_MEM_LOCATION_TYPE_DEVICE.
        if (properties.allocation, properties.handles, properties.location) != (1, 0, 1) {
            return Err(Error::NOT_SUPPORTED);
        }
        pool.put(new_pool(by_ordinal(properties.ordinal)?.ordinal)?)
    }

    ready fn cuMemPoolDestroy(pool: Handle) {
        let is_default = device::all().iter().any(|device| default_pool(device.ordinal as i32) == Ok(pool));
        if is_default {
            return Err(Error::INVALID_VALUE);
        }
        POOLS.remove(pool).map(|_| ()).ok_or(Error::INVALID_VALUE)
    }

    ready fn cuMemPoolSetAttribute(pool: Handle, attribute: u32, value: In<u8>) {
        let pool = find(pool)?;
        let slot = pool.attributes.get(attribute as usize).filter(|_| attribute > 0).ok_or(Error::INVALID_VALUE)?;
        // Reuse switches (1 to 3) are int, the others cuuint64_t.
        let value = if attribute <= 3 { u64::from(value.cast::<u32>().get()?) } else { value.cast().get()? };
        slot.store(value, Ordering::Relaxed);
        Ok(())
    }

    ready fn cuMemPoolGetAttribute(pool: Handle, attribute: u32, value: Out<u8>) {
        let pool = find(pool)?;
        let slot = pool.attributes.get(attribute as usize).filter(|_| attribute > 0).ok_or(Error::INVALID_VALUE)?;
        let used = by_ordinal(pool.ordinal as i32)?.used_bytes.load(Ordering::Relaxed);
        match attribute {
            1..=3 => value.cast::<u32>().put(slot.load(Ordering::Relaxed) as u32),
            // Reserved and used memory are what the device has given out.
            5..=8 => value.cast::<u64>().put(used),
            _ => value.cast::<u64>().put(slot.load(Ordering::Relaxed)),
        }
    }

    ready fn cuMemPoolTrimTo(pool: Handle, _least_bytes: usize) {
        find(pool).map(|_| ())
    }

    ready fn cuMemPoolSetAccess(pool: Handle, _accesses: *const c_void, _count: usize) {
        find(pool).map(|_| ())
    }

    ready fn cuMemPoolGetAccess(flags: Out<u32>, pool: Handle, _location: *const c_void) {
        find(pool)?;
        // CU_MEM_ACCESS_FLAGS_PROT_READWRITE.
        flags.put(3)
    }
}
