//! One activity buffer of the client: filled, completed record by record, handed back.
//!
//! ```text
//!  bufferRequested ─► append … append ─► retired or flushed ─► close ─► bufferCompleted
//!                       │ (lock of its queue)      ▲
//!                       └─ complete(offset) ───────┘  (any thread, no lock)
//! ```
//!
//! Enters: memory that the client lends, records. Leaves: that memory with records packed back to back. Refuses: a
//! record that does not fit, and any write after [`Buffer::close`].

use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// Set in [`Buffer::gate`] once nobody may write any more; the bits below count writers.
const CLOSED: u32 = 1 << 31;

/// A buffer between `bufferRequested` and `bufferCompleted`.
pub(crate) struct Buffer {
    memory: NonNull<u8>,
    size: usize,
    room: usize,
    max_records: usize,
    used: AtomicUsize,
    count: AtomicUsize,
    incomplete: AtomicU32,
    gate: AtomicU32,
    retired: AtomicBool,
}

// SAFETY: the client lends the memory to this library until bufferCompleted; who writes where in it is ruled by the
// queue's lock (append), by disjoint records (complete) and by the gate (close).
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

/// What became of a record's completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Completion {
    /// The buffer has been handed out already, by a forced flush; the record left without its times.
    TooLate,
    /// Other records of the buffer still wait.
    Others,
    /// The buffer is retired and has no incomplete record left: it can be handed out.
    Ready,
    /// All its records are complete, but it is still being filled.
    Filling,
}

impl Buffer {
    /// Takes over `size` bytes at `memory`, of which `room` may be used, for at most `max_records` (0: any number).
    pub(crate) fn new(memory: NonNull<u8>, size: usize, room: usize, max_records: usize) -> Self {
        Self {
            memory,
            size,
            room: room.min(size),
            max_records: if max_records == 0 { usize::MAX } else { max_records },
            used: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
            incomplete: AtomicU32::new(0),
            gate: AtomicU32::new(0),
            retired: AtomicBool::new(false),
        }
    }

    /// Adds a record and `tail` bytes of `filler` behind it; its offset, or `None` when it does not fit.
    ///
    /// # Safety
    /// The caller holds the lock of the queue whose current buffer this is, and has not retired it.
    pub(crate) unsafe fn append(
        &self,
        record: &[u8],
        tail: usize,
        filler: u8,
        incomplete: bool,
    ) -> Option<usize> {
        let offset = self.used.load(Ordering::Relaxed);
        let count = self.count.load(Ordering::Relaxed);
        let end = offset + record.len() + tail;
        if end > self.room || count >= self.max_records {
            return None;
        }
        // SAFETY: offset..end lies in the lent memory, and nobody else writes there: records already appended end at
        // or before `offset`, and appending is serialised by the caller's lock.
        unsafe {
            let to = self.memory.add(offset);
            to.copy_from_nonoverlapping(NonNull::from(record).cast(), record.len());
            to.add(record.len()).write_bytes(filler, tail);
        }
        if incomplete {
            self.incomplete.fetch_add(1, Ordering::Relaxed);
        }
        self.count.store(count + 1, Ordering::Relaxed);
        self.used.store(end, Ordering::Release);
        Some(offset)
    }

    /// Lets `write` fill in the times of the incomplete record at `offset`, unless the buffer has been handed out.
    pub(crate) fn complete(&self, offset: usize, len: usize, write: impl FnOnce(&mut [u8])) -> Completion {
        if self.gate.fetch_add(1, Ordering::AcqRel) & CLOSED != 0 {
            self.gate.fetch_sub(1, Ordering::Release);
            return Completion::TooLate;
        }
        // SAFETY: the record was appended here and each is completed once, so the bytes are this thread's alone; the
        // gate keeps the memory lent while they are written.
        write(unsafe { core::slice::from_raw_parts_mut(self.memory.add(offset).as_ptr(), len) });
        let last = self.incomplete.fetch_sub(1, Ordering::SeqCst) == 1;
        let retired = self.retired.load(Ordering::SeqCst);
        self.gate.fetch_sub(1, Ordering::Release);
        match (last, retired) {
            (true, true) => Completion::Ready,
            (true, false) => Completion::Filling,
            (false, _) => Completion::Others,
        }
    }

