//! Raw device memory as slices and parameters. Enter: addresses and lengths of a launch; leave: typed views.
//! Refuses a parameter index that the launch does not have: it reads as zero, which no kernel here takes for a
//! valid shape, so a launch with too few parameters does nothing.
#![allow(
    unsafe_code,
    reason = "device memory is raw addresses; this module is the one place that reads them"
)]

use super::Launch;

/// Types a kernel parameter can have. All-zero bytes are a valid value of each.
pub(super) trait Param: Copy {
    /// The value read in place of a parameter that is not there.
    const ABSENT: Self;
}

impl Param for i32 {
    const ABSENT: Self = 0;
}
impl Param for u32 {
    const ABSENT: Self = 0;
}
impl Param for f32 {
    const ABSENT: Self = 0.0;
}
impl<T> Param for *const T {
    const ABSENT: Self = core::ptr::null();
}
impl<T> Param for *mut T {
    const ABSENT: Self = core::ptr::null_mut();
}

impl Launch<'_> {
    /// Parameter `index`.
    ///
    /// # Safety
    /// The parameter's pointer, where there is one, points to a value of type `P`.
    pub(super) unsafe fn param<P: Param>(&self, index: usize) -> P {
        match self.params.get(index) {
            // SAFETY: the caller vouches for the type; unaligned reads are allowed by the driver API.
            Some(&pointer) if !pointer.is_null() => unsafe { pointer.cast::<P>().read_unaligned() },
            _ => P::ABSENT,
        }
    }

    /// Parameter `index` as a count or stride; negative values read as zero.
    ///
    /// # Safety
    /// The parameter is an `int`.
    pub(super) unsafe fn count(&self, index: usize) -> usize {
        // SAFETY: the caller vouches for the type.
        usize::try_from(unsafe { self.param::<i32>(index) }).unwrap_or(0)
    }

    /// Blocks along `axis` (0 is x).
    pub(super) fn blocks(&self, axis: usize) -> usize {
        self.grid.get(axis).map_or(0, |&n| n as usize)
    }
}

/// `len` elements from `base + offset`.
///
/// # Safety
/// Those elements are valid for reads and nobody writes them while the slice lives.
pub(super) unsafe fn view<'a, T>(base: *const T, offset: usize, len: usize) -> &'a [T] {
    // SAFETY: vouched for by the caller.
    unsafe { core::slice::from_raw_parts(base.add(offset), len) }
}

/// `len` elements from `base + offset`, to write.
///
/// # Safety
/// Those elements are valid for reads and writes and nobody else touches them while the slice lives.
pub(super) unsafe fn view_mut<'a, T>(base: *mut T, offset: usize, len: usize) -> &'a mut [T] {
    // SAFETY: vouched for by the caller.
    unsafe { core::slice::from_raw_parts_mut(base.add(offset), len) }
}
