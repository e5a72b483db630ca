//! The life of the driver in this process: before `cuInit`, ready, or a forked child that must not use it.
//!
//! Enters: `cuInit` and the environment. Leaves: the configuration and the phase, one relaxed load each.
//! Refuses: a configuration that does not parse (`CUDA_ERROR_INVALID_VALUE`, and the reason on stderr); a second
//! life in a forked child, as the real driver (`CUDA_ERROR_NOT_INITIALIZED`).
#![allow(unsafe_code, reason = "pthread_atfork, and the injection library's entry point")]

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock};

use cuda_sim_abi::config::Config;

use crate::error::{Error, Outcome};
use crate::failure;
use crate::sync::lock;

/// Where the driver is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// `cuInit` was not called, or failed.
    Uninitialized = 0,
    /// Calls work.
    Ready = 1,
    /// Calls work unless a `fail` rule names them.
    ReadyToFail = 2,
    /// A child of a process that had called `cuInit`.
    Forked = 3,
}

static PHASE: AtomicU8 = AtomicU8::new(Phase::Uninitialized as u8);
static CONFIG: OnceLock<Config> = OnceLock::new();
static INITIALIZING: Mutex<()> = Mutex::new(());

/// The present phase.
#[inline]
pub(crate) fn phase() -> Phase {
    match PHASE.load(Ordering::Relaxed) {
        1 => Phase::Ready,
        2 => Phase::ReadyToFail,
        3 => Phase::Forked,
        _ => Phase::Uninitialized,
    }
}

/// The configuration; the defaults before it was read.
pub(crate) fn config() -> &'static Config {
    static DEFAULT: OnceLock<Config> = OnceLock::new();
    CONFIG.get().unwrap_or_else(|| DEFAULT.get_or_init(Config::default))
}

/// Reads the configuration once; `cuInit` and the calls that work before it need it.
pub(crate) fn configure() -> Outcome<&'static Config> {
    if let Some(config) = CONFIG.get() {
        return Ok(config);
    }
    match Config::from_env() {
        Ok(config) => Ok(CONFIG.get_or_init(|| config)),
        Err(error) => {
            eprintln!("simulated libcuda: {error}");
            Err(Error::INVALID_VALUE)
        }
    }
}

/// `cuInit`. The injection library's entry runs once, after the driver is ready and before the first `cuInit`
/// returns, on the calling thread; it may call the driver itself.
pub(crate) fn initialize() -> Outcome {
    match phase() {
        Phase::Ready | Phase::ReadyToFail => return Ok(()),
        Phase::Forked => return Err(Error::NOT_INITIALIZED),
        Phase::Uninitialized => {}
    }
    let initializing = lock(&INITIALIZING);
    if phase() != Phase::Uninitialized {
        drop(initializing);
        return initialize();
    }
    let config = configure()?;
    if config.devices == 0 {
        return Err(Error::NO_DEVICE);
    }
    // SAFETY: the handler only stores an atomic, which is allowed in a forked child.
    unsafe { libc::pthread_atfork(None, None, Some(forked)) };
    let ready = if failure::configure(config) { Phase::ReadyToFail } else { Phase::Ready };
    PHASE.store(ready as u8, Ordering::Release);
    drop(initializing);
    inject();
    Ok(())
}

extern "C" fn forked() {
    PHASE.store(Phase::Forked as u8, Ordering::Relaxed);
}

/// Loads the library that `CUDA_INJECTION64_PATH` names and calls its `InitializeInjection`. Failures are told on
/// stderr and do not fail `cuInit`: the variable belongs to a tool, not to the program.
fn inject() {
    let Some(path) = std::env::var_os("CUDA_INJECTION64_PATH").filter(|path| !path.is_empty()) else {
        return;
    };
    let Ok(path) = CString::new(path.into_vec()) else { return };
    // SAFETY: `path` is NUL-terminated; running the library's constructors is what the user asked for.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    if library.is_null() {
        eprintln!("simulated libcuda: CUDA_INJECTION64_PATH: {}", dl_error());
        return;
    }
    // SAFETY: the handle is live, the name NUL-terminated.
    let entry = unsafe { libc::dlsym(library, c"InitializeInjection".as_ptr()) };
    if entry.is_null() {
        eprintln!("simulated libcuda: CUDA_INJECTION64_PATH: {path:?} has no InitializeInjection");
        return;
    }
    // SAFETY: an injection library exports the function with this prototype.
    let entry: unsafe extern "C" fn() -> i32 = unsafe { std::mem::transmute(entry) };
    // SAFETY: the driver is ready, as the entry expects.
    unsafe { entry() };
}

fn dl_error() -> String {
    // SAFETY: returns NULL or a NUL-terminated string that lives until the thread's next dl call.
    let message = unsafe { libc::dlerror() };
    if message.is_null() {
        return String::from("unknown error");
    }
    // SAFETY: not NULL.
    unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned()
}
