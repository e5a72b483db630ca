//! Runs `program.c` on the simulated device with the library injected, and reads what was recorded.
//!
//! With `UPDATE_FIXTURES=1` the two whole recordings also replace those in `tests/fixtures/raw`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure has to fail the test"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use cupti_sys::{ActivityKind, ApiVersion, Status};
use gpu_agent_raw_dump::format::{Failure, Recording};

#[path = "shared/checks.rs"]
mod checks;
#[path = "shared/program.rs"]
mod program;

const PROGRAM_SAYS: &str =
    "launches 120, kernels 126, copies up 10, down 10, within 1, between devices 1, fills 10\n";

/// target/PROFILE/deps, where this program and the library lie.
fn deps() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

/// The folder of simulated libraries, built by the same profile as this program.
fn simulator() -> PathBuf {
    let deps = deps();
    let profile = deps.parent().unwrap();
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/cuda-sim-dir.sh"))
        .arg(profile.file_name().unwrap())
        .arg("--build")
        .env("CARGO_TARGET_DIR", profile.parent().unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end())
}

/// An empty folder of this name.
fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("raw-dump").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn compile(program: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program.c");
    let status = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-o"])
        .args([program, &source])
        .arg("-ldl")
        .status();
    assert!(status.unwrap().success(), "program.c does not compile");
}

/// Runs the program with the simulator so configured, and says where its recording lies. The program must not notice
/// that it is recorded.
fn record(name: &str, simulated: &str, environment: &[(&str, &str)]) -> PathBuf {
    record_with(name, simulated, environment, None)
}

fn record_with(name: &str, simulated: &str, environment: &[(&str, &str)], argument: Option<&str>) -> PathBuf {
    let folder = scratch(name);
    let (program, file) = (folder.join("program"), folder.join(name).with_extension("cupti"));
    compile(&program);
    let output = Command::new(&program)
        .args(argument)
        .env("LD_LIBRARY_PATH", simulator())
        .env("GPU_AGENT_CUDA_SIM", format!("quiet=on,{simulated}"))
        .env("CUDA_INJECTION64_PATH", deps().join("libgpu_agent_raw_dump.so"))
        .env("GPU_AGENT_RAW_DUMP", &file)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), PROGRAM_SAYS);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    file
}

