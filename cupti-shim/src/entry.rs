//! The ways into the shim: the constructor, and `InitializeInjection`.
//!
//! Enters: the dynamic linker, which runs the constructor; libcuda, or an injector, which calls `InitializeInjection`.
//! Leaves: a variable in the environment; a ring, a control page and one sleeping thread. Refuses: anything at all
//! where `GPU_AGENT_SHIM=off`, and to do more than set that variable before CUDA is initialised.
//!
//! 1. `LD_PRELOAD` maps the shim into every process. The constructor sets `CUDA_INJECTION64_PATH` to the shim's own
//!    file, unless somebody has set it. A process that never uses CUDA has nothing more to do with the shim.
//! 2. `cuInit` loads the file of that name, which is there already, and calls `InitializeInjection`.
//! 3. That creates the ring. Where `GPU_AGENT_ARM` asks for the very first kernel, CUPTI is armed before `cuInit` returns.
#![allow(unsafe_code, reason = "exported functions, the environment, signal masks")]

use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU32, Ordering};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Once;

use crate::env::{self, Settings};
use crate::hooks;
use crate::session::Session;
use crate::shim::Shim;
use crate::trampolines::{callbacks, guard};

/// Name of the shim's thread.
const THREAD: &str = "gpu-agent-shim";
/// Its stack, bytes; CUPTI's flush runs on it.
const STACK_BYTES: usize = 1 << 20;

/// The process that has a shim, or is getting one; 0 if none.
static STARTED: AtomicU32 = AtomicU32::new(0);

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;

extern "C" fn constructor() {
    guard(|| {
        let wanted = std::env::var_os(env::SHIM).is_none_or(|value| value != "off")
            && std::env::var_os(env::CUDA_INJECTION).is_none();
        if let Some(path) = own_path().filter(|_| wanted && is_single_threaded()) {
            // SAFETY: no other thread exists that could look at the environment meanwhile.
            unsafe { std::env::set_var(env::CUDA_INJECTION, path) };
        }
    });
}

/// Gives this process its shim. libcuda calls it in `cuInit`, an injector after `dlopen`; more calls do nothing.
/// Returns 1, which stands for success, whatever happens: the program is to run on.
#[allow(non_snake_case, reason = "NVIDIA's name")]
#[unsafe(no_mangle)]
pub extern "C" fn InitializeInjection() -> c_int {
    guard(start);
    1
}

fn start() {
    let Some(settings) = Settings::from_env() else { return };
    let pid = std::process::id();
    if STARTED.swap(pid, Ordering::AcqRel) == pid {
        return;
    }
    silence_panics();
    let Ok(shim) = Shim::create(&settings, callbacks()) else { return };
    let shim = shim.install();
    hooks::on_fork_and_exit();
    let mut session = Session::new(shim);
    if settings.first_lease.is_some() {
        session.step();
    }
    start_thread(shim, session);
}

/// Whether it was this process that got the shim; not in a child made by `clone` or `_Fork`, where no handler of `fork`
/// runs.
pub fn is_of_this_process() -> bool {
    STARTED.load(Ordering::Acquire) == std::process::id()
}

/// In a child made by `fork`: its own `cuInit` may give it a shim.
pub fn forget() {
    STARTED.store(0, Ordering::Release);
}

/// All signals stay with the program's threads: a new thread inherits the mask of the one that makes it.
fn start_thread(shim: &'static Shim, session: Session) {
    let mut all = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: both sets are ours; the first is filled before it is read, the second by the call that reads the first.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    shim.set_running(true);
    let life = move || {
        guard(|| session.run());
        shim.set_running(false);
    };
    let thread = std::thread::Builder::new().name(THREAD.to_owned()).stack_size(STACK_BYTES).spawn(life);
    if thread.is_err() {
        shim.set_running(false);
    }
    // SAFETY: `before` was filled in above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), core::ptr::null_mut()) };
}

/// A panic is caught at the border and has to stay silent. Only this library's own panics are meant: it has its own
/// copy of Rust's standard library.
fn silence_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}

/// The file that holds this code; `None` where that is the program itself, as in tests.
fn own_path() -> Option<OsString> {
    // SAFETY: a C struct of pointers, for which zeros are valid.
    let mut info: libc::Dl_info = unsafe { core::mem::zeroed() };
    // SAFETY: an address in this object, and a live out-pointer.
    let found = unsafe { libc::dladdr(constructor as *const c_void, &raw mut info) };
    if found == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: no arguments that could be wrong.
    let program_headers = unsafe { libc::getauxval(libc::AT_PHDR) } as usize;
    // A program's headers lie in its first page.
    if program_headers.wrapping_sub(info.dli_fbase.addr()) < 4096 {
        return None;
    }
    // SAFETY: not null, so a NUL-terminated path that lives as long as the object.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    let path = PathBuf::from(OsStr::from_bytes(name.to_bytes()));
    // A memory file that an injector has loaded: no other process could find it there.
    if path.starts_with("/proc") {
        return None;
    }
    // LD_PRELOAD may hold a relative path, which would lead nowhere after a change of directory.
    Some(std::fs::canonicalize(&path).unwrap_or(path).into_os_string())
}

/// Whether the environment may be changed. True under `LD_PRELOAD`, where constructors run before any thread; false
/// where an injector loads the shim into a running program, which needs no variable anyway.
fn is_single_threaded() -> bool {
    // SAFETY: looks a name up among the mapped libraries.
    let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__libc_single_threaded".as_ptr()) };
    // glibc 2.32 has it; before, the common case is the preload.
    // SAFETY: the C library's variable of this name is a `char`.
    symbol.is_null() || unsafe { symbol.cast::<c_char>().read() } != 0
}
