//! A CUPTI client: lends buffers, takes them back, walks them with `cuptiActivityGetNextRecord`.
//!
//! Enters: settings of a test. Leaves: the records of each buffer that came back. Refuses nothing: it checks what CUPTI
//! promises of every buffer.

use core::ffi::c_void;
use core::sync::atomic::{AtomicUsize, Ordering};
use cuda_sim_cupti::entry::activity::{
    cuptiActivityEnable, cuptiActivityFlushAll, cuptiActivityGetNextRecord,
    cuptiActivityGetNumDroppedRecords, cuptiActivityRegisterCallbacks,
};
use cuda_sim_cupti::status::Status;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Size of the buffers lent, bytes; 0: NULL is lent instead.
pub(crate) static BUFFER_BYTES: AtomicUsize = AtomicUsize::new(0);
/// `maxNumRecords` of the buffers lent.
pub(crate) static MAX_RECORDS: AtomicUsize = AtomicUsize::new(0);
/// Buffers lent so far.
pub(crate) static REQUESTS: AtomicUsize = AtomicUsize::new(0);

/// Memory that CUPTI has now, by address, and what came back.
static LENT: Mutex<Option<HashMap<usize, Vec<u64>>>> = Mutex::new(None);
static BACK: Mutex<Vec<Returned>> = Mutex::new(Vec::new());

/// What stands in a buffer before CUPTI writes to it.
const UNTOUCHED: u64 = 0xEEEE_EEEE_EEEE_EEEE;

/// One buffer that came back.
#[derive(Debug, Clone)]
pub(crate) struct Returned {
    /// Its valid bytes.
    pub(crate) bytes: Vec<u8>,
    /// The thread that handed it over (`gettid`).
    pub(crate) tid: i32,
    /// When.
    pub(crate) at: Instant,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Its kind.
    pub(crate) kind: u32,
    /// Its offset in the buffer.
    pub(crate) offset: usize,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
}

impl Record {
    /// The 4-byte field at that offset.
    pub(crate) fn u32(&self, offset: usize) -> u32 {
        u32::from_ne_bytes(self.bytes[offset..offset + 4].try_into().unwrap())
    }

