//! The committed PTX is what the sources compile to, and its entries are the kernels this crate says they are.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops where its expectations do not hold"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gpu_agent_kernels::element::Dtype;
use gpu_agent_kernels::kernel::Kernel;
use sha2::{Digest, Sha256};

fn kernels() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files of `folder` with this extension, by name.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(kernels().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

/// As `source_hash` in `tools/build_ptx.py`: name, size and bytes of the build script, each header, the source.
fn source_hash(source: &Path) -> String {
    let mut inputs = vec![kernels().join("tools/build_ptx.py")];
    inputs.extend(files("cuda", "cuh"));
    inputs.push(source.to_path_buf());
    let mut digest = Sha256::new();
    for input in inputs {
        let content = fs::read(&input).unwrap();
        digest.update(format!("{}\n{}\n", input.file_name().unwrap().to_str().unwrap(), content.len()));
        digest.update(content);
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn each_ptx_file_names_the_hash_of_its_source() {
    let mut expected = Vec::new();
    for source in files("cuda", "cu") {
        let hash = source_hash(&source);
        for dtype in Dtype::ALL {
            let name = format!("{}_{dtype}.ptx", source.file_stem().unwrap().to_str().unwrap());
            let path = kernels().join("ptx").join(&name);
            let text = fs::read_to_string(&path).unwrap();
            let first = text.lines().next().unwrap();
            assert_eq!(
                first,
                format!("// sha256:{hash} nvidia-cuda-nvrtc-cu12==12.4.127 compute_80"),
                "{name} is not built from the present sources: run kernels/tools/build-ptx.sh"
            );
            expected.push(path);
        }
    }
    expected.sort();
    assert_eq!(files("ptx", "ptx"), expected);
}

/// Rebuilds with the pinned compiler. Needs pip; where the compiler cannot be had, says so, which CI does not accept.
#[test]
fn rebuilding_gives_the_same_bytes() {
    let output = Command::new(kernels().join("tools/build-ptx.sh")).arg("--check").output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => {}
        Some(69) => {
            println!("skipped: the PTX compiler could not be installed: {message}");
        }
        code => panic!("exit status {code:?}: {message}"),
    }
}

/// Parameter sizes and static shared memory of one PTX entry.
#[derive(Debug, Default, PartialEq)]
struct Entry {
    param_sizes: Vec<usize>,
    shared_bytes: u32,
}

fn entries(ptx: &str) -> BTreeMap<String, Entry> {
    let mut entries = BTreeMap::new();
    let mut current: Option<(String, Entry)> = None;
    for line in ptx.lines() {
        if let Some((_, rest)) = line.split_once(".entry ") {
            entries.extend(current.take());
            current = Some((rest.trim_end_matches('(').to_owned(), Entry::default()));
        } else if let Some((_, entry)) = &mut current {
            if let Some(rest) = line.trim().strip_prefix(".param .") {
                let kind = rest.split_whitespace().next().unwrap();
                entry.param_sizes.push(match kind {
                    "u64" => 8,
                    "u32" | "f32" => 4,
                    other => panic!("parameter of type {other}"),
                });
            } else if let Some((_, rest)) = line.split_once(".shared .align 4 .b8 ") {
                let (_, size) = rest.split_once('[').unwrap();
                entry.shared_bytes += size.trim_end_matches("];").parse::<u32>().unwrap();
            }
        }
    }
    entries.extend(current);
    entries
}

#[test]
fn entries_have_the_parameters_and_shared_memory_of_the_table() {
    let mut found = BTreeMap::new();
    for path in files("ptx", "ptx") {
        found.extend(entries(&fs::read_to_string(path).unwrap()));
    }
    assert_eq!(found.len(), Kernel::COUNT);
    for kernel in Kernel::all() {
        let device = kernel.device().unwrap();
        let expected =
            Entry { param_sizes: device.param_sizes.to_vec(), shared_bytes: device.static_shared_bytes };
        assert_eq!(found.get(kernel.name()), Some(&expected), "{}", kernel.name());
    }
}
