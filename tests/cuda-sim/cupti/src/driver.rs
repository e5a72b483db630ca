//! The simulated `libcuda`: found in the process, never loaded.
//!
//! Enters: what `dlopen(RTLD_NOLOAD)` and `dlsym` find. Leaves: its [`Driver`] table. Refuses: a `libcuda` without the
//! table (a real one), and a table of another contract version. Whether `cuInit` was called is not asked: the
//! driver's table does not tell, and no client of this project calls before it.

use crate::locks::die;
use cuda_sim_abi::{ABI_VERSION, DRIVER_SYMBOL, Driver, Hooks};

/// `libcuda`'s table, if it is loaded.
pub(crate) fn find() -> Option<&'static Driver> {
    // SAFETY: a NUL-terminated name; RTLD_NOLOAD runs no constructor.
    let library = unsafe { libc::dlopen(c"libcuda.so.1".as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
    if library.is_null() {
        return None;
    }
    // SAFETY: a live handle (never closed, so that libcuda stays mapped) and a NUL-terminated name.
    let symbol = unsafe { libc::dlsym(library, DRIVER_SYMBOL.as_ptr()) };
    if symbol.is_null() {
        die("the libcuda.so.1 in this process is not the simulated one");
    }
    // SAFETY: the contract gives the symbol this type.
    let table =
        unsafe { core::mem::transmute::<*mut libc::c_void, extern "C" fn() -> *const Driver>(symbol) };
    // SAFETY: NULL, or a table that lives as long as the process.
    let driver = unsafe { table().as_ref() }?;
    if driver.abi_version != ABI_VERSION {
        die("the simulated libcuda.so.1 speaks another version of the contract: rebuild both");
    }
    Some(driver)
}

/// Tells the driver whom to call.
pub(crate) fn install(driver: &Driver, hooks: &'static Hooks) {
    // SAFETY: the driver's own function; the hooks live as long as the process.
    unsafe { (driver.set_hooks)(hooks) };
}
