//! Memory that is allocated at once: device, pinned, managed, registered; and what a pointer is.

use std::sync::Arc;

use cuda_sim_abi::{activity, wanted};

use crate::call::exports;
use crate::clock::now_ns;
use crate::context::{self, CONTEXTS, Context};
use crate::error::{Error, Outcome};
use crate::ffi::{DevicePtr, Handle, In, Out};
use crate::memory::{self, Block, Kind};
use crate::stream::{Stream, resolve};
use crate::work::report;

/// `CUPTI_ACTIVITY_MEMORY_OPERATION_TYPE_ALLOCATION` and `_RELEASE`.
const ALLOCATION: u32 = 1;
const RELEASE: u32 = 2;

/// Flags of `cuMemHostAlloc` and `cuMemHostRegister` that exist.
const HOST_FLAGS: u32 = 0xf;

fn report_operation(stream: &'static Stream, block: &Block, operation: u32, is_async: bool) {
    report(stream, wanted::MEMORY, |record| {
        record.kind = activity::MEMORY;
        record.operation = operation;
        record.address = block.start;
        record.bytes = block.bytes;
        record.source_kind = block.kind as u32;
        record.is_async = u32::from(is_async);
        record.start_ns = now_ns();
        record.end_ns = record.start_ns;
    });
}

/// Allocates and reports it; `stream` says where, for stream-ordered allocations.
pub(super) fn allocate(
    context: &'static Context,
    bytes: usize,
    kind: Kind,
    flags: u32,
    stream: Option<&'static Stream>,
) -> Outcome<u64> {
    let block = memory::allocate(context, bytes, kind, flags)?;
    let is_async = stream.is_some();
    report_operation(stream.unwrap_or(context.default_stream()), &block, ALLOCATION, is_async);
    Ok(block.start)
}

/// Takes memory out of the table and reports it; its bytes go with the returned block.
pub(super) fn release(
    context: &'static Context,
    start: u64,
    kinds: &[Kind],
    stream: Option<&'static Stream>,
) -> Outcome<Arc<Block>> {
    let block = memory::remove(start, kinds)?;
    let is_async = stream.is_some();
    report_operation(stream.unwrap_or(context.default_stream()), &block, RELEASE, is_async);
    Ok(block)
}

/// Waits for the work of a block's context before the block goes, as `cuMemFree` does.
fn free(start: u64, kinds: &[Kind]) -> Outcome {
    let context = context::current()?;
    let owner = memory::find(start).map(|block| block.context_id);
    for other in context::live().into_iter().filter(|other| Some(other.id) == owner) {
        other.drain();
    }
    release(context, start, kinds, None).map(drop)
}

fn allocate_host(address: &Out<u64>, bytes: usize, flags: u32) -> Outcome {
    address.check()?;
    if flags & !HOST_FLAGS != 0 {
        return Err(Error::INVALID_VALUE);
    }
    address.put(allocate(context::current()?, bytes, Kind::Pinned, flags, None)?)
}

