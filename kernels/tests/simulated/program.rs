//! Finds the simulated driver and starts programs on it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A folder with the simulated `libcuda.so.1` in it, where that is built.
fn simulator() -> Option<PathBuf> {
    let built = Path::new(env!("CARGO_BIN_EXE_gpu-agent-workload")).parent()?;
    let target = built.parent()?;
    let library = ["debug", "release"]
        .into_iter()
        .flat_map(|profile| [target.join(profile), target.join(profile).join("deps")])
        .map(|folder| folder.join("libcuda_sim_driver.so"))
        .filter(|path| path.exists())
        .max_by_key(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok());
    let Some(library) = library else {
        println!("skipped: the simulated driver is not built (tests/tools/cuda-sim-dir.sh debug --build)");
        return None;
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("simulator");
    fs::create_dir_all(&folder).unwrap();
    // Tests run at the same time: each puts its own link in place in one step.
    let link = folder.join(format!("link-{}", std::process::id()));
    symlink(library, &link).unwrap();
    fs::rename(&link, folder.join("libcuda.so.1")).unwrap();
    Some(folder)
}

/// A command that sees the simulated driver, configured by `settings` (see `tests/cuda-sim/README.md`).
pub(crate) fn command(program: &str, arguments: &str, settings: &str) -> Option<Command> {
    let mut command = Command::new(program);
    command
        .args(arguments.split_whitespace())
        .env("LD_LIBRARY_PATH", simulator()?)
        .env("GPU_AGENT_CUDA_SIM", settings)
        .env_remove("CUDA_INJECTION64_PATH")
        .env_remove("LD_PRELOAD");
    Some(command)
}

/// Lines of standard output that are JSON.
pub(crate) fn json_lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
