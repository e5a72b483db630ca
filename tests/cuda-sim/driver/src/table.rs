//! Handles: what a C program holds in place of a pointer to a stream, an event, a module …
//!
//! Enters: objects that live as long as the process. Leaves: opaque handles, and the object of a handle.
//! Refuses: any word that is not the handle of a live object of the right type; it is never dereferenced.
//!
//! A handle is `tag << 44 | generation << 28 | index << 4`. The generation changes when a slot is reused, so a stale
//! handle is told from a new one (until the 16 bits wrap). Look-up takes no lock.
#![allow(unsafe_code, reason = "slots hold leaked references as atomic pointers")]

use std::sync::atomic::{AtomicPtr, AtomicU16, Ordering};
use std::sync::{Mutex, OnceLock};

use crate::ffi::Handle;
use crate::sync::lock;

const CHUNKS: usize = 16;
const FIRST_CHUNK: u32 = 64;

/// All live objects of one type.
pub(crate) struct Table<T: 'static> {
    tag: u64,
    chunks: [OnceLock<Box<[Slot<T>]>>; CHUNKS],
    free: Mutex<Free>,
}

struct Slot<T> {
    generation: AtomicU16,
    value: AtomicPtr<T>,
}

struct Free {
    indices: Vec<u32>,
    next: u32,
}

impl<T: Sync> Table<T> {
    /// `tag` tells the handles of one table from those of the others; 1 to 15.
    pub(crate) const fn new(tag: u64) -> Self {
        Self {
            tag,
            chunks: [const { OnceLock::new() }; CHUNKS],
            free: Mutex::new(Free { indices: Vec::new(), next: 0 }),
        }
    }

    /// Makes a handle for `value`, or `None` when the table is full (4 million objects).
    pub(crate) fn insert(&self, value: &'static T) -> Option<Handle> {
        let mut free = lock(&self.free);
        let index = match free.indices.pop() {
            Some(index) => index,
            None => {
                free.next += 1;
                free.next - 1
            }
        };
        let (chunk, offset) = locate(index);
        let slots = self.chunks.get(chunk)?.get_or_init(|| new_chunk(chunk));
        let slot = slots.get(offset)?;
        slot.value.store(std::ptr::from_ref(value).cast_mut(), Ordering::Release);
        Some(self.handle(index, slot.generation.load(Ordering::Relaxed)))
    }

    /// The live object of this handle.
    #[inline]
    pub(crate) fn get(&self, handle: Handle) -> Option<&'static T> {
        let slot = self.slot(handle)?;
        // SAFETY: the only non-null values stored are those of `&'static T` in `insert`.
        unsafe { slot.value.load(Ordering::Acquire).as_ref() }
    }

    /// Ends the life of this handle and returns its object; of several callers one gets it.
    pub(crate) fn remove(&self, handle: Handle) -> Option<&'static T> {
        let mut free = lock(&self.free);
        let slot = self.slot(handle)?;
        slot.generation.fetch_add(1, Ordering::Release);
        let value = slot.value.swap(std::ptr::null_mut(), Ordering::AcqRel);
        free.indices.push(index_of(handle));
        // SAFETY: as in `get`.
        unsafe { value.as_ref() }
    }

    #[inline]
    fn slot(&self, handle: Handle) -> Option<&Slot<T>> {
        let word = handle.0 as u64;
        if word >> 44 != self.tag || word & 15 != 0 {
            return None;
        }
        let (chunk, offset) = locate(index_of(handle));
        let slot = self.chunks.get(chunk)?.get()?.get(offset)?;
        (u64::from(slot.generation.load(Ordering::Acquire)) == (word >> 28) & 0xffff).then_some(slot)
    }

    fn handle(&self, index: u32, generation: u16) -> Handle {
        let word = self.tag << 44 | u64::from(generation) << 28 | u64::from(index) << 4;
        Handle(word as usize)
    }
}

fn index_of(handle: Handle) -> u32 {
    (handle.0 as u64 >> 4) as u32 & 0xff_ffff
}

/// Chunk `k` holds `64 << k` slots.
#[inline]
fn locate(index: u32) -> (usize, usize) {
    let position = index + FIRST_CHUNK;
    let chunk = position.ilog2() - FIRST_CHUNK.ilog2();
    (chunk as usize, (position - (FIRST_CHUNK << chunk)) as usize)
}

fn new_chunk<T>(chunk: usize) -> Box<[Slot<T>]> {
    (0..(FIRST_CHUNK as usize) << chunk)
        .map(|_| Slot { generation: AtomicU16::new(1), value: AtomicPtr::new(std::ptr::null_mut()) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_finds_its_object_until_removed() {
        let table = Table::new(3);
        let handles: Vec<_> = (0..1000u32).map(|n| table.insert(Box::leak(Box::new(n))).unwrap()).collect();
        for (n, handle) in handles.iter().enumerate() {
            assert_eq!(table.get(*handle), Some(&(n as u32)));
        }
        assert_eq!(table.remove(handles[77]), Some(&77));
        assert_eq!(table.get(handles[77]), None);
        assert_eq!(table.remove(handles[77]), None);
        let reused = table.insert(Box::leak(Box::new(5))).unwrap();
        assert_ne!(reused, handles[77]);
        assert_eq!(table.get(reused), Some(&5));
    }

    #[test]
    fn words_that_are_no_handles_are_refused() {
        let table = Table::new(3);
        table.insert(&0u8).unwrap();
        for word in [0usize, 1, 2, 16, usize::MAX, 3 << 44, (3 << 44) + 16, (3 << 44) + 0xffff_fff0] {
            assert_eq!(table.get(Handle(word)), None, "{word:#x}");
        }
    }
}
