//! Memory that is lent to CUPTI. In: requests and completions, on any thread. Out: zeroed buffers of one size; freed
//! when dropped. Refuses: a buffer that was not lent here, such as one that another profiler left in CUPTI.

#![allow(unsafe_code, reason = "memory that C writes to")]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeSet;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

/// Size of a buffer, bytes: small, so that a recording of 100 kB holds several. NVIDIA's samples used this size.
pub(super) const BUFFER_BYTES: usize = 32 * 1024;

/// Zeroed, so that bytes which CUPTI does not write hold nothing of the program's; aligned as CUPTI demands.
const LAYOUT: Layout = match Layout::from_size_align(BUFFER_BYTES, 8) {
    Ok(layout) => layout,
    Err(_) => Layout::new::<u64>(),
};
const _: () = assert!(LAYOUT.size() == BUFFER_BYTES);

/// Addresses of the buffers that CUPTI has.
static LENT: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());

/// A buffer that CUPTI gave back.
pub(super) struct Buffer(NonNull<u8>);

/// A buffer for CUPTI; `None` without memory.
pub(super) fn lend() -> Option<NonNull<u8>> {
    // SAFETY: the layout's size is not 0.
    let memory = NonNull::new(unsafe { alloc_zeroed(LAYOUT) })?;
    LENT.lock().unwrap_or_else(PoisonError::into_inner).insert(memory.addr().get());
    Some(memory)
}

/// The buffer at this address, if CUPTI has it from here.
pub(super) fn take_back(memory: NonNull<u8>) -> Option<Buffer> {
    let lent = LENT.lock().unwrap_or_else(PoisonError::into_inner).remove(&memory.addr().get());
    lent.then(|| Buffer(memory))
}

impl Buffer {
    /// The part that CUPTI calls valid.
    pub(super) fn valid(&self, valid_bytes: usize) -> &[u8] {
        // SAFETY: the buffer is that long and initialised, it lives until the drop, and CUPTI is done with it.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr(), valid_bytes.min(BUFFER_BYTES)) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `lend` with this layout, and taken out of the set once.
        unsafe { dealloc(self.0.as_ptr(), LAYOUT) };
    }
}

#[cfg(test)]
mod tests {
    use super::{lend, take_back};
    use std::ptr::NonNull;

    #[test]
    fn a_buffer_is_taken_back_once() {
        let memory = lend().unwrap();
        let buffer = take_back(memory).unwrap();
        assert_eq!(memory.addr().get() % 8, 0);
        assert!(buffer.valid(usize::MAX).iter().all(|&byte| byte == 0));
        assert!(take_back(memory).is_none());
    }

    #[test]
    fn anothers_buffer_is_left_alone() {
        let mut foreign = [0_u64; 4];
        assert!(take_back(NonNull::from(&mut foreign).cast()).is_none());
    }
}
