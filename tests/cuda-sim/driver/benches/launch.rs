//! What a launch costs the launching thread, bare: nothing listens. Prints nanoseconds per `cuLaunchKernel` for each
//! way that time can pass; the baseline is a loop over `clock_gettime`, which the measurement itself contains.
//!
//! `cargo bench -p cuda-sim-driver --bench launch`; each configuration runs in a process of its own.
#![allow(unsafe_code, reason = "calls C functions found by dlsym")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that cannot be set up has failed")]

#[path = "../tests/simulated/sim.rs"]
mod sim;

use std::ffi::{CStr, CString, c_char, c_void};
use std::hint::black_box;
use std::process::Command;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

type Handle = *mut c_void;
type Launch =
    unsafe extern "C" fn(Handle, u32, u32, u32, u32, u32, u32, u32, Handle, *mut Handle, *mut Handle) -> i32;

const CONFIGS: [&str; 4] =
    ["clock=virtual", "kernel_us=0", "kernel_us=5,clock=spin", "kernel_us=5,clock=sleep"];
const PTX: &CStr = c".version 7.0\n.target sm_80\n.address_size 64\n\
    .visible .entry k(.param .u64 a, .param .u64 b, .param .u64 c, .param .u32 d) { ret; }\n";

fn main() {
    if let Some(config) = std::env::var_os("CUDA_SIM_BENCH_CONFIG") {
        return measure(&config.to_string_lossy());
    }
    println!(
        "{:<26} {:>16} {:>16} {:>16}",
        "configuration", "burst of 500", "10 k/s for 2 s", "back to back"
    );
    for config in CONFIGS {
        let own = std::env::current_exe().unwrap();
        let mut child = Command::new(own);
        child.env("CUDA_SIM_BENCH_CONFIG", config).env("GPU_AGENT_CUDA_SIM", format!("quiet=on,{config}"));
        assert!(child.status().unwrap().success());
    }
}

fn measure(config: &str) {
    let path = CString::new(sim::simulator().join("libcuda.so.1").to_str().unwrap()).unwrap();
    // SAFETY: the path is NUL-terminated; the library's constructors do nothing.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    let find = |name: &CStr| {
        // SAFETY: the library is loaded, the name NUL-terminated.
        let address = unsafe { libc::dlsym(library, name.as_ptr()) };
        assert!(!address.is_null(), "{name:?}");
        address
    };
    let (mut context, mut module, mut function, mut stream) =
        (null_mut(), null_mut(), null_mut(), null_mut());
    // SAFETY: the functions have these prototypes, and the pointers lead to locals.
    let (launch, synchronize) = unsafe {
        use std::mem::transmute as to;
        let init = to::<Handle, unsafe extern "C" fn(u32) -> i32>(find(c"cuInit"));
        let create =
            to::<Handle, unsafe extern "C" fn(*mut Handle, u32, i32) -> i32>(find(c"cuCtxCreate_v2"));
        let load =
            to::<Handle, unsafe extern "C" fn(*mut Handle, *const c_char) -> i32>(find(c"cuModuleLoadData"));
        let get = to::<Handle, unsafe extern "C" fn(*mut Handle, Handle, *const c_char) -> i32>(find(
            c"cuModuleGetFunction",
        ));
        let open = to::<Handle, unsafe extern "C" fn(*mut Handle, u32) -> i32>(find(c"cuStreamCreate"));
        assert_eq!(init(0), 0);
        assert_eq!(create(&raw mut context, 0, 0), 0);
        assert_eq!(load(&raw mut module, PTX.as_ptr()), 0);
        assert_eq!(get(&raw mut function, module, c"k".as_ptr()), 0);
        assert_eq!(open(&raw mut stream, 1), 0);
        (
            to::<Handle, Launch>(find(c"cuLaunchKernel")),
            to::<Handle, unsafe extern "C" fn() -> i32>(find(c"cuCtxSynchronize")),
        )
    };
    let mut value = 0_u64;
    let mut parameters = [(&raw mut value).cast::<c_void>(); 4];
    let mut run = |count: u32, period: Duration| {
        let begin = Instant::now();
        let mut inside = Duration::ZERO;
        for number in 0..count {
            while begin.elapsed() < period * number {
                std::hint::spin_loop();
            }
            let start = Instant::now();
            // SAFETY: the prototype of cuLaunchKernel; four parameters as declared.
            let status = unsafe {
                launch(function, 1, 1, 1, 32, 1, 1, 0, stream, parameters.as_mut_ptr(), null_mut())
            };
            inside += start.elapsed();
            assert_eq!(black_box(status), 0);
        }
        // SAFETY: no arguments.
        assert_eq!(unsafe { synchronize() }, 0);
        inside.as_nanos() / u128::from(count)
    };
    run(500, Duration::ZERO);
    let burst = run(500, Duration::ZERO);
    let steady = run(20_000, Duration::from_micros(100));
    let flood = run(50_000, Duration::ZERO);
    println!("{config:<26} {burst:>13} ns {steady:>13} ns {flood:>13} ns");
}
