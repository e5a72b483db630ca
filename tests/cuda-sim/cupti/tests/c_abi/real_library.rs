//! NVIDIA's own libcupti, fetched by `tests/tools/fetch-cupti.sh` on first use.
//!
//! Enters: a release. Leaves: the library's path. Refuses to pass over a missing network in CI; elsewhere it prints
//! `skipped: why` and gives nothing.

use std::path::Path;
use std::process::Command;

/// Exit status by which the script says that it could not download.
const NOT_DOWNLOADED: i32 = 75;

/// The real library of that release; `None` where it cannot be had.
pub(crate) fn fetch(release: &str) -> Option<String> {
    if !cfg!(target_arch = "x86_64") {
        println!("skipped: the libraries are for x86_64");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/fetch-cupti.sh");
    let output = Command::new(&script).arg(release).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    match output.status.code() {
        Some(0) => {}
        Some(NOT_DOWNLOADED) if !in_ci => {
            println!("skipped: {}", said.lines().last().unwrap_or_default());
            return None;
        }
        _ => panic!("{}: {}: {said}", script.display(), output.status),
    }
    let found = String::from_utf8(output.stdout).unwrap();
    let path = found.lines().find_map(|line| line.split_once(' '));
    Some(path.unwrap_or_else(|| panic!("{found}")).1.to_owned())
}
