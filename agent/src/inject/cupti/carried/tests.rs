//! Folders as NVIDIA lays them out, and processes that one copy or none of them fits.

use std::path::Path;

use super::super::tests::cuda;
use super::*;

const NATIVE: Machine = if cfg!(target_arch = "aarch64") { Machine::Aarch64 } else { Machine::X86_64 };

/// The start of an ELF file of this processor, without sections: NVIDIA's own may not be passed on.
fn elf() -> Vec<u8> {
    let mut header = std::fs::read("/proc/self/exe").unwrap();
    header.truncate(64);
    // No program headers and no sections: e_phoff to e_shoff, e_phnum, e_shnum and e_shstrndx (elf(5)).
    for place in [32..48, 56..58, 60..64] {
        header[place].fill(0);
    }
    header
}

/// A folder with these libraries; a name `a -> b` is a link.
fn folder(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        let (name, target) = file.split_once(" -> ").map_or((*file, None), |(name, to)| (name, Some(to)));
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        match target {
            Some(target) => std::os::unix::fs::symlink(target, path).unwrap(),
            None => std::fs::write(path, elf()).unwrap(),
        }
    }
    folder
}

fn chosen(cuda: &Cuda, folder: &Path) -> Result<String, NotCarried> {
    let found = carried(cuda, folder, NATIVE)?;
    let path = found.path.strip_prefix(folder.canonicalize().unwrap()).unwrap().display().to_string();
    Ok(format!("{} {path}", found.release))
}

#[test]
fn the_newest_of_the_processs_major_that_the_driver_knows_is_taken() {
    let folder = folder(&[
        "libcupti.so.2024.1.1",
        "libcupti.so.2024.3.2",
        "libcupti.so.2025.1.0",
        "libcupti.so.2025.3.0",
        "libcupti.so.12 -> libcupti.so.2025.1.0",
    ]);
    let of = |paths: &[&str]| chosen(&cuda(paths), folder.path()).unwrap();
    assert_eq!(of(&["/libcuda.so.550.54.14", "/libcudart.so.12"]), "12.4 libcupti.so.2024.1.1");
    assert_eq!(of(&["/libcuda.so.565.57.01", "/libcudart.so.12"]), "12.6 libcupti.so.2024.3.2");
    assert_eq!(of(&["/libcuda.so.580.65.06", "/libcudart.so.12"]), "12.8 libcupti.so.2025.1.0");
    assert_eq!(
        of(&["/libcuda.so.580.65.06"]),
        "13.0 libcupti.so.2025.3.0",
        "a runtime that is linked statically"
    );
    assert_eq!(
        of(&["/libcuda.so.1", "/libcudart.so.12"]),
        "12.8 libcupti.so.2025.1.0",
        "the shim asks the driver"
    );
}

#[test]
fn wheels_and_toolkits_may_be_the_folder() {
    let folder = folder(&[
        "wheels/nvidia/cuda_cupti/lib/libcupti.so.12",
        "wheels/nvidia_cuda_cupti_cu12-12.4.127.dist-info/METADATA",
        "wheels13/nvidia/cu13/lib/libcupti.so.13",
        "wheels13/nvidia_cuda_cupti-13.0.85.dist-info/METADATA",
        "cuda-12.2/extras/CUPTI/lib64/libcupti.so.12 -> libcupti.so.2023.2.2",
        "cuda-12.2/extras/CUPTI/lib64/libcupti.so.2023.2.2",
    ]);
    let of = |paths: &[&str]| chosen(&cuda(paths), folder.path()).unwrap();
    assert_eq!(of(&["/libcuda.so.580.65.06"]), "13.0 wheels13/nvidia/cu13/lib/libcupti.so.13");
    assert_eq!(of(&["/libcuda.so.550.54.14"]), "12.4 wheels/nvidia/cuda_cupti/lib/libcupti.so.12");
    assert_eq!(of(&["/libcuda.so.535.1"]), "12.2 cuda-12.2/extras/CUPTI/lib64/libcupti.so.2023.2.2");
}

#[test]
fn each_way_of_having_none_says_what_would_do() {
    // The second is none: it has no function.
    let copies = folder(&["libcupti.so.2024.3.2", "libcupti.so.12"]);
    let said = |paths: &[&str], folder: &Path| chosen(&cuda(paths), folder).unwrap_err().to_string();
    let too_old = said(&["/libcuda.so.550.54.14", "/libcudart.so.12"], copies.path());
    assert!(too_old.contains("(12.6) is of CUDA 12 and no newer than the driver's 12.4"), "{too_old}");
    let other_major = said(&["/libcuda.so.580.65.06", "/libcudart.so.13"], copies.path());
    assert!(other_major.contains("of CUDA 13"), "{other_major}");
    assert!(said(&["/libcuda.so.1"], copies.path()).contains("tells which CUDA"));
    let empty = tempfile::tempdir().unwrap();
    assert!(said(&["/libcuda.so.580.65.06"], empty.path()).contains("no libcupti for this processor"));
    assert!(said(&["/libcuda.so.580.65.06"], &empty.path().join("absent")).contains("cannot be read"));
}

#[test]
fn what_is_no_library_for_this_processor_is_no_copy() {
    let folder = folder(&[]);
    let mut foreign = elf();
    // e_machine: RISC-V.
    foreign[18..20].copy_from_slice(&243_u16.to_le_bytes());
    std::fs::write(folder.path().join("libcupti.so.2024.3.2"), foreign).unwrap();
    std::fs::write(folder.path().join("libcupti.so.2024.2.1"), "text").unwrap();
    std::fs::create_dir(folder.path().join("libcupti.so.2024.1.1")).unwrap();
    let outcome = chosen(&cuda(&["/libcuda.so.580.65.06"]), folder.path());
    assert!(matches!(outcome, Err(NotCarried::None { .. })), "{outcome:?}");
}

#[test]
fn nvidias_own_libraries_are_known_by_their_functions_alone() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/tools/fetch-cupti.sh");
    let expected = [
        ("11.8.87", "11.8"),
        ("12.0.146", "12.0"),
        ("12.4.127", "12.4"),
        ("12.9.79", "12.9"),
        ("13.1.115", "13.1"),
    ];
    let output =
        std::process::Command::new(script).args(expected.map(|(version, _)| version)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(75) && std::env::var_os("CI").is_none_or(|value| value != "true") {
        println!("skipped: {}", said.lines().last().unwrap_or_default());
        return;
    }
    assert!(output.status.success(), "{said}");
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let (version, path) = line.split_once(' ').unwrap();
        let (_, release) = expected.iter().find(|(known, _)| *known == version).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join(Path::new(path).file_name().unwrap());
        std::fs::hard_link(path, &link).or_else(|_| std::fs::copy(path, &link).map(drop)).unwrap();
        let found = copies(folder.path(), Machine::X86_64).unwrap();
        assert_eq!(found[0].release.to_string(), *release, "{version}");
    }
}
