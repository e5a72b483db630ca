//! Runs C programs against the simulated driver as any CUDA program would run: linked to `libcuda.so.1`.

#[path = "simulated/sim.rs"]
mod sim;

use sim::{compile, output, simulator};

#[test]
fn reference_kernel_on_streams_events_and_graphs_gives_right_results() {
    let ptx = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../kernels/ptx/dense_f32.ptx");
    assert_eq!(output(compile("pipeline").arg(ptx), ""), "ok\n");
}

#[test]
fn sixty_four_threads_launch_at_once() {
    for config in ["quiet=on,kernel_us=2", "quiet=on,clock=virtual", "quiet=on,clock=sleep,kernel_us=1"] {
        assert_eq!(output(&mut compile("threads"), config), "ok\n", "{config}");
    }
}

#[test]
fn streams_and_events_keep_their_order() {
    for config in ["", "clock=virtual"] {
        assert_eq!(output(&mut compile("order"), config), "ok\n", "{config}");
    }
}

#[test]
fn libraries_pools_planes_pointers_and_hand_made_graphs_work() {
    assert_eq!(output(&mut compile("surface"), ""), "ok\n");
}

#[test]
fn wrong_use_is_answered_with_the_real_error_codes() {
    assert_eq!(output(&mut compile("refusals"), "quiet=on"), "ok\n");
}

#[test]
fn a_kernel_that_is_not_known_is_named_once_on_stderr() {
    let run = compile("refusals").env("GPU_AGENT_CUDA_SIM", "").output().unwrap();
    let stderr = String::from_utf8(run.stderr).unwrap();
    assert_eq!(stderr.matches("kernel nobody_knows is not known").count(), 1, "{stderr}");
}

#[test]
fn a_configuration_that_does_not_parse_fails_cu_init_and_says_why() {
    let run = compile("order").env("GPU_AGENT_CUDA_SIM", "kernel_us=fast").output().unwrap();
    let stderr = String::from_utf8(run.stderr).unwrap();
    assert!(!run.status.success());
    assert!(stderr.contains("kernel_us=fast: expected microseconds"), "{stderr}");
    assert!(stderr.contains("cuInit(0) returned 1,"), "{stderr}");
}

#[test]
fn a_machine_without_devices_says_so() {
    let run = compile("order").env("GPU_AGENT_CUDA_SIM", "devices=0").output().unwrap();
    assert!(String::from_utf8(run.stderr).unwrap().contains("cuInit(0) returned 100,"));
}

#[test]
fn a_fail_rule_fails_the_call_that_it_names() {
    let run = compile("order").env("GPU_AGENT_CUDA_SIM", "fail=cuStreamCreate:2@3").output().unwrap();
    let stderr = String::from_utf8(run.stderr).unwrap();
    assert!(stderr.contains("cuStreamCreate(&free_running, 1) returned 2, expected 0"), "{stderr}");
}

#[test]
fn cu_init_loads_the_injection_library_once() {
    let library = simulator().join("libinjected.so");
    sim::compile_library("injected", &library);
    let run = compile("order").env("CUDA_INJECTION64_PATH", &library).output().unwrap();
    assert_eq!(String::from_utf8(run.stdout).unwrap(), "injected, 2 devices\nok\n");
    let run = compile("order").env("CUDA_INJECTION64_PATH", "/no/such/library.so").output().unwrap();
    assert_eq!(String::from_utf8(run.stdout).unwrap(), "ok\n");
    assert!(String::from_utf8(run.stderr).unwrap().contains("/no/such/library.so"));
}