fn check_whole(name: &str, simulated: &str, version: ApiVersion, library: &str) {
    let path = record(name, simulated, &[]);
    let file = std::fs::read(&path).unwrap();
    let recording = Recording::parse(&file).unwrap();
    assert!(recording.simulated);
    assert_eq!(recording.failures, []);
    assert_eq!(recording.left_out, Default::default());
    assert_eq!((recording.cupti_version, recording.library), (version, library));
    program::check_whole(&checks::check(&recording));
    if std::env::var_os("UPDATE_FIXTURES").is_some_and(|value| value == "1") {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/raw");
        std::fs::copy(&path, fixtures.join(path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn a_whole_program_is_recorded_with_records_of_generation_9() {
    check_whole("simulated-gen9", "cupti_gen=9,driver=12040", ApiVersion(18), "libcupti.so.12");
}

#[test]
fn a_whole_program_is_recorded_with_records_of_generation_13() {
    check_whole("simulated-gen13", "cupti_gen=13,driver=13040", ApiVersion(130_401), "libcupti.so.13");
}

#[test]
fn late_partial_and_reordered_buffers_are_recorded_whole() {
    let file =
        std::fs::read(record("disorder", "cupti_gen=11,late_ms=5,partial=on,reorder=on", &[])).unwrap();
    let recording = Recording::parse(&file).unwrap();
    program::check_whole(&checks::check(&recording));
}

#[test]
fn a_forked_child_leaves_the_recording_to_its_parent() {
    let file = std::fs::read(record_with("fork", "cupti_gen=9", &[], Some("fork"))).unwrap();
    let recording = Recording::parse(&file).unwrap();
    program::check_whole(&checks::check(&recording));
}

#[test]
fn the_newest_libcupti_that_the_driver_can_serve_is_taken() {
    let file = std::fs::read(record("older-driver", "driver=12080", &[])).unwrap();
    let recording = Recording::parse(&file).unwrap();
    assert_eq!((recording.driver_version, recording.library), (12_080, "libcupti.so.12"));
}

#[test]
fn a_named_libcupti_is_taken() {
    let named = simulator().join("libcupti.so.13");
    let environment = [("GPU_AGENT_RAW_DUMP_CUPTI", named.to_str().unwrap())];
    let file = std::fs::read(record("named", "driver=12080", &environment)).unwrap();
    assert_eq!(Recording::parse(&file).unwrap().library, "libcupti.so.13");
}

#[test]
fn what_goes_past_the_limit_is_counted() {
    let whole = std::fs::read(record("no-limit", "cupti_gen=9", &[])).unwrap();
    let whole = Recording::parse(&whole).unwrap();
    let file = std::fs::read(record("limit", "cupti_gen=9", &[("GPU_AGENT_RAW_DUMP_LIMIT_BYTES", "40000")]))
        .unwrap();
    assert!(file.len() <= 40_000);
    let recording = Recording::parse(&file).unwrap();
    assert!(recording.left_out.buffers > 0 && recording.left_out.api_records > 0, "{:?}", recording.left_out);
    checks::check(&recording);
    let api_calls = |recording: &Recording<'_>| {
        let kinds =
            recording.buffers.iter().flat_map(|buffer| buffer.records).map(|record| record.kind.get());
        kinds.filter(|&kind| kind == ActivityKind::DRIVER.0).count() as u64 + recording.left_out.api_records
    };
    assert_eq!(api_calls(&recording), api_calls(&whole));
}

#[test]
fn a_limit_that_is_no_number_is_told_in_the_file() {
    let file = std::fs::read(record("no-number", "devices=2", &[("GPU_AGENT_RAW_DUMP_LIMIT_BYTES", "1 MB")]))
        .unwrap();
    let recording = Recording::parse(&file).unwrap();
    assert_eq!(
        recording.failures[0].step,
        "GPU_AGENT_RAW_DUMP_LIMIT_BYTES is not a number from 4096 to 1000000"
    );
    assert!(recording.kinds.is_empty() && recording.buffers.is_empty());
}

#[test]
fn another_profiler_is_left_alone() {
    let file = std::fs::read(record("busy", "subscriber=busy", &[])).unwrap();
    let recording = Recording::parse(&file).unwrap();
    let failure =
        Failure { step: "cuptiSubscribe failed", status: Status::MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED };
    assert_eq!(recording.failures, [failure]);
    assert!(recording.kinds.is_empty() && recording.buffers.is_empty());
}

#[test]
fn a_kind_that_cupti_refuses_is_told_and_the_others_are_recorded() {
    let file = std::fs::read(record("refused", "cupti_gen=9,fail=cuptiActivityEnable:21@4", &[])).unwrap();
    let recording = Recording::parse(&file).unwrap();
    let refused: Vec<_> = recording.kinds.iter().filter(|asked| !asked.status.is_success()).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!((refused[0].kind, refused[0].status), (ActivityKind::MEMSET, Status::INVALID_KIND));
    let summary = checks::check(&recording);
    assert_eq!(summary.kinds.get(&ActivityKind::MEMSET), None);
    assert_eq!(summary.kinds.get(&ActivityKind::CONCURRENT_KERNEL), Some(&126));
}

#[test]
fn a_file_that_exists_is_not_touched() {
    let file = scratch("existing").join("existing.cupti");
    std::fs::write(&file, "mine").unwrap();
    record("exists", "devices=2", &[("GPU_AGENT_RAW_DUMP", file.to_str().unwrap())]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
}

#[test]
fn without_a_file_to_make_nothing_is_done() {
    let file = record("not-asked", "devices=2", &[("GPU_AGENT_RAW_DUMP", "")]);
    assert!(!file.exists());
}

#[test]
fn records_that_cupti_drops_are_counted() {
    let file = std::fs::read(record("dropped", "cupti_gen=9,drop_every=10", &[])).unwrap();
    let recording = Recording::parse(&file).unwrap();
    assert!(recording.left_out.dropped > 0, "{:?}", recording.left_out);
    checks::check(&recording);
}
