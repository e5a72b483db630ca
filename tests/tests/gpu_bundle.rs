//! The bundle for machines with a GPU, unpacked and run elsewhere, on the simulated device.
//!
//! Enters: the built programs. Leaves: nothing. Refuses: a bundle that needs cargo or this checkout, and a report that
//! hides the simulation.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::process::{Command, Output};

use gpu_agent_tests::programs;

fn successful(output: std::io::Result<Output>) -> Output {
    let output = output.unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{said}\n{complained}", output.status);
    output
}

#[test]
fn the_bundle_runs_without_this_checkout_and_says_that_the_device_is_simulated() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("bundle.tar.gz");
    let target = programs::folder().parent().unwrap();
    successful(
        Command::new(programs::repository().join("tests/gpu/bundle.sh"))
            .arg(&archive)
            .env("CARGO_TARGET_DIR", target)
            .env("GPU_AGENT_BUILT", "yes")
            .output(),
    );
    assert!(archive.metadata().unwrap().len() <= 60_000_000);
    successful(Command::new("tar").arg("-xzf").arg(&archive).current_dir(folder.path()).output());
    let ran = Command::new(folder.path().join("gpu-agent-gpu-bundle/run.sh"))
        .arg(folder.path().join("results"))
        .current_dir("/")
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("GPU_AGENT_DEVICE", "simulated")
        .output();
    let said = String::from_utf8(successful(ran).stdout).unwrap();
    assert!(said.contains("Simulated device: kernels ran on the CPU"), "{said}");
    assert!(said.ends_with("Every part ran.\n"), "{said}");

    let results: Vec<_> =
        std::fs::read_dir(folder.path().join("results")).unwrap().map(Result::unwrap).collect();
    let with_ending = |ending: &str| {
        results.iter().filter(|entry| entry.file_name().to_string_lossy().ends_with(ending)).count()
    };
    assert_eq!((with_ending(".md"), with_ending(".cupti")), (1, 2));
}
