//! In: `callback-names LIBCUPTI`. Out: a line `domain id name` for each callback id of this crate, with the name that
//! the library's own `cuptiGetCallbackName` gives it, or `-` where it gives none. Refuses, with exit 1 and a sentence
//! on stderr, a library that cannot be loaded.
//!
//! Needs neither driver nor GPU with CUPTI 11.8 to 13.1. It is a program of its own, because two CUPTIs in one
//! process disturb each other.

use std::process::ExitCode;

use cupti_sys::{
    ALLOC_DRIVER, ALLOC_RUNTIME, CallbackDomain, Cupti, LAUNCH_DRIVER, LAUNCH_RUNTIME, MEMCPY_DRIVER,
    MEMCPY_RUNTIME, MEMSET_DRIVER, MEMSET_RUNTIME, MODULE_DRIVER, MODULE_RUNTIME, SYNC_DRIVER, SYNC_RUNTIME,
};

#[allow(unsafe_code, reason = "loads a C library")]
fn main() -> ExitCode {
    let Some(library) = std::env::args_os().nth(1) else {
        eprintln!("usage: callback-names LIBCUPTI");
        return ExitCode::FAILURE;
    };
    // SAFETY: only cuptiGetCallbackName is called, which these versions answer without libcuda.
    let cupti = match unsafe { Cupti::open(&library) } {
        Ok(cupti) => cupti,
        Err(error) => {
            eprintln!("callback-names: {error}: {}", error.source);
            return ExitCode::FAILURE;
        }
    };
    let driver = [LAUNCH_DRIVER, MEMCPY_DRIVER, MEMSET_DRIVER, ALLOC_DRIVER, SYNC_DRIVER, MODULE_DRIVER];
    let runtime =
        [LAUNCH_RUNTIME, MEMCPY_RUNTIME, MEMSET_RUNTIME, ALLOC_RUNTIME, SYNC_RUNTIME, MODULE_RUNTIME];
    for cbid in driver.into_iter().flatten() {
        print_name(&cupti, CallbackDomain::DRIVER_API, cbid.0);
    }
    for cbid in runtime.into_iter().flatten() {
        print_name(&cupti, CallbackDomain::RUNTIME_API, cbid.0);
    }
    ExitCode::SUCCESS
}

fn print_name(cupti: &Cupti, domain: CallbackDomain, cbid: u32) {
    let name = cupti.callback_name(domain, cbid).map_or("-".into(), |name| name.to_string_lossy());
    println!("{} {cbid} {name}", domain.0);
}
