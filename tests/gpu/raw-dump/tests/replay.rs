//! Reads every recording in `tests/fixtures/raw`, as evidence of what CUPTI's records hold.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure has to fail the test"
)]

use std::path::{Path, PathBuf};

use cupti_sys::ActivityKind;
use gpu_agent_raw_dump::format::Recording;

#[path = "shared/checks.rs"]
mod checks;
#[path = "shared/program.rs"]
mod program;

/// Most bytes of all recordings together.
const MAX_TOTAL_BYTES: usize = 1_000_000;
/// Most bytes of a recording that was made on the simulated device.
const MAX_SIMULATED_BYTES: usize = 100_000;

/// Name and content of each recording, by name.
fn recordings() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/raw");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "cupti"));
    files.sort();
    assert!(!files.is_empty(), "{} holds no recording", folder.display());
    let name = |file: &PathBuf| file.file_stem().unwrap().to_str().unwrap().to_owned();
    files.iter().map(|file| (name(file), std::fs::read(file).unwrap())).collect()
}

#[test]
fn every_recording_holds_what_the_views_expect() {
    for (name, file) in recordings() {
        println!("{name}");
        let recording = Recording::parse(&file).unwrap();
        assert_eq!(recording.failures, [], "{name}");
        let summary = checks::check(&recording);
        for kind in [ActivityKind::CONCURRENT_KERNEL, ActivityKind::DEVICE] {
            assert!(summary.kinds.contains_key(&kind), "{name} holds no {kind} record");
        }
        println!("  CUPTI {}, {}: {summary:?}", recording.cupti_version.0, recording.library);
    }
}

#[test]
fn simulated_recordings_hold_all_that_the_program_did() {
    let files = recordings();
    for name in ["simulated-gen9", "simulated-gen13"] {
        let (_, file) = files.iter().find(|(file, _)| file == name).expect(name);
        let recording = Recording::parse(file).unwrap();
        assert_eq!(recording.left_out, Default::default(), "{name}");
        program::check_whole(&checks::check(&recording));
    }
}

#[test]
fn the_name_says_whether_the_device_was_simulated() {
    for (name, file) in recordings() {
        assert_eq!(Recording::parse(&file).unwrap().simulated, name.starts_with("simulated-"), "{name}");
    }
}

#[test]
fn recordings_stay_small() {
    let files = recordings();
    for (name, file) in files.iter().filter(|(name, _)| name.starts_with("simulated-")) {
        assert!(file.len() <= MAX_SIMULATED_BYTES, "{name}: {} bytes", file.len());
    }
    let total: usize = files.iter().map(|(_, file)| file.len()).sum();
    assert!(total <= MAX_TOTAL_BYTES, "{total} bytes");
}
