//! Device memory and pinned host memory. Enter: lengths in elements; leave: owned buffers, checked views of them,
//! and the copies between them. Refuses ranges past a buffer's end.
//!
//! A pinned buffer belongs to one stream, copies only on it, and waits for it before the host sees its bytes: no
//! reference to memory that the device may be writing can be had.
#![allow(unsafe_code, reason = "device and pinned memory are raw addresses; this module owns them")]

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use cudarc::driver::{DriverError, result, sys};

use super::error::LaunchError;
use super::runtime::{Context, Stream};
use crate::element::Plain;
use crate::tally;

/// Device memory for `len` elements.
#[derive(Debug)]
pub struct DeviceBuffer<T> {
    pointer: sys::CUdeviceptr,
    len: usize,
    context: Arc<Context>,
    element: PhantomData<T>,
}

impl<T: Plain> DeviceBuffer<T> {
    /// Allocates `len` elements; what they hold is undefined until written.
    ///
    /// # Errors
    /// What the driver returned.
    pub fn new(context: &Arc<Context>, len: usize) -> Result<Self, LaunchError> {
        context.bind()?;
        let bytes = len.max(1) * size_of::<T>();
        // SAFETY: the memory is not read before it is written: kernels and copies fill it first, and any bytes are
        // a value of a `Plain` type.
        let pointer = unsafe { result::malloc_sync(bytes) }.map_err(LaunchError::driver("cuMemAlloc_v2"))?;
        tally::note(|tally| tally.allocations.add(1, bytes as u64));
        Ok(Self { pointer, len, context: Arc::clone(context), element: PhantomData })
    }

    /// All of it.
    #[must_use]
    pub fn view(&self) -> View<'_, T> {
        View { pointer: self.pointer, len: self.len, buffer: PhantomData }
    }

    /// Copies `values` to its beginning and waits.
    ///
    /// # Errors
    /// [`LaunchError::Shape`] where they are too many, or what the driver returned.
    pub fn write(&self, values: &[T]) -> Result<(), LaunchError> {
        let target = self.view().slice(0, values.len(), "DeviceBuffer::write")?;
        // SAFETY: the target holds that many elements; the call returns when the source has been read.
        unsafe { result::memcpy_htod_sync(target.pointer, values) }
            .map_err(LaunchError::driver("cuMemcpyHtoD_v2"))?;
        tally::note(|tally| tally.htod.add(1, size_of_val(values) as u64));
        Ok(())
    }

    /// Waits for the context, then copies everything to the host.
    ///
    /// # Errors
    /// What the driver returned.
    pub fn read(&self) -> Result<Vec<T>, LaunchError> {
        self.context.synchronize()?;
        let mut values = vec![T::new_zeroed(); self.len];
        // SAFETY: both hold `len` elements, and nothing is in flight.
        unsafe { result::memcpy_dtoh_sync(&mut values, self.pointer) }
            .map_err(LaunchError::driver("cuMemcpyDtoH_v2"))?;
        tally::note(|tally| tally.dtoh.add(1, size_of_val(values.as_slice()) as u64));
        Ok(values)
    }

    /// Enqueues setting every byte to `value`.
    ///
    /// # Errors
    /// What the driver returned.
    pub fn fill(&self, value: u8, stream: &Stream) -> Result<(), LaunchError> {
        let bytes = self.len * size_of::<T>();
        // SAFETY: the buffer holds that many bytes; it is freed only after its context has settled.
        unsafe { result::memset_d8_async(self.pointer, value, bytes, stream.raw()) }
            .map_err(LaunchError::driver("cuMemsetD8Async"))?;
        tally::note(|tally| tally.memsets.add(1, bytes as u64));
        Ok(())
    }
}

impl<T> Drop for DeviceBuffer<T> {
    fn drop(&mut self) {
        // Work that uses the memory may be in flight; a context that cannot settle any more is lost anyway.
        let _: Result<(), LaunchError> = self.context.synchronize();
        // SAFETY: allocated in `new`, freed once, and nothing uses it any more.
        if unsafe { result::free_sync(self.pointer) }.is_ok() {
            tally::note(|tally| tally.frees += 1);
        }
    }
}

/// Some elements of a device buffer.
#[derive(Debug)]
pub struct View<'a, T> {
    pointer: sys::CUdeviceptr,
    len: usize,
    buffer: PhantomData<&'a T>,
}

impl<T> Clone for View<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for View<'_, T> {}

