//! A program that uses the CUDA driver through cudarc, as inference engines in Rust do.
#![allow(unsafe_code, reason = "kernel launches")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "simulated/sim.rs"]
mod sim;

use std::ffi::CString;
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaModule, CudaStream, LaunchConfig, PushKernelArg, sys};
use cudarc::nvrtc::Ptx;

const SINE: &str = ".version 7.0\n.target sm_80\n.address_size 64\n\
    .visible .entry sin_kernel(.param .u64 a, .param .u64 b, .param .u32 c) { ret; }\n";

/// Loads the simulated driver before cudarc looks for `libcuda.so.1`, which it then finds loaded.
fn context(ordinal: usize) -> Arc<CudaContext> {
    let path = CString::new(sim::simulator().join("libcuda.so.1").to_str().unwrap()).unwrap();
    // SAFETY: the path is NUL-terminated; the library's constructors do nothing.
    assert!(!unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) }.is_null());
    CudaContext::new(ordinal).unwrap()
}

fn sines(stream: &Arc<CudaStream>, module: &Arc<CudaModule>, input: &[f32]) -> Vec<f32> {
    let function = module.load_function("sin_kernel").unwrap();
    let from = stream.clone_htod(input).unwrap();
    let mut to = stream.alloc_zeros::<f32>(input.len()).unwrap();
    let count = input.len() as i32;
    let mut launch = stream.launch_builder(&function);
    launch.arg(&mut to).arg(&from).arg(&count);
    // SAFETY: the arguments are those of the kernel.
    unsafe { launch.launch(LaunchConfig::for_num_elems(count as u32)) }.unwrap();
    stream.clone_dtoh(&to).unwrap()
}

#[test]
fn copies_and_kernels_give_right_results_on_several_streams() {
    let context = context(0);
    assert!(context.name().unwrap().contains("Simulated"));
    let module = context.load_module(Ptx::from_src(SINE)).unwrap();
    let input: Vec<f32> = (0..1000).map(|i| i as f32 / 100.0).collect();
    let expected: Vec<f32> = input.iter().map(|x| x.sin()).collect();
    let default = context.default_stream();
    let streams = [default.clone(), context.new_stream().unwrap(), default.fork().unwrap()];
    for stream in &streams {
        assert_eq!(sines(stream, &module, &input), expected);
    }
}

#[test]
fn threads_share_a_context() {
    let context = context(0);
    let module = context.load_module(Ptx::from_src(SINE)).unwrap();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (context, module) = (&context, &module);
            scope.spawn(move || {
                context.bind_to_thread().unwrap();
                let stream = context.new_stream().unwrap();
                let input = vec![number as f32; 64];
                for _ in 0..20 {
                    assert_eq!(sines(&stream, module, &input), vec![(number as f32).sin(); 64]);
                }
            });
        }
    });
}

#[test]
fn memory_moves_between_devices() {
    let (first, second) = (context(0), context(1));
    let from = first.default_stream().clone_htod(&[1.5_f64, -2.0, 3.25]).unwrap();
    let to = second.default_stream().clone_dtod(&from).unwrap();
    assert_eq!(second.default_stream().clone_dtoh(&to).unwrap(), [1.5, -2.0, 3.25]);
}

#[test]
fn events_measure_time() {
    let context = context(0);
    let stream = context.new_stream().unwrap();
    let timed = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
    let start = stream.record_event(timed).unwrap();
    let module = context.load_module(Ptx::from_src(SINE)).unwrap();
    sines(&stream, &module, &[0.0; 100_000]);
    let end = stream.record_event(timed).unwrap();
    let elapsed_ms = start.elapsed_ms(&end).unwrap();
    assert!(elapsed_ms > 0.0 && elapsed_ms < 10_000.0, "{elapsed_ms}");
}

#[test]
fn a_captured_graph_replays() {
    let context = context(0);
    // SAFETY: all work of this test is in one stream.
    unsafe { context.disable_event_tracking() };
    let stream = context.new_stream().unwrap();
    let module = context.load_module(Ptx::from_src(SINE)).unwrap();
    let function = module.load_function("sin_kernel").unwrap();
    let mut data = stream.clone_htod(&[1.0_f32; 32]).unwrap();
    let count = 32_i32;
    stream.begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL).unwrap();
    let alias = data.clone();
    let mut launch = stream.launch_builder(&function);
    launch.arg(&mut data).arg(&alias).arg(&count);
    // SAFETY: the arguments are those of the kernel.
    unsafe { launch.launch(LaunchConfig::for_num_elems(32)) }.unwrap();
    let flags = sys::CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
    let graph = stream.end_capture(flags).unwrap().unwrap();
    assert_eq!(stream.clone_dtoh(&data).unwrap(), [1.0; 32]);
    graph.launch().unwrap();
    assert_eq!(stream.clone_dtoh(&data).unwrap(), [1.0_f32.sin(); 32]);
}

#[test]
fn what_a_device_cannot_do_is_an_error() {
    let context = context(0);
    let stream = context.default_stream();
    let too_much = stream.alloc_zeros::<u8>(17 << 30).unwrap_err();
    assert_eq!(too_much.0, sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY);
    assert!(context.load_module(Ptx::from_src("nothing")).is_err());
    assert!(context.load_module(Ptx::from_file("/no/such.ptx")).is_err());
    assert!(CudaContext::new(2).is_err());
}
