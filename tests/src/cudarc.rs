//! The cudarc that the workspace depends on: its sources, and programs made of them.
//!
//! Enters: `Cargo.lock`. Leaves: the unpacked crate, its examples built, and one of them in a program that takes orders.
//! Refuses: another version than the locked one; in CI, to go on without a download.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

use crate::{GroundTruth, Volume, bare, programs};

/// The CUDA version is that of the simulated driver. Libraries are looked for at run time, also where a CUDA toolkit is
/// installed that cudarc could link.
const FEATURES: &str = "std,driver,nvrtc,cupti,cuda-12040,dynamic-loading";
/// The example that is run to order.
const EXAMPLE: &str = "examples/03-launch-kernel.rs";

/// What `cargo metadata` says of it.
fn metadata() -> &'static Value {
    static METADATA: OnceLock<Value> = OnceLock::new();
    METADATA.get_or_init(|| {
        let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let arguments = ["metadata", "--locked", "--format-version", "1", "--filter-platform", &platform];
        let output = successful(cargo().args(arguments).output().unwrap());
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let packages = metadata["packages"].as_array().unwrap();
        let cudarc: Vec<_> = packages.iter().filter(|package| package["name"] == "cudarc").collect();
        assert_eq!(cudarc.len(), 1, "one version of cudarc");
        cudarc[0].clone()
    })
}

/// The folder of the unpacked crate.
#[must_use]
pub fn package() -> &'static Path {
    Path::new(metadata()["manifest_path"].as_str().unwrap()).parent().unwrap()
}

/// The folder with all examples, built; `None`, after saying why, where a download they need is not possible.
#[must_use]
pub fn examples() -> Option<PathBuf> {
    let cache = cache("cudarc-examples");
    let mut build = cargo();
    build.args(["build", "--quiet", "--locked", "--examples", "--no-default-features"]);
    build.args(["--features", FEATURES, "--manifest-path"]).arg(package().join("Cargo.toml"));
    build.arg("--target-dir").arg(&cache);
    is_built(&mut build).then(|| cache.join("debug/examples"))
}

/// A program that runs one of the examples as often as it is told to; `None`, after saying why, where a download it needs is
/// not possible.
#[must_use]
pub fn orders() -> Option<PathBuf> {
    let cache = cache("cudarc-orders");
    let manifest = format!(
        "[package]\nname = \"cudarc-orders\"\nedition = \"2021\"\n\n\
         [[bin]]\nname = \"cudarc-orders\"\npath = {:?}\n\n\
         [dependencies]\ncudarc = {{ version = \"={}\", default-features = false, features = {:?} }}\n\n[workspace]\n",
        bare::source("cudarc.rs"),
        metadata()["version"].as_str().unwrap(),
        FEATURES.split(',').collect::<Vec<_>>(),
    );
    std::fs::create_dir_all(&cache).unwrap();
    // Tests of several processes come here at once; one builds, the others find the result.
    let lock = std::fs::File::create(cache.join("lock")).unwrap();
    lock.lock().unwrap();
    std::fs::write(cache.join("Cargo.toml"), manifest).unwrap();
    // The versions that the workspace has of all that it depends on.
    std::fs::copy(programs::repository().join("Cargo.lock"), cache.join("Cargo.lock")).unwrap();
    let mut build = cargo();
    build.args(["build", "--quiet", "--manifest-path"]).arg(cache.join("Cargo.toml"));
    build.arg("--target-dir").arg(cache.join("target")).env("EXAMPLE", package().join(EXAMPLE));
    is_built(&mut build).then(|| cache.join("target/debug/cudarc-orders"))
}

/// What the example that is run to order does in `runs` runs, as `tests/cudarc_examples/table.rs` has it.
#[must_use]
pub fn truth(runs: u64) -> GroundTruth {
    let volume = |count, bytes| Volume { count: count * runs, bytes: bytes * runs };
    GroundTruth {
        launches: [("sin_kernel".to_owned(), runs)].into(),
        copies: [("h2d", volume(1, 12)), ("d2d", volume(1, 12)), ("d2h", volume(2, 24))]
            .map(|(direction, volume)| (direction.to_owned(), volume))
            .into(),
        memory: ["alloc", "free"].map(|operation| (operation.to_owned(), 2 * runs)).into(),
        ..GroundTruth::default()
    }
}

fn is_built(build: &mut Command) -> bool {
    let output = build.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("failed to download") || said.contains("failed to get") {
        skip("cudarc's own dependencies cannot be downloaded");
        return false;
    }
    assert!(output.status.success(), "cudarc's examples do not build: {said}");
    true
}

fn cache(name: &str) -> PathBuf {
    std::env::var_os("GPU_AGENT_CACHE")
        .map_or_else(|| programs::repository().join("target"), PathBuf::from)
        .join(name)
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(programs::repository());
    cargo
}

/// Says why something is not checked, which must not happen in CI.
pub fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "skipped, which must not happen in CI: {why}");
    println!("skipped: {why}");
}

/// The output, if the command has succeeded.
#[must_use]
pub fn successful(output: Output) -> Output {
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    output
}
