//! Interning of names: each string is stored once in the ring's names region and known by its id from then on.
//!
//! Enters: C strings, as CUPTI's records point to them. Leaves: ids (offset in the region divided by 8).
//! Refuses: to grow: a full region or table gives id 0, which the caller counts.
//!
//! The fast path is a look-up by *pointer*, because CUPTI hands out the same pointer for the same kernel; it is
//! confirmed by `strncmp` against the stored copy, because a module that was unloaded may leave its address to
//! another name.
#![allow(unsafe_code, reason = "C strings given by CUPTI")]

use core::ffi::{CStr, c_char};

use crate::layout::MAX_NAME_BYTES;

/// Slots of the pointer table; a power of two.
const POINTERS: usize = 4096;
/// Linear probes before a look-up gives up and takes the slow path.
const PROBES: usize = 8;

/// Table from pointers and strings to ids. Memory: 64 KiB, plus about 20 bytes a name.
#[derive(Debug)]
pub(crate) struct Names {
    by_pointer: Box<[Entry]>,
    /// Ids of all names by the hash of their text: the slow path.
    by_hash: std::collections::HashMap<u64, u32>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    pointer: usize,
    id: u32,
}

/// The names region of a ring, as its writer sees it.
pub(crate) trait Region {
    /// The stored, NUL-terminated bytes of `id`.
    fn stored(&self, id: u32) -> Option<*const c_char>;
    /// Appends a name; `None` when it does not fit.
    fn append(&mut self, name: &[u8]) -> Option<u32>;
}

impl Names {
    pub(crate) fn new() -> Self {
        Self {
            by_pointer: vec![Entry::default(); POINTERS].into_boxed_slice(),
            by_hash: std::collections::HashMap::new(),
        }
    }

    /// The id of the string at `name`, stored now if it is new; 0 if it is null or cannot be stored.
    ///
    /// # Safety
    /// `name` is null or points to a NUL-terminated string that stays valid during the call.
    #[inline]
    pub(crate) unsafe fn intern(&mut self, name: *const c_char, region: &mut impl Region) -> u32 {
        if name.is_null() {
            return 0;
        }
        let start = bucket(name as usize);
        for step in 0..PROBES {
            let Some(entry) = self.by_pointer.get((start + step) & (POINTERS - 1)) else { break };
            if entry.pointer == name as usize {
                if let Some(stored) = region.stored(entry.id)
                    // SAFETY: both are NUL-terminated: one by contract, one because `append` ends it so.
                    && unsafe { strncmp(stored, name, MAX_NAME_BYTES) } == 0
                {
                    return entry.id;
                }
                break;
            }
            if entry.pointer == 0 {
                break;
            }
        }
        // SAFETY: as this function's own contract.
        let text = unsafe { CStr::from_ptr(name) };
        let id = self.intern_text(text.to_bytes(), region);
        if id != 0 {
            self.remember(name as usize, id);
        }
        id
    }

    /// The id of `text`, stored now if it is new; 0 if it cannot be stored.
    pub(crate) fn intern_text(&mut self, text: &[u8], region: &mut impl Region) -> u32 {
        let text = cut(text);
        let mut key = hash(text);
        while let Some(&id) = self.by_hash.get(&key) {
            let same = region.stored(id).is_some_and(|stored| {
                // SAFETY: `stored` is NUL-terminated, because `append` ends it so.
                unsafe { CStr::from_ptr(stored) }.to_bytes() == text
            });
            if same {
                return id;
            }
            key = key.wrapping_add(1);
        }
        match region.append(text) {
            Some(id) => {
                self.by_hash.insert(key, id);
                id
            }
            None => 0,
        }
    }

    fn remember(&mut self, pointer: usize, id: u32) {
        let start = bucket(pointer);
        for step in 0..PROBES {
            let Some(entry) = self.by_pointer.get_mut((start + step) & (POINTERS - 1)) else { return };
            if entry.pointer == 0 || entry.pointer == pointer {
                *entry = Entry { pointer, id };
                return;
            }
        }
        if let Some(entry) = self.by_pointer.get_mut(start) {
            *entry = Entry { pointer, id };
        }
    }
}

fn bucket(pointer: usize) -> usize {
    ((pointer as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 52) as usize & (POINTERS - 1)
}

/// FNV-1a: names are short and come rarely; no keyed hash is needed, since a collision costs one comparison.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

/// Cuts a name at its first NUL, and to the longest the format allows, at a character boundary.
fn cut(text: &[u8]) -> &[u8] {
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    let mut end = text.len().min(MAX_NAME_BYTES);
    while end < text.len() && end > 0 && text.get(end).is_some_and(|byte| byte & 0xC0 == 0x80) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

unsafe extern "C" {
    fn strncmp(left: *const c_char, right: *const c_char, bytes: usize) -> i32;
}
