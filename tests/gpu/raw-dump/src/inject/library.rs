//! In: the libraries of the process, and maybe a path. Out: a libcupti, and what is to be said of it. Refuses: one that
//! is newer than the driver, unless it is the one that the process has or that was named.

#![allow(unsafe_code, reason = "dlopen, dlsym and dladdr are C")]

use std::ffi::{CStr, OsStr, c_int, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr::NonNull;

use cupti_sys::Cupti;

use crate::recorder::Origin;

/// Sonames, newest first, each with the oldest driver that can serve it.
const SONAMES: &[(&CStr, u32)] =
    &[(c"libcupti.so.13", 13_000), (c"libcupti.so.12", 12_000), (c"libcupti.so.11.8", 11_080)];

/// What the simulated libcuda exports, and no real one does.
const SIMULATED_MARK: &CStr = c"gpu_agent_cuda_sim_driver";

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) cupti: Option<Cupti>,
    driver_version: u32,
    simulated: bool,
    library: String,
}

impl Found {
    /// What a recording says of it.
    pub(super) fn origin(&self) -> Origin<'_> {
        let version = self.cupti.as_ref().and_then(|cupti| cupti.version().ok());
        Origin {
            cupti_version: version.map_or(0, |version| version.0),
            driver_version: self.driver_version,
            simulated: self.simulated,
            library: &self.library,
        }
    }
}

/// Looks for libcupti. Called by libcuda, so that one is loaded.
pub(super) fn find(named: Option<&Path>) -> Found {
    let Some(driver) = open(c"libcuda.so.1", libc::RTLD_NOLOAD) else { return Found::default() };
    let driver_version = driver_version(driver);
    let serves = |needs: &u32| *needs <= driver_version;
    let loaded = || SONAMES.iter().find_map(|(soname, _)| open(soname, libc::RTLD_NOLOAD));
    let newest = || SONAMES.iter().filter(|(_, needs)| serves(needs)).find_map(|(soname, _)| open(soname, 0));
    let handle = match named.map(|path| std::ffi::CString::new(path.as_os_str().as_bytes())) {
        Some(path) => path.ok().and_then(|path| open(&path, 0)),
        None => loaded().or_else(newest),
    };
    Found {
        // SAFETY: what is called libcupti, or was named as such, is taken for it; it is never closed, and libcuda is
        // mapped and being initialised by the program.
        cupti: handle.map(|handle| unsafe { Cupti::from_handle(handle) }),
        driver_version,
        simulated: symbol(driver, SIMULATED_MARK).is_some(),
        library: handle.and_then(file_name).unwrap_or_default(),
    }
}

/// A handle that is never closed.
fn open(name: &CStr, extra_flags: c_int) -> Option<NonNull<c_void>> {
    // SAFETY: loading runs the library's initialisers; libcupti's need nothing.
    NonNull::new(unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_NODELETE | extra_flags) })
}

fn symbol(library: NonNull<c_void>, name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: the handle is never closed.
    NonNull::new(unsafe { libc::dlsym(library.as_ptr(), name.as_ptr()) })
}

/// `cuDriverGetVersion`; 0 where it does not answer.
fn driver_version(driver: NonNull<c_void>) -> u32 {
    let Some(function) = symbol(driver, c"cuDriverGetVersion") else { return 0 };
    // SAFETY: the signature of cuda.h; it may be called before cuInit.
    let function: unsafe extern "C" fn(*mut c_int) -> c_int =
        unsafe { std::mem::transmute(function.as_ptr()) };
    let mut version = 0;
    // SAFETY: the place is ours.
    let status = unsafe { function(&raw mut version) };
    if status == 0 { u32::try_from(version).unwrap_or(0) } else { 0 }
}

/// Name of the file that a library was loaded from, links followed, without its folder.
fn file_name(library: NonNull<c_void>) -> Option<String> {
    let function = symbol(library, c"cuptiGetVersion")?;
    let mut info = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    // SAFETY: the place is ours.
    let found = unsafe { libc::dladdr(function.as_ptr(), &raw mut info) } != 0 && !info.dli_fname.is_null();
    // SAFETY: dladdr answered, so the path is NUL-terminated, and it lives as long as the library.
    let path = found.then(|| unsafe { CStr::from_ptr(info.dli_fname) })?;
    let path = Path::new(OsStr::from_bytes(path.to_bytes()));
    let file = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    Some(file.file_name()?.to_string_lossy().into_owned())
}
