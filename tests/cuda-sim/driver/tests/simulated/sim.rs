//! The simulated driver as a folder that programs load from, and C programs compiled against it.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder with `libcuda.so.1`, made of the library that cargo built for this test.
pub(crate) fn simulator() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let built = test.ancestors().find_map(|folder| {
            let library = folder.join("libcuda_sim_driver.so");
            library.exists().then_some(library)
        });
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sim");
        std::fs::create_dir_all(&folder).unwrap();
        let built = built.expect("cargo built the library");
        make(&folder.join("libcuda.so.1"), |new| std::os::unix::fs::symlink(built, new).unwrap());
        folder
    })
}

/// Makes a file under another name first: tests of other processes make the same one at the same time.
fn make(out: &Path, build: impl FnOnce(&Path)) {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let new = out.with_extension(format!("{}-{number}", std::process::id()));
    build(&new);
    std::fs::rename(new, out).unwrap();
}

fn cc(source: &str, extra: &[&str], out: &Path) {
    let c = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c").join(format!("{source}.c"));
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let built = Command::new(compiler)
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-o"])
        .arg(out)
        .arg(c)
        .args(extra)
        .arg(simulator().join("libcuda.so.1"))
        .args(["-lm", "-lpthread"])
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

/// The program of this name, ready to run.
pub(crate) fn compile(source: &str) -> Command {
    let out = simulator().join(source);
    make(&out, |new| cc(source, &[], new));
    let mut command = Command::new(out);
    command
        .env("LD_LIBRARY_PATH", simulator())
        .env_remove("GPU_AGENT_CUDA_SIM")
        .env_remove("CUDA_INJECTION64_PATH");
    command
}

/// Compiles a shared library.
pub(crate) fn compile_library(source: &str, out: &Path) {
    make(out, |new| cc(source, &["-shared", "-fPIC"], new));
}

/// What a program that must succeed prints.
pub(crate) fn output(command: &mut Command, config: &str) -> String {
    let run = command.env("GPU_AGENT_CUDA_SIM", config).output().unwrap();
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{command:?} ended with {}: {stderr}", run.status);
    String::from_utf8(run.stdout).unwrap()
}
