//! How the binaries start: they load `libgpu_agent_kernels.so`, which lies beside them, and run the program of that
//! name in it. So the entry points run in the library, as an engine's do, and a probe placed on the library sees
//! every caller. Refuses to run where the library is not found, and says where it looked.
#![allow(unsafe_code, reason = "a C function is called in a library that is loaded at run time")]

use std::cmp::Reverse;
use std::path::Path;
use std::process::ExitCode;

const LIBRARY: &str = "libgpu_agent_kernels.so";

/// Runs `main` of `program`: the body of the exported functions below.
fn guarded(program: fn() -> u8) -> u8 {
    // A panic must not leave through a C function; its message has been printed.
    std::panic::catch_unwind(program).unwrap_or(101)
}

/// The program `gpu-agent-workload`, for the binary of that name. Returns the exit status.
#[unsafe(no_mangle)]
pub extern "C" fn gpu_agent_workload_main() -> u8 {
    guarded(crate::workload::main)
}

/// The program `gpu-agent-kernel-bench`, for the binary of that name. Returns the exit status.
#[unsafe(no_mangle)]
pub extern "C" fn gpu_agent_kernel_bench_main() -> u8 {
    guarded(crate::bench::main)
}

/// Runs the exported program `symbol` of the library beside this executable.
#[must_use]
pub fn run(symbol: &str) -> ExitCode {
    match load(symbol) {
        Ok(program) => ExitCode::from(program()),
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn load(symbol: &str) -> Result<extern "C" fn() -> u8, String> {
    let executable =
        std::env::current_exe().map_err(|error| format!("the path of this program is not known: {error}"))?;
    let folder = executable.parent().unwrap_or(Path::new("."));
    let mut candidates =
        [folder.join(LIBRARY), folder.join("deps").join(LIBRARY), folder.join("../lib").join(LIBRARY)];
    // cargo leaves the library in one place or two, and the newest is the one built with this program.
    candidates.sort_by_key(|path| Reverse(path.metadata().and_then(|file| file.modified()).ok()));
    let mut refusals = Vec::new();
    for path in &candidates {
        match load_from(path, symbol) {
            Ok(program) => return Ok(program),
            Err(error) => refusals.push(format!("\n  {}: {error}", path.display())),
        }
    }
    Err(format!(
        "no usable {LIBRARY}: build it with `cargo build -p gpu-agent-kernels`, or put it beside this program{}",
        refusals.concat()
    ))
}

fn load_from(path: &Path, symbol: &str) -> Result<extern "C" fn() -> u8, libloading::Error> {
    // SAFETY: the library is this package's own, built with this program; it has no initialisers.
    let library = unsafe { libloading::Library::new(path) }?;
    // SAFETY: every exported program has this type.
    let program = *unsafe { library.get::<extern "C" fn() -> u8>(symbol) }?;
    // The library stays for the life of the process.
    std::mem::forget(library);
    Ok(program)
}
