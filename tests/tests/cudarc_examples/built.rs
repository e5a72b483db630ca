//! cudarc's examples, built where cargo has unpacked the crate.
//!
//! Enters: the package that the workspace depends on. Leaves: programs. Refuses: sources other than those that
//! `SHA256SUMS` lists, for those are what the table was worked out from; and, in CI, to go on without a download.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use gpu_agent_tests::cudarc::{self, skip, successful};
use gpu_agent_tests::programs;
use gpu_agent_tests::workload::Start;

use super::table::{EXAMPLES, Example, NOT_RUN};

/// The examples, ready to run.
#[derive(Debug)]
pub(crate) struct Built {
    programs: PathBuf,
    /// libnvrtc, where it could be downloaded.
    compiler: Option<PathBuf>,
}

impl Built {
    /// Builds them, or finds them built; `None`, after saying why, where a download they need is not possible.
    pub(crate) fn get() -> Option<Self> {
        check_sources(cudarc::package());
        Some(Self { programs: cudarc::examples()?, compiler: compiler() })
    }

    /// The rows that can run here.
    pub(crate) fn examples(&self) -> Vec<Example> {
        let can_run = |example: &Example| !example.compiles || self.compiler.is_some();
        EXAMPLES.into_iter().filter(can_run).collect()
    }

    /// The program.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// The folder that the examples are to be started in.
    pub(crate) fn folder(&self) -> &'static Path {
        cudarc::package()
    }

    /// How `gpu-agent run` starts the example, on a device that `simulator` sets up.
    pub(crate) fn start(&self, example: &Example, simulator: &str) -> Start {
        let start = Start::new(simulator).variable("LD_LIBRARY_PATH", self.libraries());
        let start = if example.is_profiler {
            start.variable("LD_PRELOAD", programs::simulator().join("libcuda.so.1"))
        } else {
            start
        };
        // `env` becomes the example: the same process, in the folder it wants.
        start.program("env").arguments(["-C".into(), self.folder().to_owned(), self.program(example.name)])
    }

    /// Folders of libraries: the simulated ones, and the compiler.
    pub(crate) fn libraries(&self) -> std::ffi::OsString {
        std::env::join_paths([programs::simulator()].iter().chain(&self.compiler)).unwrap()
    }
}

/// The sources are those of the table, and the table has all of them.
fn check_sources(package: &Path) {
    let sums = programs::repository().join("tests/tests/cudarc_examples/SHA256SUMS");
    let checked = Command::new("sha256sum")
        .args(["--check", "--quiet"])
        .arg(sums)
        .current_dir(package)
        .output()
        .unwrap();
    assert!(
        checked.status.success(),
        "cudarc's examples are not those that the table was worked out from; read them again: {}{}",
        String::from_utf8_lossy(&checked.stdout),
        String::from_utf8_lossy(&checked.stderr),
    );
    let files = std::fs::read_dir(package.join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let there: BTreeSet<String> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let known = EXAMPLES.iter().map(|example| example.name).chain([NOT_RUN]).map(str::to_owned).collect();
    assert_eq!(there, known, "the examples and the table");
}

/// libnvrtc, where it can be downloaded.
fn compiler() -> Option<PathBuf> {
    /// Exit status by which the script says that it could not download.
    const NOT_DOWNLOADED: i32 = 75;

    if std::env::consts::ARCH != "x86_64" {
        skip("the examples that compile: libnvrtc is fetched for x86_64 only");
        return None;
    }
    let fetched = Command::new(programs::repository().join("tests/tools/fetch-nvrtc.sh")).output().unwrap();
    if fetched.status.code() == Some(NOT_DOWNLOADED) {
        let said = String::from_utf8_lossy(&fetched.stderr);
        skip(&format!("the examples that compile: {}", said.lines().last().unwrap_or_default()));
        return None;
    }
    Some(PathBuf::from(String::from_utf8(successful(fetched).stdout).unwrap().trim()))
}
