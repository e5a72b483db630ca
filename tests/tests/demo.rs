//! `make demo`, shortened.
//!
//! Enters: the built programs. Leaves: nothing. Refuses: a demonstration that hides the simulation, or what it promises.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::process::Command;

use gpu_agent_tests::{agent, programs};

#[test]
fn the_demonstration_shows_a_table_a_summary_and_where_everything_is() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(programs::repository().join("deploy/demo.sh"))
        .env("DEMO_SECONDS", "2")
        .env("DEMO_LISTEN", agent::free_address().to_string())
        .env("TMPDIR", folder.path())
        .env("CARGO_TARGET_DIR", programs::folder().parent().unwrap())
        .env("GPU_AGENT_BUILT", "yes")
        .env("GPU_AGENT_DEVICE", "simulated")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    for promised in [
        "device: simulated",
        "SIMULATED DEVICE",
        "gemm_f16",
        "paged_attention use_v1=true",
        "h2d",
        "GB/s",
        "cupti dropped 0",
        "JSON log",
        "/metrics",
        "own counts",
    ] {
        assert!(said.contains(promised), "no `{promised}` in:\n{said}");
    }
    let of_probes: &[&str] = if rustix::process::geteuid().is_root() {
        &["gpu-agent-kernels paged_attention_v1", "query f16[", "host p50", "probes: "]
    } else {
        &["not root", "no call of a probed entry point"]
    };
    for promised in of_probes {
        assert!(said.contains(promised), "no `{promised}` in:\n{said}");
    }
    let kept = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let own = std::fs::read_to_string(kept.join("workload.out")).unwrap();
    assert!(own.contains("\"matches_plan\":true"), "{own}");
    assert!(kept.join("events.jsonl").metadata().unwrap().len() > 0);
}
