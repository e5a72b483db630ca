//! Benchmark of the kernels: see `gpu-agent-kernel-bench --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    gpu_agent_kernels::program::run("gpu_agent_kernel_bench_main")
}
