//! `CUpti_ActivityAttribute` and the other switches of a session.
//!
//! Enters: values set by the client. Leaves: the same values, and the two that change what is collected: buffers per
//! thread and the thread id type. Refuses: unknown attributes, values of another size, the semaphore pool attributes,
//! which CUPTI dropped in 12.3.
//!
//! The sizes of device buffers are kept and given back; the simulated device has no profiling buffers of its own.

use crate::locks::hold;
use crate::status::Status;
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;

/// `CUPTI_ACTIVITY_ATTR_PER_THREAD_ACTIVITY_BUFFER`, since 12.3.
const PER_THREAD_BUFFER: u32 = 9;

/// Attribute, size of its value in bytes, default (headers of 12.0 to 12.9).
const KNOWN: [(u32, usize, u64); 7] = [
    (0, 8, 3_200_000),
    (1, 8, 8_388_608),
    (2, 8, 250),
    (5, 1, 0),
    (6, 8, 3),
    (8, 1, 0),
    (PER_THREAD_BUFFER, 1, 0),
];

/// `CUPTI_ACTIVITY_THREAD_ID_TYPE_SIZE`: types are below this.
const THREAD_ID_TYPES: u32 = 2;
/// `CUPTI_ACTIVITY_THREAD_ID_TYPE_SYSTEM`: gettid.
const THREAD_ID_SYSTEM: u32 = 1;

/// Attributes of a session.
pub(crate) struct Attributes {
    values: Mutex<[(u32, usize, u64); KNOWN.len()]>,
    per_thread: AtomicBool,
    per_thread_default: bool,
    system_thread_ids: AtomicBool,
}

impl Attributes {
    pub(crate) fn new(buffers_per_thread: bool) -> Self {
        let attributes = Self {
            values: Mutex::new(KNOWN),
            per_thread: AtomicBool::new(buffers_per_thread),
            per_thread_default: buffers_per_thread,
            system_thread_ids: AtomicBool::new(false),
        };
        attributes.reset();
        attributes
    }

    /// Everything as it was before the client set anything.
    pub(crate) fn reset(&self) {
        let mut values = hold(&self.values);
        *values = KNOWN;
        for (attribute, _, value) in values.iter_mut() {
            if *attribute == PER_THREAD_BUFFER {
                *value = u64::from(self.per_thread_default);
            }
        }
        self.per_thread.store(self.per_thread_default, Ordering::Relaxed);
        self.system_thread_ids.store(false, Ordering::Relaxed);
    }

    /// Whether each thread fills its own buffer.
    #[inline]
    pub(crate) fn buffers_per_thread(&self) -> bool {
        self.per_thread.load(Ordering::Relaxed)
    }

    /// Whether records carry `gettid` instead of `pthread_self`.
    #[inline]
    pub(crate) fn system_thread_ids(&self) -> bool {
        self.system_thread_ids.load(Ordering::Relaxed)
    }

    /// The type that `cuptiGetThreadIdType` answers.
    pub(crate) fn thread_id_type(&self) -> u32 {
        if self.system_thread_ids() { THREAD_ID_SYSTEM } else { 0 }
    }

    /// `cuptiSetThreadIdType`.
    pub(crate) fn set_thread_id_type(&self, id_type: u32) -> Status {
        if id_type >= THREAD_ID_TYPES {
            return Status::NOT_SUPPORTED;
        }
        self.system_thread_ids.store(id_type == THREAD_ID_SYSTEM, Ordering::Relaxed);
        Status::SUCCESS
    }

    /// Copies the value into `to`; the bytes written.
    pub(crate) fn get(&self, attribute: u32, to: &mut [u8]) -> Result<usize, Status> {
        let values = hold(&self.values);
        let found = values.iter().find(|(known, _, _)| *known == attribute);
        let (_, size, value) = found.ok_or(refusal(attribute))?;
        let bytes = value.to_le_bytes();
        let to = to.get_mut(..*size).ok_or(Status::PARAMETER_SIZE_NOT_SUFFICIENT)?;
        to.copy_from_slice(bytes.get(..*size).unwrap_or_default());
        Ok(*size)
    }

    /// Takes the value from `from`.
    pub(crate) fn set(&self, attribute: u32, from: &[u8]) -> Status {
        let mut values = hold(&self.values);
        let Some((_, size, value)) = values.iter_mut().find(|(known, _, _)| *known == attribute) else {
            return refusal(attribute);
        };
        let Some(from) = from.get(..*size) else { return Status::PARAMETER_SIZE_NOT_SUFFICIENT };
        *value = from.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
        if attribute == PER_THREAD_BUFFER {
            self.per_thread.store(*value != 0, Ordering::Relaxed);
        }
        Status::SUCCESS
    }
}

fn refusal(attribute: u32) -> Status {
    if matches!(attribute, 3 | 4 | 7) { Status::NOT_SUPPORTED } else { Status::INVALID_PARAMETER }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_set_and_sizes_are_checked() {
        let attributes = Attributes::new(false);
        let mut value = [0; 8];
        assert_eq!(attributes.get(0, &mut value), Ok(8));
        assert_eq!(u64::from_le_bytes(value), 3_200_000);
        assert_eq!(attributes.set(0, &64_u64.to_le_bytes()), Status::SUCCESS);
        assert_eq!(attributes.get(0, &mut value), Ok(8));
        assert_eq!(u64::from_le_bytes(value), 64);
        assert_eq!(attributes.set(0, &[0; 4]), Status::PARAMETER_SIZE_NOT_SUFFICIENT);
        assert_eq!(attributes.get(99, &mut value), Err(Status::INVALID_PARAMETER));
        assert_eq!(attributes.get(3, &mut value), Err(Status::NOT_SUPPORTED));
    }

    #[test]
    fn per_thread_buffers_follow_the_attribute() {
        let attributes = Attributes::new(true);
        assert!(attributes.buffers_per_thread());
        assert_eq!(attributes.set(PER_THREAD_BUFFER, &[0]), Status::SUCCESS);
        assert!(!attributes.buffers_per_thread());
    }
}
