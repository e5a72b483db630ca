//! Buffers that the simulator filled, walked by NVIDIA's own `cuptiActivityGetNextRecord`.
//!
//! The real library answers this one function without driver and GPU in 12.0 to 13.1. It is loaded by a child process.

use crate::client::{buffers, walk};
use crate::every_kind::{emit, listen};
use crate::mock::session;
use crate::real_library::fetch;
use cuda_sim_cupti::entry::activity::cuptiActivityFlushAll;
use cuda_sim_cupti::status::Status;
use std::collections::BTreeSet;
use std::ffi::CString;
use std::process::Command;

/// Release of the real library, and how to simulate it.
const PAIRS: [(&str, &str); 6] = [
    ("12.0.146", "cupti_gen=9"),
    ("12.4.127", "cupti_gen=9,cupti_version=22"),
    ("12.8.90", "cupti_gen=9,cupti_version=26"),
    ("12.9.79", "cupti_gen=9,cupti_version=28"),
    ("13.0.85", "cupti_gen=10"),
    ("13.1.115", "cupti_gen=11"),
];

/// In a child: the library to load and the file to walk, joined by a newline.
const WALK: &str = "CUPTI_SIM_TEST_WALK";

#[test]
fn the_real_library_finds_the_same_kinds_at_the_same_offsets() {
    if let Ok(task) = std::env::var(WALK) {
        let (library, file) = task.split_once('\n').unwrap();
        walk_with(library, &std::fs::read(file).unwrap());
        return;
    }
    for (release, text) in PAIRS {
        let Some(library) = fetch(release) else { return };
        let mut kinds = BTreeSet::new();
        for Walked { bytes, found } in simulate(text) {
            assert_eq!(really_walk(&library, &bytes), found, "{release}");
            kinds.extend(found.iter().map(|(_, kind)| *kind));
        }
        assert_eq!(kinds, BTreeSet::from([1, 2, 4, 5, 8, 9, 10, 17, 22, 37, 38, 39, 49, 51]), "{release}");
    }
}

/// A buffer of the simulator, and where its own `cuptiActivityGetNextRecord` finds which kinds.
struct Walked {
    bytes: Vec<u8>,
    found: Vec<(usize, u32)>,
}

/// Buffers with records of every kind in changing positions.
fn simulate(text: &str) -> Vec<Walked> {
    let _turn = session(&format!("{text},reorder=on"));
    listen(6000);
    for _ in 0..40 {
        emit();
        assert_eq!(cuptiActivityFlushAll(0), Status::SUCCESS);
        emit();
    }
    assert_eq!(cuptiActivityFlushAll(0), Status::SUCCESS);
    let walked = buffers().into_iter().map(|buffer| {
        let found = walk(&buffer.bytes).iter().map(|record| (record.offset, record.kind)).collect();
        Walked { bytes: buffer.bytes, found }
    });
    walked.collect()
}

/// What NVIDIA's library finds, in a process of its own.
fn really_walk(library: &str, bytes: &[u8]) -> Vec<(usize, u32)> {
    let file = std::env::temp_dir().join(format!("cupti-walk-{}", std::process::id()));
    std::fs::write(&file, bytes).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "real_walk::the_real_library_finds_the_same_kinds_at_the_same_offsets",
            "--nocapture",
        ])
        .env(WALK, format!("{library}\n{}", file.display()))
        .output()
        .unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let records = text.lines().filter_map(|line| line.strip_prefix("record "));
    let numbers = records.map(|line| line.split_once(' ').unwrap());
    numbers.map(|(offset, kind)| (offset.parse().unwrap(), kind.parse().unwrap())).collect()
}

/// In the child: prints a line `record OFFSET KIND` for each record.
fn walk_with(library: &str, bytes: &[u8]) {
    type GetNextRecord = unsafe extern "C" fn(*mut u8, usize, *mut *mut u8) -> u32;
    let library = CString::new(library).unwrap();
    let mut words: Vec<u64> =
        bytes.chunks(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap())).collect();
    // SAFETY: the library's own function with the prototype of its headers; `words` has the bytes given.
    unsafe {
        let handle = libc::dlopen(library.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        assert!(!handle.is_null(), "{library:?} does not load");
        let symbol = libc::dlsym(handle, c"cuptiActivityGetNextRecord".as_ptr());
        assert!(!symbol.is_null());
        let next = core::mem::transmute::<*mut libc::c_void, GetNextRecord>(symbol);
        let start = words.as_mut_ptr().cast::<u8>();
        let mut record = core::ptr::null_mut();
        loop {
            match next(start, bytes.len(), &raw mut record) {
                0 => println!("record {} {}", record.addr() - start.addr(), *record.cast::<u32>()),
                12 => break,
                status => panic!("status {status}"),
            }
        }
    }
}
