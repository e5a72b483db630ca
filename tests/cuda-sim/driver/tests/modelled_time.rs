//! Time that only passes in timestamps: `clock=virtual` and `compute=model`.
#![allow(unsafe_code, reason = "sets the environment of this process; calls C functions found by dlsym")]

#[path = "simulated/recorder.rs"]
mod recorder;
#[path = "simulated/sim.rs"]
mod sim;

use std::ffi::c_char;
use std::ptr::null_mut;

use cuda_sim_abi::wanted;
use recorder::{Handle, Library, PTX, cu, launch, reported, want};

#[test]
fn modelled_kernels_lie_back_to_back_and_vary_as_configured() {
    let config = "clock=virtual,compute=model,kernel_us=50,kernel_jitter=20,quiet=on";
    // SAFETY: this process has one test and, so far, one thread that reads the environment.
    unsafe { std::env::set_var("GPU_AGENT_CUDA_SIM", config) };
    let library = Library::load();
    library.install_hooks();
    assert_eq!(cu!(library.cuInit(0 => u32)), 0);
    let (mut context, mut module, mut stream) = (null_mut(), null_mut(), null_mut());
    let (mut unknown, mut sine) = (null_mut(), null_mut());
    assert_eq!(cu!(library.cuCtxCreate_v2(&raw mut context => *mut Handle, 0 => u32, 0 => i32)), 0);
    assert_eq!(
        cu!(library.cuModuleLoadData(&raw mut module => *mut Handle, PTX.as_ptr() => *const c_char)),
        0
    );
    for (function, name) in [(&raw mut unknown, c"nobody_knows"), (&raw mut sine, c"sin_kernel")] {
        let name = name.as_ptr();
        assert_eq!(
            cu!(library.cuModuleGetFunction(function => *mut Handle, module => Handle, name => *const c_char)),
            0
        );
    }
    assert_eq!(cu!(library.cuStreamCreate(&raw mut stream => *mut Handle, 1 => u32)), 0);
    want(wanted::KERNEL);
    // Not computed: done when the launch returns.
    for number in 1..=300 {
        assert_eq!(launch(&library, unknown, 1, stream), 0);
        assert_eq!(cu!(library.cuStreamQuery(stream => Handle)), 0, "launch {number} is done");
    }
    for _ in 0..100 {
        assert_eq!(launch(&library, sine, 1, stream), 0);
    }
    library.drain();
    let done = reported().done;
    assert_eq!(done.len(), 400);
    let lengths: Vec<u64> = done.iter().map(|record| record.end_ns - record.start_ns).collect();
    assert!(lengths.iter().all(|ns| (40_000..=60_000).contains(ns)), "{lengths:?}");
    assert!(lengths.iter().any(|ns| *ns < 45_000) && lengths.iter().any(|ns| *ns > 55_000), "{lengths:?}");
    let touching = done.windows(2).filter(|pair| pair[0].end_ns == pair[1].start_ns).count();
    assert!(done.windows(2).all(|pair| pair[0].end_ns <= pair[1].start_ns));
    assert!(touching > 300, "more time is enqueued than passes: {touching} of 399 touch");
    assert_eq!(done.iter().filter(|record| record.computed == 1).count(), 100);
}
