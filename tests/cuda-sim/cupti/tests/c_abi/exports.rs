//! The built library: its name, and that it has no function which the real one lacks.
//!
//! Libraries are loaded by child processes. Where NVIDIA's cannot be downloaded the test prints `skipped: why`.

use crate::real_library::fetch;
use std::collections::BTreeSet;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Release of the real library, and the API version of the flavour that must match it.
const PAIRS: [(&str, u32); 7] = [
    ("12.0.146", 18),
    ("12.4.127", 22),
    ("12.8.90", 26),
    ("12.9.79", 28),
    ("13.0.85", 130_001),
    ("13.1.115", 130_101),
    ("13.4.92", 130_401),
];

/// In a child: the libraries to load.
const LOOK_UP: &str = "CUPTI_SIM_TEST_LOOK_UP";

/// Where cargo puts the cdylib that belongs to this test.
fn built() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let library = test.parent().unwrap().join("libcuda_sim_cupti.so");
    assert!(library.is_file(), "{} is missing", library.display());
    library
}

/// Names in the file that look like exported functions.
fn names(library: &Path) -> BTreeSet<String> {
    let bytes = std::fs::read(library).unwrap();
    let words = bytes.split(|byte| *byte == 0).filter_map(|word| std::str::from_utf8(word).ok());
    let functions = words.filter(|word| {
        let is_name = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        word.starts_with("cupti") && word.len() > "cupti".len() && is_name
    });
    functions.map(str::to_owned).collect()
}

/// A copy without the functions that `version` lacks.
fn flavour(version: u32) -> PathBuf {
    let copy = std::env::temp_dir().join(format!("libcupti-flavour-{version}-{}.so", std::process::id()));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("flavour.sh");
    let status = Command::new(script).arg(version.to_string()).arg(built()).arg(&copy).status().unwrap();
    assert!(status.success());
    copy
}

/// Which of these functions `dlsym` finds, in a process of its own.
fn found(library: &Path, functions: &BTreeSet<String>) -> BTreeSet<String> {
    let names: Vec<_> = functions.iter().map(String::as_str).collect();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "exports::each_flavour_has_only_functions_of_the_real_library", "--nocapture"])
        .env(LOOK_UP, format!("{} {}", library.display(), names.join(" ")))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("found ")).map(str::to_owned).collect()
}

/// In the child: prints a line `found NAME` for each function that is there.
fn look_up(library: &str, functions: &[&str]) {
    let library = CString::new(library).unwrap();
    // SAFETY: NUL-terminated names; loading these libraries runs nothing that needs a driver.
    unsafe {
        let handle = libc::dlopen(library.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        assert!(!handle.is_null(), "{library:?} does not load");
        for function in functions {
            let name = CString::new(*function).unwrap();
            if !libc::dlsym(handle, name.as_ptr()).is_null() {
                println!("found {function}");
            }
        }
    }
}

#[test]
fn each_flavour_has_only_functions_of_the_real_library() {
    if let Ok(task) = std::env::var(LOOK_UP) {
        let words: Vec<_> = task.split(' ').collect();
        look_up(words[0], &words[1..]);
        return;
    }
    let all = found(&built(), &names(&built()));
    assert!(all.len() >= 39, "{all:?}");
    for (release, version) in PAIRS {
        let Some(real) = fetch(release) else { return };
        let copy = flavour(version);
        let ours = found(&copy, &all);
        std::fs::remove_file(&copy).unwrap();
        let theirs = found(Path::new(&real), &all);
        assert_eq!(ours, theirs, "{release}");
    }
}

#[test]
fn the_library_calls_itself_libcupti_12() {
    let bytes = std::fs::read(built()).unwrap();
    let soname = b"\0libcupti.so.12\0";
    assert!(bytes.windows(soname.len()).any(|window| window == soname));
}