    /// The 8-byte field at that offset.
    pub(crate) fn u64(&self, offset: usize) -> u64 {
        u64::from_ne_bytes(self.bytes[offset..offset + 8].try_into().unwrap())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `bufferRequested`
///
/// # Safety
/// The pointers are valid for writes.
pub(crate) unsafe extern "C" fn requested(buffer: *mut *mut u8, size: *mut usize, max_records: *mut usize) {
    REQUESTS.fetch_add(1, Ordering::SeqCst);
    let bytes = BUFFER_BYTES.load(Ordering::SeqCst);
    let mut memory = vec![UNTOUCHED; bytes / 8];
    let address = if bytes == 0 { core::ptr::null_mut() } else { memory.as_mut_ptr().cast::<u8>() };
    if bytes != 0 {
        lock(&LENT).get_or_insert_default().insert(address.addr(), memory);
    }
    // SAFETY: by this function's contract.
    unsafe {
        *buffer = address;
        *size = bytes;
        *max_records = MAX_RECORDS.load(Ordering::SeqCst);
    }
}

/// `bufferCompleted`
///
/// # Safety
/// `buffer` was lent.
pub(crate) unsafe extern "C" fn completed(
    context: *mut c_void,
    stream_id: u32,
    buffer: *mut u8,
    size: usize,
    valid: usize,
) {
    assert!(context.is_null() && stream_id == 0, "buffers are global");
    let memory = lock(&LENT).as_mut().and_then(|lent| lent.remove(&buffer.addr())).expect("was lent");
    assert_eq!(memory.len() * 8, size, "the size as lent");
    assert!(valid <= size);
    let bytes: Vec<u8> = memory.iter().flat_map(|word| word.to_ne_bytes()).take(valid).collect();
    // SAFETY: gettid has no preconditions.
    let tid = unsafe { libc::gettid() };
    lock(&BACK).push(Returned { bytes, tid, at: Instant::now() });
}

/// Registers with buffers of `bytes`, and enables these kinds.
pub(crate) fn listen(bytes: usize, kinds: &[u32]) {
    reset(bytes);
    assert_eq!(cuptiActivityRegisterCallbacks(Some(requested), Some(completed)), Status::SUCCESS);
    for &kind in kinds {
        assert_eq!(cuptiActivityEnable(kind), Status::SUCCESS, "kind {kind}");
    }
}

/// Forgets what came back; buffers of `bytes` from now on.
pub(crate) fn reset(bytes: usize) {
    BUFFER_BYTES.store(bytes, Ordering::SeqCst);
    MAX_RECORDS.store(0, Ordering::SeqCst);
    REQUESTS.store(0, Ordering::SeqCst);
    lock(&LENT).take();
    lock(&BACK).clear();
}

/// Flushes what is complete, and returns the records of all buffers that came back.
pub(crate) fn flushed() -> Vec<Record> {
    assert_eq!(cuptiActivityFlushAll(0), Status::SUCCESS);
    records()
}

/// Flushes everything by force, and returns the records of all buffers that came back.
pub(crate) fn forced() -> Vec<Record> {
    assert_eq!(cuptiActivityFlushAll(1), Status::SUCCESS);
    records()
}

/// The records of all buffers that came back.
pub(crate) fn records() -> Vec<Record> {
    buffers().iter().flat_map(|buffer| walk(&buffer.bytes)).collect()
}

/// Takes the buffers that came back.
pub(crate) fn buffers() -> Vec<Returned> {
    std::mem::take(&mut *lock(&BACK))
}

/// Waits up to 5 s for `count` buffers to come back, and takes them.
pub(crate) fn wait_for_buffers(count: usize) -> Vec<Returned> {
    let begun = Instant::now();
    while lock(&BACK).len() < count {
        assert!(begun.elapsed() < Duration::from_secs(5), "{} of {count} buffers", lock(&BACK).len());
        std::thread::sleep(Duration::from_millis(1));
    }
    buffers()
}

/// How many buffers came back and were not taken yet.
pub(crate) fn returned() -> usize {
    lock(&BACK).len()
}

/// Records dropped since the last call.
pub(crate) fn dropped() -> usize {
    let mut count = usize::MAX;
    // SAFETY: `count` is valid for a write.
    let status = unsafe { cuptiActivityGetNumDroppedRecords(core::ptr::null_mut(), 0, &raw mut count) };
    assert_eq!(status, Status::SUCCESS);
    count
}

/// Walks a buffer to its end, which must be reached exactly.
pub(crate) fn walk(bytes: &[u8]) -> Vec<Record> {
    let mut words: Vec<u64> =
        bytes.chunks(8).map(|word| u64::from_ne_bytes(word.try_into().expect("aligned to 8"))).collect();
    let start = words.as_mut_ptr().cast::<u8>();
    let mut record = core::ptr::null_mut();
    let mut offsets = Vec::new();
    loop {
        // SAFETY: `start` has the bytes given, and `record` is what the function returned.
        match unsafe { cuptiActivityGetNextRecord(start, bytes.len(), &raw mut record) } {
            Status::SUCCESS => offsets.push(record.addr() - start.addr()),
            Status::MAX_LIMIT_REACHED => break,
            other => panic!("{other:?} after {} records", offsets.len()),
        }
    }
    let ends = offsets.iter().skip(1).copied().chain([bytes.len()]);
    let pieces = offsets.iter().zip(ends).map(|(&offset, end)| {
        let bytes = bytes[offset..end].to_vec();
        let kind = u32::from_ne_bytes(bytes[..4].try_into().unwrap());
        Record { kind, offset, bytes }
    });
    pieces.collect()
}
