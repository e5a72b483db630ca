//! What happens to the shim when the process forks or ends.
//!
//! Enters: `fork` and `exit`, through the C library. Leaves: a child without a shim; a process whose last records are
//! in its ring. Refuses: to hold an exit up for longer than [`PATIENCE`]. `exec` and `_exit` need nothing: the first
//! takes everything away, the second leaves the records of the last flush period unread in CUPTI.
//!
//! Handlers of `exit` run in the opposite order of their registration. CUPTI and the driver register theirs as they are
//! loaded and initialised, so the shim registers twice: in `cuInit`, for a process that never arms, and after CUPTI was
//! armed for the first time. The first one to run does the work.
#![allow(unsafe_code, reason = "pthread_atfork and atexit")]

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use crate::entry;
use crate::shim::Shim;
use crate::trampolines::guard;

/// Longest time that the end of a process waits for the last flush.
pub const PATIENCE: Duration = Duration::from_millis(500);

unsafe extern "C" {
    // libc (the crate) does not declare it for Linux.
    fn atexit(function: extern "C" fn()) -> core::ffi::c_int;
}

/// Registers the handlers, once in a process; children inherit them.
pub fn on_fork_and_exit() {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    if !REGISTERED.swap(true, Ordering::AcqRel) {
        // SAFETY: the handlers are functions of this library, which is never unloaded.
        unsafe {
            libc::pthread_atfork(None, None, Some(in_child));
            atexit(at_exit);
        }
    }
}

/// Registers the exit handler again, so that it runs before CUPTI's.
pub fn on_exit_after_cupti() {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    if !REGISTERED.swap(true, Ordering::AcqRel) {
        // SAFETY: as above.
        unsafe { atexit(at_exit) };
    }
}

extern "C" fn at_exit() {
    guard(|| {
        // Another process has no mapping of the control page, and no thread that would answer.
        if let Some(shim) = Shim::current().filter(|_| entry::is_of_this_process()) {
            shim.finish(PATIENCE);
        }
    });
}

unsafe extern "C" fn in_child() {
    Shim::forget();
    entry::forget();
}
