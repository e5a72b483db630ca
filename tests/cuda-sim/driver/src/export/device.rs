//! Devices and their primary contexts.

use core::ffi::c_char;

use crate::call::exports;
use crate::context;
use crate::device::{self, by_ordinal};
use crate::error::Error;
use crate::ffi::{Handle, Out, Text, put_text};
use std::sync::atomic::Ordering;

exports! {
    ready fn cuDeviceGet(device: Out<i32>, ordinal: i32) {
        by_ordinal(ordinal)?;
        device.put(ordinal)
    }

    ready fn cuDeviceGetCount(count: Out<i32>) {
        count.put(device::all().len() as i32)
    }

    ready fn cuDeviceGetName(name: Out<c_char>, length: i32, device: i32) {
        put_text(&name, length, &by_ordinal(device)?.name.to_string_lossy())
    }

    ready fn cuDeviceGetUuid(uuid: Out<[u8; 16]>, device: i32) {
        uuid.put(by_ordinal(device)?.uuid)
    }

    ready fn cuDeviceGetUuid_v2(uuid: Out<[u8; 16]>, device: i32) {
        uuid.put(by_ordinal(device)?.uuid)
    }

    ready fn cuDeviceTotalMem_v2(bytes: Out<usize>, device: i32) {
        bytes.put(by_ordinal(device)?.memory_bytes as usize)
    }

    ready fn cuDeviceGetAttribute(value: Out<i32>, attribute: i32, device: i32) {
        value.put(by_ordinal(device)?.attribute(attribute)?)
    }

    ready fn cuDeviceComputeCapability(major: Out<i32>, minor: Out<i32>, device: i32) {
        let info = by_ordinal(device)?.describe();
        major.put(info.compute_major as i32)?;
        minor.put(info.compute_minor as i32)
    }

    ready fn cuDeviceGetPCIBusId(text: Out<c_char>, length: i32, device: i32) {
        put_text(&text, length, &by_ordinal(device)?.pci_bus_id())
    }

    ready fn cuDeviceGetByPCIBusId(device: Out<i32>, text: Text) {
        let wanted = text.get()?.to_string_lossy().to_uppercase();
        let found = device::all().iter().find(|device| device.pci_bus_id().ends_with(&wanted) && !wanted.is_empty());
        device.put(found.ok_or(Error::INVALID_DEVICE)?.ordinal as i32)
    }

    ready fn cuDeviceCanAccessPeer(can: Out<i32>, device: i32, peer: i32) {
        let (device, peer) = (by_ordinal(device)?, by_ordinal(peer)?);
        can.put(i32::from(device.ordinal != peer.ordinal))
    }

    ready fn cuDeviceGetP2PAttribute(value: Out<i32>, attribute: i32, device: i32, peer: i32) {
        if by_ordinal(device)?.ordinal == by_ordinal(peer)?.ordinal {
            return Err(Error::INVALID_DEVICE);
        }
        // Performance rank 0; access supported; no native atomics; array access supported.
        match attribute {
            1 | 3 => value.put(0),
            2 | 4 => value.put(1),
            _ => Err(Error::INVALID_VALUE),
        }
    }

    ready fn cuDevicePrimaryCtxRetain(context: Out<Handle>, device: i32) {
        context.check()?;
        let device = by_ordinal(device)?;
        context.put(device.primary.retain(device)?.handle())
    }

    ready fn cuDevicePrimaryCtxRelease_v2(device: i32) {
        by_ordinal(device)?.primary.release()
    }

    ready fn cuDevicePrimaryCtxReset_v2(device: i32) {
        by_ordinal(device)?.primary.reset()
    }

    ready fn cuDevicePrimaryCtxSetFlags_v2(device: i32, flags: u32) {
        by_ordinal(device)?.primary.flags.store(flags, Ordering::Relaxed);
        Ok(())
    }

    ready fn cuDevicePrimaryCtxGetState(device: i32, flags: Out<u32>, active: Out<i32>) {
        let primary = &by_ordinal(device)?.primary;
        flags.put(primary.flags.load(Ordering::Relaxed))?;
        active.put(i32::from(primary.active().is_some()))
    }

    ready fn cuCtxGetDevice(device: Out<i32>) {
        device.put(context::current()?.device.ordinal as i32)
    }
}