exports! {
    ready fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) {
        let (free_bytes, total_bytes) = memory::info()?;
        free.put_if_asked(free_bytes);
        total.put_if_asked(total_bytes);
        Ok(())
    }

    ready fn cuMemAlloc_v2(address: Out<DevicePtr>, bytes: usize) {
        address.check()?;
        address.put(allocate(context::current()?, bytes, Kind::Device, 0, None)?)
    }

    ready fn cuMemAllocPitch_v2(
        address: Out<DevicePtr>, pitch: Out<usize>, width: usize, height: usize, element_bytes: u32,
    ) {
        address.check()?;
        if !matches!(element_bytes, 4 | 8 | 16) {
            return Err(Error::INVALID_VALUE);
        }
        let row = width.checked_next_multiple_of(512).ok_or(Error::INVALID_VALUE)?;
        pitch.put(row)?;
        let bytes = row.checked_mul(height).ok_or(Error::INVALID_VALUE)?;
        address.put(allocate(context::current()?, bytes, Kind::Device, 0, None)?)
    }

    ready fn cuMemAllocManaged(address: Out<DevicePtr>, bytes: usize, flags: u32) {
        address.check()?;
        if !matches!(flags, 1 | 2) {
            return Err(Error::INVALID_VALUE);
        }
        address.put(allocate(context::current()?, bytes, Kind::Managed, flags, None)?)
    }

    ready fn cuMemFree_v2(address: DevicePtr) {
        if address == 0 { Ok(()) } else { free(address, &[Kind::Device, Kind::Managed]) }
    }

    ready fn cuMemAllocHost_v2(address: Out<u64>, bytes: usize) {
        allocate_host(&address, bytes, 0)
    }

    ready fn cuMemHostAlloc(address: Out<u64>, bytes: usize, flags: u32) {
        allocate_host(&address, bytes, flags)
    }

    ready fn cuMemFreeHost(address: u64) {
        if address == 0 { Ok(()) } else { free(address, &[Kind::Pinned]) }
    }

    ready fn cuMemHostGetDevicePointer_v2(device: Out<DevicePtr>, host: u64, flags: u32) {
        device.check()?;
        let known = memory::find(host).is_some_and(|block| block.is_host());
        if !known || flags != 0 {
            return Err(Error::INVALID_VALUE);
        }
        device.put(host)
    }

    ready fn cuMemHostGetFlags(flags: Out<u32>, host: u64) {
        let block = memory::find(host).filter(|block| block.is_host()).ok_or(Error::INVALID_VALUE)?;
        flags.put(block.flags)
    }

    ready fn cuMemHostRegister_v2(host: u64, bytes: usize, flags: u32) {
        if flags & !HOST_FLAGS != 0 {
            return Err(Error::INVALID_VALUE);
        }
        memory::register(context::current()?, host, bytes as u64, flags)
    }

    ready fn cuMemHostUnregister(host: u64) {
        context::current()?.drain();
        memory::unregister(host)
    }

    ready fn cuMemGetAddressRange_v2(start: Out<DevicePtr>, bytes: Out<usize>, address: DevicePtr) {
        let block = memory::find(address).ok_or(Error::NOT_FOUND)?;
        start.put_if_asked(block.start);
        bytes.put_if_asked(block.bytes as usize);
        Ok(())
    }

    ready fn cuPointerGetAttribute(value: Out<u8>, attribute: u32, address: DevicePtr) {
        put_attribute(&value, attribute, memory::find(address).as_deref(), address)
    }

    ready fn cuPointerGetAttributes(
        count: u32, attributes: In<u32>, values: In<usize>, address: DevicePtr,
    ) {
        let block = memory::find(address);
        let values = values.many(count as usize)?;
        for (attribute, value) in attributes.many(count as usize)?.into_iter().zip(values) {
            match put_attribute(&Out::at(value), attribute, block.as_deref(), address) {
                Err(error) if block.is_some() => return Err(error),
                // Of a pointer that is not known, all attributes are 0.
                _ => {}
            }
        }
        Ok(())
    }

    ready fn cuMemAdvise(_address: DevicePtr, _bytes: usize, _advice: u32, _device: i32) {
        context::current().map(|_| ())
    }

    ready fn cuMemAdvise_v2(_address: DevicePtr, _bytes: usize, _advice: u32, _location: u64) {
        context::current().map(|_| ())
    }

    ready fn cuMemPrefetchAsync(_address: DevicePtr, _bytes: usize, _device: i32, stream: Handle) {
        resolve(stream, false).map(|_| ())
    }

    ready fn cuMemPrefetchAsync_v2(
        _address: DevicePtr, _bytes: usize, _location: u64, _flags: u32, stream: Handle,
    ) {
        resolve(stream, false).map(|_| ())
    }

    ready fn cuStreamAttachMemAsync(stream: Handle, _address: DevicePtr, _bytes: usize, _flags: u32) {
        resolve(stream, false).map(|_| ())
    }
}

/// Writes one `CUpointer_attribute`: numbers and types of `cuda.h`.
fn put_attribute(value: &Out<u8>, attribute: u32, block: Option<&Block>, address: u64) -> Outcome {
    value.check()?;
    let block = block.ok_or(Error::INVALID_VALUE)?;
    match attribute {
        1 => {
            let handle = context::live().into_iter().find(|context| context.id == block.context_id);
            value.cast::<Handle>().put(handle.map_or(Handle::NULL, Context::handle))
        }
        // CU_MEMORYTYPE_HOST 1, CU_MEMORYTYPE_DEVICE 2.
        2 => value.cast::<u32>().put(if block.is_host() { 1 } else { 2 }),
        3 | 4 => value.cast::<u64>().put(address),
        6 => value.cast::<u32>().put(0),
        7 => value.cast::<u64>().put(block.start),
        8 => value.cast::<u8>().put(u8::from(block.kind == Kind::Managed)),
        9 => value.cast::<i32>().put(block.device.ordinal as i32),
        10 => value.cast::<u8>().put(0),
        11 => value.cast::<u64>().put(block.start),
        12 => value.cast::<usize>().put(block.bytes as usize),
        13 => value.cast::<u8>().put(1),
        14 => value.cast::<u32>().put(0),
        17 => value.cast::<Handle>().put(Handle::NULL),
        _ => Err(Error::INVALID_VALUE),
    }
}

/// Whether a handle names a live context: for functions that take one and need no more.
pub(super) fn check_context(handle: Handle) -> Outcome<&'static Context> {
    CONTEXTS.get(handle).ok_or(Error::INVALID_CONTEXT)
}
