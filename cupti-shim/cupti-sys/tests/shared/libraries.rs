//! In: nothing. Out: NVIDIA's own libcupti of several releases, fetched by `tests/tools/fetch-cupti.sh` on first use.
//! Refuses to pass over a missing network in CI; elsewhere it says `skipped: why` and gives nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a broken fixture has to fail the test")]

use std::path::PathBuf;
use std::process::Command;

/// Exit status by which the script says that it could not download.
const NOT_DOWNLOADED: i32 = 75;

/// One library.
pub(crate) struct Library {
    /// Such as `12.9.79`.
    pub(crate) release: String,
    /// Where it lies.
    pub(crate) path: PathBuf,
}

/// The libraries of these releases, or of all that the script knows.
pub(crate) fn fetch(releases: &[&str]) -> Vec<Library> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/tools/fetch-cupti.sh");
    let output = Command::new(script).args(releases).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    match output.status.code() {
        Some(0) => {}
        Some(NOT_DOWNLOADED) if !in_ci => {
            println!("skipped: {}", said.lines().last().unwrap_or_default());
            return Vec::new();
        }
        _ => panic!("{script}: {}: {said}", output.status),
    }
    let libraries: Vec<_> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            let (release, path) = line.split_once(' ').unwrap();
            Library { release: release.to_owned(), path: PathBuf::from(path) }
        })
        .collect();
    assert!(!libraries.is_empty(), "{script} named no library");
    libraries
}
