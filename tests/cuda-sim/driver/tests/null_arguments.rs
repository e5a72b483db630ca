//! Calls every exported function with nothing but zeros and NULL: each answers, none crashes.
#![allow(unsafe_code, reason = "calls C functions found by dlsym")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "simulated/sim.rs"]
mod sim;

use std::ffi::{CString, c_void};

type AnyFunction =
    unsafe extern "C" fn(usize, usize, usize, usize, usize, usize, usize, usize, usize, usize, usize) -> i32;

/// Functions for which zeros are right arguments: no arguments, the default stream, device 0, the address NULL.
const MAY_SUCCEED: [&str; 32] = [
    "cuInit",
    "cuProfilerStart",
    "cuProfilerStop",
    "cuCtxSynchronize",
    "cuCtxSetCurrent",
    "cuCtxPopCurrent_v2",
    "cuCtxSetFlags",
    "cuCtxSetLimit",
    "cuCtxSetCacheConfig",
    "cuCtxSetSharedMemConfig",
    "cuCtxGetStreamPriorityRange",
    "cuCtxResetPersistingL2Cache",
    "cuDevicePrimaryCtxRelease_v2",
    "cuDevicePrimaryCtxReset_v2",
    "cuDevicePrimaryCtxSetFlags_v2",
    "cuMemGetInfo_v2",
    "cuMemFree_v2",
    "cuMemFreeHost",
    "cuMemFreeAsync",
    "cuMemFreeAsync_ptsz",
    "cuMemAdvise",
    "cuMemAdvise_v2",
    "cuMemPrefetchAsync",
    "cuMemPrefetchAsync_v2",
    "cuPointerGetAttributes",
    "cuStreamSynchronize",
    "cuStreamSynchronize_ptsz",
    "cuStreamQuery",
    "cuStreamQuery_ptsz",
    "cuStreamAttachMemAsync",
    "cuStreamBeginCapture_v2_ptsz",
    "cuDevicePrimaryCtxRetain",
];

fn find(library: *mut c_void, name: &str) -> AnyFunction {
    let name = CString::new(name).unwrap();
    // SAFETY: the library is loaded, the name NUL-terminated.
    let address = unsafe { libc::dlsym(library, name.as_ptr()) };
    assert!(!address.is_null(), "{name:?}");
    // SAFETY: every exported function takes at most eleven integers or pointers, which the C ABI allows to be more.
    unsafe { std::mem::transmute::<*mut c_void, AnyFunction>(address) }
}

fn call(library: *mut c_void, name: &str, first: usize) -> i32 {
    let function = find(library, name);
    // SAFETY: zeros and NULL are what this test is about; `first` is NULL or what the caller made for the function.
    unsafe { function(first, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) }
}

#[test]
fn every_function_answers_to_null() {
    let path = CString::new(sim::simulator().join("libcuda.so.1").to_str().unwrap()).unwrap();
    // SAFETY: the path is NUL-terminated; the library's constructors do nothing.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    let names: Vec<&str> = include_str!("../src/cbid.rs")
        .lines()
        .filter_map(|line| line.trim().strip_prefix("cu").and_then(|_| line.trim().split_once(" = ")))
        .map(|(name, _)| name)
        .collect();
    assert!(names.len() > 200, "{}", names.len());
    // A process without GPU_AGENT_CUDA_SIM: nothing is initialised, then nothing is current, then a context is.
    for name in names.iter().filter(|name| **name != "cuInit") {
        let status = call(library, name, 0);
        assert!(matches!(status, 1 | 3 | 500), "{name} returned {status} before cuInit");
    }
    assert_eq!(call(library, "cuInit", 0), 0);
    let mut context = 0_usize;
    for has_context in [false, true] {
        if has_context {
            assert_eq!(call(library, "cuCtxCreate_v2", (&raw mut context).addr()), 0);
        }
        for name in &names {
            let status = call(library, name, 0);
            assert!(status != 0 || MAY_SUCCEED.contains(name) || is_harmless(name), "{name} returned 0");
            assert_ne!(status, 999, "{name} panicked");
            if has_context {
                assert_eq!(call(library, "cuCtxSetCurrent", context), 0);
            }
        }
    }
}

/// Copies and memsets of no bytes do nothing.
fn is_harmless(name: &str) -> bool {
    name.starts_with("cuMemcpy") || name.starts_with("cuMemset")
}
