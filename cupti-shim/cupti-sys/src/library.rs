//! In: a libcupti, already in the process or named by path. Out: its functions. Refuses: a file that cannot be
//! loaded. Calls no CUPTI function while it loads, and never unloads the library: CUPTI leaves threads and
//! callbacks behind that need it.

mod calls;
mod error;
mod functions;
mod records;
mod types;

use std::ffi::{CStr, OsStr, c_void};
use std::ptr::NonNull;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

pub use error::{CallError, OpenError};
pub use functions::{FUNCTIONS, Function};
pub use records::{Record, Records};
pub use types::{
    ActivityAttribute, AttributeValue, BufferCompleted, BufferRequested, Callback, CallbackData,
    CallbackSite, ContextHandle, Flush, GraphData, GraphExecHandle, ResourceData, SubscriberHandle,
    SubscriberParams, ThreadIdType, TimestampCallback,
};

use functions::Functions;

/// The functions of one loaded libcupti.
///
/// The constructors are unsafe, so that the methods need not be; see [`Cupti::open`] for what the caller promises.
#[derive(Clone)]
pub struct Cupti {
    functions: Functions,
}

#[allow(unsafe_code, reason = "dlopen and dlsym are C")]
impl Cupti {
    /// The copy that the process has loaded under this name, such as `libcupti.so.12`; `None` where there is none.
    /// Loads nothing.
    ///
    /// # Safety
    /// As for [`Cupti::open`].
    #[must_use]
    pub unsafe fn already_loaded(soname: impl AsRef<OsStr>) -> Option<Self> {
        // SAFETY: RTLD_NOLOAD runs no initialiser; the rest is the caller's promise.
        unsafe { Self::dlopen(soname.as_ref(), libc::RTLD_NOLOAD) }.ok()
    }

    /// Loads the library at `path`, or finds the copy that is already there.
    ///
    /// # Safety
    /// The file is NVIDIA's libcupti 11.8 or later, or one with the same functions. No method of the result is
    /// called before libcuda.so.1 is mapped and has been initialised by the program: some versions crash on any
    /// call without it.
    ///
    /// # Errors
    /// The dynamic linker's, with the path.
    pub unsafe fn open(path: impl AsRef<OsStr>) -> Result<Self, OpenError> {
        // SAFETY: the caller's promise.
        unsafe { Self::dlopen(path.as_ref(), 0) }
    }

    /// Takes a handle that `dlopen` gave to somebody else. The handle stays theirs to close.
    ///
    /// # Safety
    /// As for [`Cupti::open`], and the handle outlives the result.
    #[must_use]
    pub unsafe fn from_handle(handle: NonNull<c_void>) -> Self {
        // SAFETY: the caller's promise: the handle is live, and what it names is CUPTI.
        unsafe { Self::from_lookup(|name| libc::dlsym(handle.as_ptr(), name.as_ptr())) }
    }

    /// Takes the functions from `lookup`, which answers null for one that it lacks.
    ///
    /// # Safety
    /// As for [`Cupti::open`]: what `lookup` returns for a name has that function's C signature.
    #[must_use]
    pub unsafe fn from_lookup(lookup: impl FnMut(&CStr) -> *mut c_void) -> Self {
        // SAFETY: the caller's promise.
        Self { functions: unsafe { Functions::resolve(lookup) } }
    }

    /// Names of the functions that this library lacks, in the order of [`FUNCTIONS`].
    pub fn missing(&self) -> impl Iterator<Item = &'static str> {
        self.functions.presence().into_iter().filter(|(_, present)| !present).map(|(name, _)| name)
    }

    unsafe fn dlopen(name: &OsStr, extra_flags: i32) -> Result<Self, OpenError> {
        let flags = RTLD_NOW | RTLD_LOCAL | libc::RTLD_NODELETE | extra_flags;
        // SAFETY: loading runs the library's initialisers; the caller promises that it is CUPTI, whose initialisers
        // need neither a driver nor a device.
        let library = unsafe { Library::open(Some(name), flags) }
            .map_err(|source| OpenError { name: name.to_owned(), source })?;
        let handle = library.into_raw();
        // SAFETY: `into_raw` gives the handle up without closing it, so it stays live.
        Ok(unsafe { Self::from_lookup(|function| libc::dlsym(handle, function.as_ptr())) })
    }
}

impl std::fmt::Debug for Cupti {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cupti").field("missing", &self.missing().collect::<Vec<_>>()).finish()
    }
}

#[cfg(test)]
mod tests;
