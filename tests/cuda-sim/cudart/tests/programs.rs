//! Runs a C program against each version of the simulated runtime, linked dynamically as nvcc would.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder that `cuda-sim-dir.sh` assembles, of this test's profile.
fn simulator() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().find(|folder| folder.join("deps").is_dir()).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/cuda-sim-dir.sh");
    let run = Command::new(script)
        .arg(built.file_name().unwrap())
        .arg("--build")
        .env("CARGO_TARGET_DIR", built.parent().unwrap())
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    PathBuf::from(String::from_utf8(run.stdout).unwrap().trim_end())
}

fn compile(folder: &Path, major: &str, name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("runtime-{major}-{name}"));
    let built = Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".into()))
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-o"])
        .arg(&program)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/c/runtime.c"))
        .arg(folder.join(format!("libcudart.so.{major}")))
        .arg("-lm")
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    program
}

#[test]
fn a_program_of_each_cuda_version_gives_right_results() {
    let folder = simulator();
    for major in ["12", "13"] {
        let program = compile(&folder, major, "whole");
        let run = Command::new(&program)
            .arg(major)
            .env("LD_LIBRARY_PATH", &folder)
            .env("GPU_AGENT_CUDA_SIM", "")
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&run.stdout), "ok\n", "{}", String::from_utf8_lossy(&run.stderr));
        assert!(run.status.success());
    }
}

#[test]
fn a_fail_rule_fails_the_call_that_it_names() {
    let folder = simulator();
    let program = compile(&folder, "12", "failing");
    let run = Command::new(&program)
        .arg("12")
        .env("LD_LIBRARY_PATH", &folder)
        .env("GPU_AGENT_CUDA_SIM", "fail=cudaEventCreate:2@2")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert!(stderr.contains("cudaEventCreate(&end) returned 2, expected 0"), "{stderr}");
}

#[test]
fn without_the_driver_every_call_says_so() {
    let folder = simulator();
    let alone = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cudart-alone");
    std::fs::create_dir_all(&alone).unwrap();
    std::fs::copy(folder.join("libcudart.so.12"), alone.join("libcudart.so.12")).unwrap();
    let program = compile(&folder, "12", "alone");
    let run = Command::new(&program).arg("12").env("LD_LIBRARY_PATH", &alone).output().unwrap();
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert!(stderr.contains("cudaRuntimeGetVersion(&version) returned 35"), "{stderr}");
}