    /// Says that no more records will be appended; whether it can be handed out at once.
    pub(crate) fn retire(&self) -> bool {
        self.retired.store(true, Ordering::SeqCst);
        self.is_complete()
    }

    /// Whether every record in it is complete.
    pub(crate) fn is_complete(&self) -> bool {
        self.incomplete.load(Ordering::SeqCst) == 0
    }

    /// Whether it holds no record.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Ends all writing; returns when no other thread writes any more.
    pub(crate) fn close(&self) {
        let mut gate = self.gate.fetch_or(CLOSED, Ordering::AcqRel);
        while gate & !CLOSED != 0 {
            core::hint::spin_loop();
            std::thread::yield_now();
            gate = self.gate.load(Ordering::Acquire);
        }
    }

    /// The records in it.
    ///
    /// # Safety
    /// [`Buffer::close`] has returned, and the caller alone hands this buffer out.
    #[expect(clippy::mut_from_ref, reason = "the memory is the client's; exclusive by contract after close")]
    pub(crate) unsafe fn records(&self) -> &mut [u8] {
        let used = self.used.load(Ordering::Acquire);
        // SAFETY: `used` bytes of the lent memory are initialised by append; exclusive by this function's contract.
        unsafe { core::slice::from_raw_parts_mut(self.memory.as_ptr(), used) }
    }

    /// The lent memory and its size, as `bufferRequested` gave them.
    pub(crate) fn lent(&self) -> (NonNull<u8>, usize) {
        (self.memory, self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(memory: &mut [u64], max_records: usize) -> Buffer {
        let size = memory.len() * 8;
        Buffer::new(NonNull::from(memory).cast(), size, size, max_records)
    }

    /// Appends as the only thread.
    fn append(buffer: &Buffer, record: &[u8], incomplete: bool) -> Option<usize> {
        // SAFETY: one thread, never retired before.
        unsafe { buffer.append(record, 0, 0, incomplete) }
    }

    #[test]
    fn records_are_packed_and_never_split() {
        let mut memory = [0_u64; 5];
        let buffer = buffer(&mut memory, 0);
        assert_eq!(append(&buffer, &[1; 16], false), Some(0));
        assert_eq!(append(&buffer, &[2; 16], false), Some(16));
        assert_eq!(append(&buffer, &[3; 16], false), None, "8 bytes are left");
        assert_eq!(append(&buffer, &[4; 8], false), Some(32));
        buffer.close();
        // SAFETY: closed above.
        assert_eq!(unsafe { buffer.records() }.len(), 40);
    }

    #[test]
    fn max_records_ends_a_buffer_with_room_left() {
        let mut memory = [0_u64; 8];
        let buffer = buffer(&mut memory, 2);
        assert_eq!([(); 3].map(|()| append(&buffer, &[0; 8], false)), [Some(0), Some(8), None]);
    }

    #[test]
    fn last_completion_of_a_retired_buffer_makes_it_ready() {
        let mut memory = [0_u64; 8];
        let buffer = buffer(&mut memory, 0);
        let (first, second) = (append(&buffer, &[0; 8], true), append(&buffer, &[0; 8], true));
        assert!(!buffer.retire());
        let one = |record: &mut [u8]| record.fill(1);
        assert_eq!(buffer.complete(first.unwrap(), 8, one), Completion::Others);
        assert_eq!(buffer.complete(second.unwrap(), 8, one), Completion::Ready);
        assert!(buffer.is_complete());
    }

    #[test]
    fn completion_after_close_writes_nothing() {
        let mut memory = [0_u64; 8];
        let buffer = buffer(&mut memory, 0);
        let offset = append(&buffer, &[7; 8], true).unwrap();
        buffer.close();
        assert_eq!(buffer.complete(offset, 8, |record| record.fill(1)), Completion::TooLate);
        // SAFETY: closed above.
        assert_eq!(unsafe { buffer.records() }, [7; 8]);
    }
}
