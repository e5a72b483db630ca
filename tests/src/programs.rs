//! Where the programs under test are.
//!
//! Enters: `GPU_AGENT_PROGRAMS`, or the folder of the running test. Leaves: paths. Refuses: to run a test without them;
//! the panic says how to build them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The repository.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The folder of the release build.
#[must_use]
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        if let Some(folder) = std::env::var_os("GPU_AGENT_PROGRAMS") {
            return folder.into();
        }
        // target/PROFILE/deps/TEST
        let test = std::env::current_exe().expect("the path of the test");
        test.ancestors().nth(3).expect("a target folder").join("release")
    })
}

/// One of the programs or libraries.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let path = folder().join(name);
    assert!(path.exists(), "{} is not there; build it with tests/tools/build.sh", path.display());
    path
}

/// The folder with the simulated CUDA libraries.
#[must_use]
pub fn simulator() -> PathBuf {
    program("cuda-sim")
}

/// The Python of the tests' environment; `None`, after saying why, where it cannot be made.
#[must_use]
pub fn python() -> Option<PathBuf> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    PYTHON
        .get_or_init(|| {
            let made = Command::new(repository().join("tests/tools/venv.sh")).output().expect("bash");
            if made.status.success() {
                let path = String::from_utf8(made.stdout).expect("a path");
                return Some(Path::new(path.trim()).join("bin/python"));
            }
            println!("skipped: {}", String::from_utf8_lossy(&made.stderr).lines().last().unwrap_or_default());
            None
        })
        .clone()
}
