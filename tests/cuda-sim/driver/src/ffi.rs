//! The arguments of C calls. Enters: raw pointers of a C program. Leaves: values read, values written.
//! Refuses: NULL where the function needs a pointer (`CUDA_ERROR_INVALID_VALUE`).
//!
//! The types are `repr(transparent)`, stand in the signatures of the exported functions, and are made by nothing
//! else: a C caller that passes a pointer vouches, as for the real driver, that it points to what the prototype says.
#![allow(unsafe_code, reason = "reads and writes through the pointers that a C caller passes")]

use core::ffi::{CStr, c_char, c_void};

use crate::error::{Error, Outcome};

/// An opaque handle (`CUstream`, `CUevent`, `CUmodule` …): a word that is never dereferenced.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Handle(pub(crate) usize);

impl Handle {
    /// NULL.
    pub(crate) const NULL: Self = Self(0);

    /// As a C program holds it.
    pub(crate) fn pointer(self) -> *mut c_void {
        std::ptr::without_provenance_mut(self.0)
    }
}

/// `CUdeviceptr`.
pub(crate) type DevicePtr = u64;

/// A pointer that the function writes one `T` through.
#[repr(transparent)]
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// Writes `value`; NULL is `INVALID_VALUE`.
    pub(crate) fn put(&self, value: T) -> Outcome {
        self.check()?;
        self.put_if_asked(value);
        Ok(())
    }

    /// Writes `value` unless the pointer is NULL, for results that the caller may leave out.
    pub(crate) fn put_if_asked(&self, value: T) {
        if !self.0.is_null() {
            // SAFETY: not NULL, so by the module's contract valid for one write of `T`.
            unsafe { self.0.write_unaligned(value) }
        }
    }

    /// Refuses NULL before any work is done.
    pub(crate) fn check(&self) -> Outcome {
        if self.0.is_null() { Err(Error::INVALID_VALUE) } else { Ok(()) }
    }

    /// The same pointer, for functions whose result has a type that an argument chooses.
    pub(crate) fn cast<U>(&self) -> Out<U> {
        Out(self.0.cast())
    }

    /// The pointer that a C caller passes inside an array.
    pub(crate) fn at(address: usize) -> Self {
        Self(std::ptr::with_exposed_provenance_mut(address))
    }
}

impl<T: Copy> Out<T> {
    /// Reads what the caller left there, for arguments that are read and written.
    pub(crate) fn get(&self) -> Outcome<T> {
        In(self.0.cast_const()).get()
    }

    /// Writes up to `room` values; NULL is `INVALID_VALUE`.
    pub(crate) fn put_all(&self, values: &[T], room: usize) -> Outcome {
        self.check()?;
        // SAFETY: not NULL, and the C prototype says that there is room for `room` elements.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.0, values.len().min(room)) }
        Ok(())
    }
}

/// A pointer that the function reads one or more `T` through.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct In<T>(*const T);

impl<T> In<T> {
    /// The same pointer, for functions whose argument has a type that another argument chooses.
    pub(crate) fn cast<U>(self) -> In<U> {
        In(self.0.cast())
    }
}

impl<T: Copy> In<T> {
    /// Reads one; NULL is `INVALID_VALUE`.
    pub(crate) fn get(self) -> Outcome<T> {
        if self.0.is_null() {
            return Err(Error::INVALID_VALUE);
        }
        // SAFETY: not NULL, so by the module's contract valid for one read of `T`.
        Ok(unsafe { self.0.read_unaligned() })
    }

    /// Reads `count`; NULL is allowed when `count` is 0.
    pub(crate) fn many(self, count: usize) -> Outcome<Vec<T>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        if self.0.is_null() {
            return Err(Error::INVALID_VALUE);
        }
        // SAFETY: not NULL, and the C prototype says that `count` elements stand there.
        Ok((0..count).map(|n| unsafe { self.0.add(n).read_unaligned() }).collect())
    }
}

/// A NUL-terminated string that the function reads.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Text(*const c_char);

impl Text {
    /// The string; NULL is `INVALID_VALUE`.
    pub(crate) fn get(&self) -> Outcome<&CStr> {
        if self.0.is_null() {
            return Err(Error::INVALID_VALUE);
        }
        // SAFETY: not NULL, so by the module's contract NUL-terminated and unchanged during the call.
        Ok(unsafe { CStr::from_ptr(self.0) })
    }
}

/// Writes `text` and a NUL into a buffer of `room` bytes, cut where it does not fit.
pub(crate) fn put_text(out: &Out<c_char>, room: i32, text: &str) -> Outcome {
    let room = usize::try_from(room).ok().filter(|room| *room > 0).ok_or(Error::INVALID_VALUE)?;
    let mut bytes: Vec<c_char> = text.bytes().take(room - 1).map(|byte| byte as c_char).collect();
    bytes.push(0);
    out.put_all(&bytes, room)
}
