//! The LLM-like workload: see `gpu-agent-workload --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    gpu_agent_kernels::program::run("gpu_agent_workload_main")
}
