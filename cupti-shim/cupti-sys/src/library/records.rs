//! In: the valid part of an activity buffer. Out: its records, one after the other, as CUPTI itself walks them.
//! Refuses: a library that leaves the buffer or goes back in it ([`CallError::Astray`]).

use super::error::CallError;
use super::{Cupti, functions::Functions};
use crate::record::Scalar;
use crate::{ActivityKind, Status};

const GET_NEXT_RECORD: &str = "cuptiActivityGetNextRecord";

/// One record in a buffer.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// What it describes, and with that which view reads it.
    pub kind: ActivityKind,
    /// Distance from the buffer's start, in bytes.
    pub offset: usize,
    /// From the record's first byte to the end of the buffer's valid part: more than the record. Cut it with
    /// [`crate::RecordSizes::cut`] before a view reads late fields from it.
    pub rest: &'a [u8],
}

/// The records of one buffer. Ends at the first error, because nobody knows where the next record would start.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    next: unsafe extern "C" fn(*mut u8, usize, *mut *mut u8) -> Status,
    valid: &'a [u8],
    /// The last record; null before the first.
    current: *mut u8,
    /// Least offset that the next record can have.
    from: usize,
    done: bool,
}

impl Cupti {
    /// Walks the records in `valid`, the part of a completed buffer that CUPTI calls valid.
    ///
    /// # Errors
    /// [`CallError::Absent`] where the library lacks `cuptiActivityGetNextRecord`.
    #[inline]
    pub fn records<'a>(&self, valid: &'a [u8]) -> Result<Records<'a>, CallError> {
        let Functions { activity_get_next_record: Some(next), .. } = self.functions else {
            return Err(CallError::Absent { function: GET_NEXT_RECORD });
        };
        Ok(Records { next, valid, current: std::ptr::null_mut(), from: 0, done: false })
    }
}

impl<'a> Records<'a> {
    #[inline]
    #[allow(unsafe_code, reason = "CUPTI's iterator is C")]
    fn advance(&mut self) -> Result<Option<Record<'a>>, CallError> {
        let mut record = self.current;
        // SAFETY: the buffer is live and as long as said, the out-pointer is ours, and CUPTI only reads the buffer.
        let status =
            unsafe { (self.next)(self.valid.as_ptr().cast_mut(), self.valid.len(), &raw mut record) };
        match status {
            Status::SUCCESS => {}
            Status::MAX_LIMIT_REACHED => return Ok(None),
            status => return Err(CallError::Failed { function: GET_NEXT_RECORD, status }),
        }
        let offset = record.addr().wrapping_sub(self.valid.as_ptr().addr());
        if offset < self.from {
            return Err(CallError::Astray);
        }
        let rest = self.valid.get(offset..).ok_or(CallError::Astray)?;
        let kind = u32::read::<0>(rest).ok_or(CallError::Astray)?;
        self.current = record;
        self.from = offset + 1;
        Ok(Some(Record { kind: ActivityKind(kind), offset, rest }))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, CallError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let step = self.advance().transpose();
        self.done = !matches!(step, Some(Ok(_)));
        step
    }
}

impl std::iter::FusedIterator for Records<'_> {}