impl<T: Plain> View<'_, T> {
    /// `len` elements from `offset` on; `what` names the operation in the error.
    ///
    /// # Errors
    /// [`LaunchError::Shape`] past the end.
    pub fn slice(self, offset: usize, len: usize, what: &'static str) -> Result<Self, LaunchError> {
        let needed = offset.saturating_add(len);
        if needed > self.len {
            return Err(LaunchError::Shape { what, needed, available: self.len });
        }
        let pointer = self.pointer + (offset * size_of::<T>()) as u64;
        Ok(Self { pointer, len, buffer: PhantomData })
    }

    /// Enqueues a copy of all of it to the first elements of `target`, within the device.
    ///
    /// # Errors
    /// [`LaunchError::Shape`] where the target is shorter, or what the driver returned.
    pub fn copy_to(self, target: View<'_, T>, stream: &Stream) -> Result<(), LaunchError> {
        let target = target.slice(0, self.len, "View::copy_to")?;
        let bytes = self.len * size_of::<T>();
        // SAFETY: both hold that many bytes, and are freed only after their context has settled.
        unsafe { result::memcpy_dtod_async(target.pointer, self.pointer, bytes, stream.raw()) }
            .map_err(LaunchError::driver("cuMemcpyDtoDAsync_v2"))?;
        tally::note(|tally| tally.dtod.add(1, bytes as u64));
        Ok(())
    }

    /// Its device address.
    #[must_use]
    pub fn address(self) -> sys::CUdeviceptr {
        self.pointer
    }

    /// Elements in it.
    #[must_use]
    pub fn len(self) -> usize {
        self.len
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// Page-locked host memory for copies on one stream.
#[derive(Debug)]
pub struct PinnedBuffer<T> {
    pointer: *mut T,
    len: usize,
    stream: Rc<Stream>,
}

impl<T: Plain> PinnedBuffer<T> {
    /// Allocates `len` zeroed elements.
    ///
    /// # Errors
    /// What the driver returned.
    pub fn new(stream: &Rc<Stream>, len: usize) -> Result<Self, LaunchError> {
        stream.context().bind()?;
        let bytes = len.max(1) * size_of::<T>();
        // SAFETY: the memory is written below before anything reads it.
        let pointer = unsafe { result::malloc_host(bytes, 0) }
            .map_err(LaunchError::driver("cuMemHostAlloc"))?
            .cast::<T>();
        // SAFETY: the allocation has that many bytes, and zero is a value of a `Plain` type.
        unsafe { pointer.cast::<u8>().write_bytes(0, bytes) };
        tally::note(|tally| tally.pinned_allocations.add(1, bytes as u64));
        Ok(Self { pointer, len, stream: Rc::clone(stream) })
    }

    /// Its elements, once the stream has settled.
    ///
    /// # Errors
    /// What the driver returned.
    pub fn get(&self) -> Result<&[T], LaunchError> {
        self.stream.settle()?;
        // SAFETY: `len` initialised elements; the device does not write them, because the stream has settled and
        // a copy into this buffer needs `&mut self`.
        Ok(unsafe { std::slice::from_raw_parts(self.pointer, self.len) })
    }

    /// Its elements to write, once the stream has settled.
    ///
    /// # Errors
    /// What the driver returned.
    pub fn get_mut(&mut self) -> Result<&mut [T], LaunchError> {
        self.stream.settle()?;
        // SAFETY: as `get`; and a copy out of this buffer cannot be enqueued while the slice is borrowed.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.pointer, self.len) })
    }

    /// Enqueues a copy of its elements from `offset` on to all of `target`.
    ///
    /// # Errors
    /// [`LaunchError::Shape`] where the target is longer, or what the driver returned.
    pub fn upload(&self, offset: usize, target: View<'_, T>) -> Result<(), LaunchError> {
        let (source, bytes) = self.range(offset, target, "PinnedBuffer::upload")?;
        // SAFETY: both hold that many bytes; this buffer settles the stream before it is written or freed, and a
        // device buffer its context before it is freed.
        unsafe { sys::cuMemcpyHtoDAsync_v2(target.pointer, source.cast(), bytes, self.stream.raw()) }
            .result()
            .map_err(LaunchError::driver("cuMemcpyHtoDAsync_v2"))?;
        self.stream.mark_busy();
        tally::note(|tally| tally.htod.add(1, bytes as u64));
        Ok(())
    }

    /// Enqueues a copy of all of `source` to its elements from `offset` on.
    ///
    /// # Errors
    /// [`LaunchError::Shape`] where the source is longer, or what the driver returned.
    pub fn download(&mut self, offset: usize, source: View<'_, T>) -> Result<(), LaunchError> {
        let (target, bytes) = self.range(offset, source, "PinnedBuffer::download")?;
        // SAFETY: as `upload`, with the directions exchanged.
        unsafe { sys::cuMemcpyDtoHAsync_v2(target.cast(), source.pointer, bytes, self.stream.raw()) }
            .result()
            .map_err(LaunchError::driver("cuMemcpyDtoHAsync_v2"))?;
        self.stream.mark_busy();
        tally::note(|tally| tally.dtoh.add(1, bytes as u64));
        Ok(())
    }

    /// The stream its copies run on.
    #[must_use]
    pub fn stream(&self) -> &Rc<Stream> {
        &self.stream
    }

    fn range(
        &self,
        offset: usize,
        other: View<'_, T>,
        what: &'static str,
    ) -> Result<(*mut T, usize), LaunchError> {
        let needed = offset.saturating_add(other.len);
        if needed > self.len {
            return Err(LaunchError::Shape { what, needed, available: self.len });
        }
        // SAFETY: the offset is within the allocation.
        Ok((unsafe { self.pointer.add(offset) }, other.len * size_of::<T>()))
    }
}

impl<T> Drop for PinnedBuffer<T> {
    fn drop(&mut self) {
        let _: Result<(), LaunchError> = self.stream.synchronize();
        // SAFETY: allocated in `new`, freed once, and the stream that uses it has settled.
        let freed: Result<(), DriverError> = unsafe { result::free_host(self.pointer.cast()) };
        if freed.is_ok() {
            tally::note(|tally| tally.pinned_frees += 1);
        }
    }
}
