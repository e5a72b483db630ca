//! What an example asks of the driver, as seen by neither CUPTI nor the agent: `calls.c` stands between the two.
//!
//! Enters: an example. Leaves: [`GroundTruth`] from its successful calls. Refuses: a call that makes work or memory and is
//! not counted here.

use std::path::{Path, PathBuf};
use std::process::Command;

use gpu_agent_tests::cudarc::successful;
use gpu_agent_tests::{GroundTruth, programs};

use super::built::Built;
use super::table::Example;

/// The auditing library, compiled into `folder`.
pub(crate) fn library(folder: &Path) -> PathBuf {
    let library = folder.join("calls.so");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut compile = Command::new(compiler);
    compile.args(["-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-pthread", "-o"]).arg(&library);
    compile.arg(programs::repository().join("tests/tests/cudarc_examples/calls.c"));
    let _ = successful(compile.output().unwrap());
    library
}

/// Runs the example without the agent, and counts.
pub(crate) fn count(built: &Built, example: &Example, library: &Path, folder: &Path) -> GroundTruth {
    let calls = folder.join(example.name);
    let mut command = built.start(example, "").command(&built.program(example.name));
    command.current_dir(built.folder()).env("LD_AUDIT", library).env("CUDA_CALLS", &calls);
    let _ = successful(command.output().unwrap());
    // No call, no file.
    counted(&std::fs::read_to_string(calls).unwrap_or_default())
}

fn counted(lines: &str) -> GroundTruth {
    let mut truth = GroundTruth::default();
    for line in lines.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let [function, what, status] = words[..] else { panic!("no call: {line}") };
        if status != "0" {
            continue;
        }
        let bytes = || what.parse::<u64>().unwrap();
        match function {
            "cuLaunchKernel" => *truth.launches.entry(what.to_owned()).or_default() += 1,
            "cuMemAllocAsync" | "cuMemAlloc_v2" => *truth.memory.entry("alloc".to_owned()).or_default() += 1,
            "cuMemFreeAsync" | "cuMemFree_v2" => *truth.memory.entry("free".to_owned()).or_default() += 1,
            "cuMemsetD8Async" => {
                truth.memsets.count += 1;
                truth.memsets.bytes += bytes();
            }
            _ => {
                let direction = match function {
                    "cuMemcpyHtoDAsync_v2" => "h2d",
                    "cuMemcpyDtoHAsync_v2" => "d2h",
                    "cuMemcpyDtoDAsync_v2" => "d2d",
                    "cuMemcpyPeerAsync" => "p2p",
                    _ => panic!("not counted: {line}"),
                };
                let volume = truth.copies.entry(direction.to_owned()).or_default();
                volume.count += 1;
                volume.bytes += bytes();
            }
        }
    }
    truth
}
