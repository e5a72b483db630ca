//! Memory: device, pinned, managed and registered. Enters: allocation and free. Leaves: which block an address lies
//! in. Refuses: more than the device has (`OUT_OF_MEMORY`), ranges that no block holds (`INVALID_VALUE`).
//!
//! Device memory is host memory, so that kernels can be computed by the CPU and a `CUdeviceptr` is an address. A
//! block lives on while enqueued work holds it, so freeing under running work does not bring the process down.
#![allow(unsafe_code, reason = "allocates and frees raw memory")]

use std::alloc::{Layout, alloc, dealloc};
use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use crate::context::{self, Context};
use crate::device::{self, Device};
use crate::error::{Error, Outcome};
use crate::sync::{read, write};

/// Alignment of device memory, bytes.
const ALIGNMENT: usize = 512;

/// Where memory lies; values of `CUpti_ActivityMemoryKind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    /// Ordinary host memory that CUDA knows nothing of.
    Pageable = 1,
    /// Host memory allocated or registered through CUDA.
    Pinned = 2,
    /// Memory of a device.
    Device = 3,
    /// Managed memory.
    Managed = 5,
}

/// One allocation.
pub(crate) struct Block {
    /// First address.
    pub(crate) start: u64,
    /// Length, bytes.
    pub(crate) bytes: u64,
    /// Where it lies.
    pub(crate) kind: Kind,
    /// Context that it belongs to.
    pub(crate) context_id: u32,
    /// Device of that context.
    pub(crate) device: &'static Device,
    /// `cuMemHostAlloc` or `cuMemHostRegister` flags.
    pub(crate) flags: u32,
    owned: Option<Layout>,
}

/// All blocks by first address.
static BLOCKS: RwLock<BTreeMap<u64, Arc<Block>>> = RwLock::new(BTreeMap::new());

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(layout) = self.owned {
            // SAFETY: allocated in `allocate` with this layout, and nobody holds the block any more.
            unsafe { dealloc(std::ptr::with_exposed_provenance_mut(self.start as usize), layout) }
        }
        if self.counts() {
            self.device.give(self.bytes);
        }
    }
}

impl Block {
    /// Whether it takes memory of the device.
    fn counts(&self) -> bool {
        matches!(self.kind, Kind::Device | Kind::Managed)
    }

    /// Whether the block holds the whole range.
    pub(crate) fn holds(&self, start: u64, bytes: u64) -> bool {
        start >= self.start && start.checked_add(bytes).is_some_and(|end| end <= self.start + self.bytes)
    }

    /// Sets all its bytes to 0, before anybody else knows the block.
    pub(crate) fn zero(&self) {
        let start: *mut u8 = std::ptr::with_exposed_provenance_mut(self.start as usize);
        // SAFETY: the block's own memory, which nobody uses yet.
        unsafe { start.write_bytes(0, self.bytes as usize) };
    }

    /// Whether its address means the same to host and device.
    pub(crate) fn is_host(&self) -> bool {
        self.kind == Kind::Pinned
    }
}

/// Allocates `bytes` for `context`.
pub(crate) fn allocate(context: &Context, bytes: usize, kind: Kind, flags: u32) -> Outcome<Arc<Block>> {
    if bytes == 0 {
        return Err(Error::INVALID_VALUE);
    }
    let alignment = if kind == Kind::Pinned { 4096 } else { ALIGNMENT };
    let layout = match Layout::from_size_align(bytes, alignment) {
        Ok(layout) => layout,
        Err(_too_large) => return Err(Error::OUT_OF_MEMORY),
    };
    let counts = matches!(kind, Kind::Device | Kind::Managed);
    if counts {
        context.device.take(bytes as u64)?;
    }
    // SAFETY: `bytes` is not 0.
    let memory = unsafe { alloc(layout) };
    if memory.is_null() {
        if counts {
            context.device.give(bytes as u64);
        }
        return Err(Error::OUT_OF_MEMORY);
    }
    let block = Arc::new(Block {
        start: memory.expose_provenance() as u64,
        bytes: bytes as u64,
        kind,
        context_id: context.id,
        device: context.device,
        flags,
        owned: Some(layout),
    });
    write(&BLOCKS).insert(block.start, Arc::clone(&block));
    Ok(block)
}

/// Makes host memory of the caller known as pinned.
pub(crate) fn register(context: &Context, start: u64, bytes: u64, flags: u32) -> Outcome {
    if start == 0 || bytes == 0 || start.checked_add(bytes).is_none() {
        return Err(Error::INVALID_VALUE);
    }
    let mut blocks = write(&BLOCKS);
    let before = blocks.range(..start + bytes).next_back();
    if before.is_some_and(|(_, block)| block.start + block.bytes > start) {
        return Err(Error::HOST_MEMORY_ALREADY_REGISTERED);
    }
    let (context_id, device) = (context.id, context.device);
    let block = Block { start, bytes, kind: Kind::Pinned, context_id, device, flags, owned: None };
    blocks.insert(start, Arc::new(block));
    Ok(())
}

/// Ends a registration made with [`register`].
pub(crate) fn unregister(start: u64) -> Outcome {
    let mut blocks = write(&BLOCKS);
    match blocks.get(&start) {
        Some(block) if block.owned.is_none() => {
            blocks.remove(&start);
            Ok(())
        }
        _ => Err(Error::HOST_MEMORY_NOT_REGISTERED),
    }
}

/// Takes the block that begins at `start` out of the table, if its kind is one of `kinds`. Its memory goes with the
/// last holder.
pub(crate) fn remove(start: u64, kinds: &[Kind]) -> Outcome<Arc<Block>> {
    let mut blocks = write(&BLOCKS);
    match blocks.get(&start) {
        Some(block) if kinds.contains(&block.kind) && block.owned.is_some() => {}
        _ => return Err(Error::INVALID_VALUE),
    }
    blocks.remove(&start).ok_or(Error::INVALID_VALUE)
}

/// The block that holds `address`.
pub(crate) fn find(address: u64) -> Option<Arc<Block>> {
    let blocks = read(&BLOCKS);
    let (_, block) = blocks.range(..=address).next_back()?;
    block.holds(address, 1).then(|| Arc::clone(block))
}

/// The block that holds the whole range; `INVALID_VALUE` when none does.
pub(crate) fn find_range(start: u64, bytes: u64) -> Outcome<Arc<Block>> {
    find(start).filter(|block| block.holds(start, bytes)).ok_or(Error::INVALID_VALUE)
}

/// Takes all blocks of a destroyed context out of the table.
pub(crate) fn free_all_of(context_id: u32) {
    write(&BLOCKS).retain(|_, block| block.context_id != context_id);
}

/// Free and total bytes of the current device.
pub(crate) fn info() -> Outcome<(usize, usize)> {
    let device = context::current()?.device;
    let used = device.used_bytes.load(std::sync::atomic::Ordering::Relaxed);
    Ok(((device.memory_bytes - used) as usize, device.memory_bytes as usize))
}

/// Whether an address of kernel parameters can be used: it lies in a block, or is too small to be an address.
pub(crate) fn plausible(word: u64) -> bool {
    word < 1 << 32 || find(word).is_some() || device::all().is_empty()
}
