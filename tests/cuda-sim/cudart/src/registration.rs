//! What nvcc's start-up code registers. Enters: images, kernels and variables, by the addresses of their host
//! shadows. Leaves: functions and device addresses. Refuses: host addresses that nothing was registered for.
#![allow(unsafe_code, reason = "reads NVIDIA's image wrapper and C strings of the program")]

use core::ffi::{CStr, c_char, c_void};
use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::call::drive;
use crate::driver::{Driver, Handle};
use crate::error::{Error, Outcome};

/// Magic of `__fatBinC_Wrapper_t` (`fatbinary_section.h`, CUDA 12.9).
const WRAPPER_MAGIC: u32 = 0x4662_43b1;

/// Everything registered, by address.
#[derive(Default)]
struct Registered {
    images: Vec<Image>,
    kernels: HashMap<usize, Symbol>,
    variables: HashMap<usize, (Symbol, usize)>,
    functions: HashMap<usize, usize>,
    addresses: HashMap<usize, (u64, usize)>,
}

/// One fat binary; the position + 1 is the handle given out.
struct Image {
    data: usize,
    module: Option<usize>,
}

/// A name in an image.
#[derive(Clone)]
struct Symbol {
    image: usize,
    name: CString,
}

fn registered() -> MutexGuard<'static, Option<Registered>> {
    static REGISTERED: Mutex<Option<Registered>> = Mutex::new(None);
    REGISTERED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Remembers an image, loaded when first used; returns its handle.
///
/// # Safety
/// `wrapper` is NULL, or points to a fat binary wrapper that stays while it is registered.
pub(crate) unsafe fn add_image(wrapper: *const c_void) -> usize {
    let mut data = wrapper;
    if !wrapper.is_null() {
        // SAFETY: the wrapper begins with its magic, a version, and at byte 8 the address of the image.
        unsafe {
            if wrapper.cast::<u32>().read_unaligned() == WRAPPER_MAGIC {
                data = wrapper.byte_add(8).cast::<*const c_void>().read_unaligned();
            }
        }
    }
    let mut all = registered();
    let all = all.get_or_insert_default();
    all.images.push(Image { data: data.expose_provenance(), module: None });
    all.images.len()
}

/// Forgets an image; its kernels can no longer be launched. Returns the module that was loaded from it.
pub(crate) fn remove_image(handle: usize) -> Option<Handle> {
    let mut all = registered();
    let all = all.get_or_insert_default();
    let gone: Vec<usize> = all.kernels.iter().filter(|(_, k)| k.image == handle).map(|(a, _)| *a).collect();
    for address in gone {
        all.kernels.remove(&address);
        all.functions.remove(&address);
    }
    let image = handle.checked_sub(1).and_then(|index| all.images.get_mut(index))?;
    image.module.take().map(std::ptr::with_exposed_provenance_mut)
}

/// Remembers the kernel that the host function at `address` stands for.
///
/// # Safety
/// `name` is NULL or NUL-terminated.
pub(crate) unsafe fn add_kernel(image: usize, address: *const c_void, name: *const c_char) {
    // SAFETY: by this function's contract.
    if let Some(symbol) = unsafe { symbol(image, name) } {
        registered().get_or_insert_default().kernels.insert(address.addr(), symbol);
    }
}

/// Remembers the device variable that the host variable at `address` stands for.
///
/// # Safety
/// As [`add_kernel`].
pub(crate) unsafe fn add_variable(image: usize, address: *const c_void, name: *const c_char, bytes: usize) {
    // SAFETY: by this function's contract.
    if let Some(symbol) = unsafe { symbol(image, name) } {
        registered().get_or_insert_default().variables.insert(address.addr(), (symbol, bytes));
    }
}

unsafe fn symbol(image: usize, name: *const c_char) -> Option<Symbol> {
    if name.is_null() {
        return None;
    }
    // SAFETY: not NULL, so by the callers' contract NUL-terminated.
    Some(Symbol { image, name: unsafe { CStr::from_ptr(name) }.to_owned() })
}

/// The driver's function for the host function at `address`.
pub(crate) fn function(driver: &Driver, address: *const c_void) -> Outcome<Handle> {
    let mut all = registered();
    let all = all.get_or_insert_default();
    if let Some(function) = all.functions.get(&address.addr()) {
        return Ok(std::ptr::with_exposed_provenance_mut(*function));
    }
    let symbol = all.kernels.get(&address.addr()).cloned().ok_or(Error::INVALID_DEVICE_FUNCTION)?;
    let module = all.module(driver, symbol.image)?;
    let mut function = std::ptr::null_mut();
    drive!(driver.cuModuleGetFunction(&raw mut function, module, symbol.name.as_ptr()))
        .or(Err(Error::INVALID_DEVICE_FUNCTION))?;
    all.functions.insert(address.addr(), function.expose_provenance());
    Ok(function)
}

/// Device address and size of the variable that the host variable at `address` stands for.
pub(crate) fn variable(driver: &Driver, address: *const c_void) -> Outcome<(u64, usize)> {
    let mut all = registered();
    let all = all.get_or_insert_default();
    if let Some(found) = all.addresses.get(&address.addr()) {
        return Ok(*found);
    }
    let (symbol, bytes) = all.variables.get(&address.addr()).cloned().ok_or(Error::INVALID_SYMBOL)?;
    let module = all.module(driver, symbol.image)?;
    let (mut start, mut length) = (0, 0);
    let found =
        drive!(driver.cuModuleGetGlobal_v2(&raw mut start, &raw mut length, module, symbol.name.as_ptr()));
    if found.is_err() {
        // A binary image tells no variables: it gets memory of the registered size.
        drive!(driver.cuMemAlloc_v2(&raw mut start, bytes))?;
        length = bytes;
    }
    all.addresses.insert(address.addr(), (start, length));
    Ok((start, length))
}

/// Forgets what belonged to the contexts of a reset device.
pub(crate) fn forget_loaded() {
    let mut all = registered();
    let all = all.get_or_insert_default();
    all.functions.clear();
    all.addresses.clear();
    all.images.iter_mut().for_each(|image| image.module = None);
}

impl Registered {
    fn module(&mut self, driver: &Driver, handle: usize) -> Outcome<Handle> {
        let image = handle.checked_sub(1).and_then(|index| self.images.get_mut(index));
        let image = image.ok_or(Error::INVALID_DEVICE_FUNCTION)?;
        if let Some(module) = image.module {
            return Ok(std::ptr::with_exposed_provenance_mut(module));
        }
        let mut module = std::ptr::null_mut();
        let data: *const c_void = std::ptr::with_exposed_provenance(image.data);
        drive!(driver.cuModuleLoadData(&raw mut module, data))?;
        image.module = Some(module.expose_provenance());
        Ok(module)
    }
}
