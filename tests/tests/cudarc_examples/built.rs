//! cudarc's examples, built where cargo has unpacked the crate.
//!
//! Enters: the package that the workspace depends on. Leaves: programs. Refuses: sources other than those that
//! `SHA256SUMS` lists, for those are what the table was worked out from; and, in CI, to go on without a download.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gpu_agent_tests::programs;
use gpu_agent_tests::workload::Start;

use super::table::{EXAMPLES, Example, NOT_RUN};

/// The CUDA version is that of the simulated driver. Libraries are looked for at run time, also where a CUDA toolkit is
/// installed that cudarc could link.
const FEATURES: &str = "std,driver,nvrtc,cupti,cuda-12040,dynamic-loading";

/// The examples, ready to run.
#[derive(Debug)]
pub(crate) struct Built {
    /// The unpacked crate, from where the examples read files.
    package: PathBuf,
    programs: PathBuf,
    /// libnvrtc, where it could be downloaded.
    compiler: Option<PathBuf>,
}

impl Built {
    /// Builds them, or finds them built; `None`, after saying why, where a download they need is not possible.
    pub(crate) fn get() -> Option<Self> {
        let package = package();
        check_sources(&package);
        let cache = std::env::var_os("GPU_AGENT_CACHE")
            .map_or_else(|| programs::repository().join("target"), PathBuf::from)
            .join("cudarc-examples");
        let mut build = cargo();
        build.args(["build", "--quiet", "--locked", "--examples", "--no-default-features"]);
        build.args(["--features", FEATURES, "--manifest-path"]).arg(package.join("Cargo.toml"));
        let built = build.arg("--target-dir").arg(&cache).output().unwrap();
        let said = String::from_utf8_lossy(&built.stderr);
        if said.contains("failed to download") || said.contains("failed to get") {
            skip("cudarc's own dependencies cannot be downloaded");
            return None;
        }
        assert!(built.status.success(), "cudarc's examples do not build: {said}");
        Some(Self { package, programs: cache.join("debug/examples"), compiler: compiler() })
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
    pub(crate) fn folder(&self) -> &Path {
        &self.package
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
        start.program("env").arguments(["-C".into(), self.package.clone(), self.program(example.name)])
    }

    /// Folders of libraries: the simulated ones, and the compiler.
    pub(crate) fn libraries(&self) -> std::ffi::OsString {
        std::env::join_paths([programs::simulator()].iter().chain(&self.compiler)).unwrap()
    }
}

/// Says why something is not checked, which must not happen in CI.
fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "skipped, which must not happen in CI: {why}");
    println!("skipped: {why}");
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(programs::repository());
    cargo
}

/// The unpacked crate, as `Cargo.lock` pins it.
fn package() -> PathBuf {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let metadata = cargo()
        .args(["metadata", "--locked", "--format-version", "1", "--filter-platform", &platform])
        .output();
    let metadata: serde_json::Value = serde_json::from_slice(&successful(metadata.unwrap()).stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let cudarc: Vec<_> = packages.iter().filter(|package| package["name"] == "cudarc").collect();
    assert_eq!(cudarc.len(), 1, "one version of cudarc");
    Path::new(cudarc[0]["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned()
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

/// The output, if the command has succeeded.
pub(crate) fn successful(output: Output) -> Output {
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    output
}
