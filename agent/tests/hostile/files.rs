//! Files that lie about themselves, are none, or change.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use super::rig::{Hostile, copy};

/// Where a 64-bit ELF header has its fields (elf(5)).
const E_SHOFF: u64 = 40;
const E_SHNUM: u64 = 60;
const E_PHNUM: u64 = 56;
/// Bytes of a section header; where in it are type, offset and size.
const SECTION: u64 = 64;
const SH_TYPE: u64 = 4;
const SH_OFFSET: u64 = 24;
const SH_SIZE: u64 = 32;

fn number(file: &File, at: u64, bytes: usize) -> u64 {
    let mut number = [0; 8];
    file.read_exact_at(&mut number[..bytes], at).unwrap();
    u64::from_le_bytes(number)
}

/// Sets a field of every section of a type to a value.
fn lie(file: &File, kinds: &[u64], field: u64, value: u64) {
    let start = number(file, E_SHOFF, 8);
    for section in 0..number(file, E_SHNUM, 2) {
        let at = start + section * SECTION;
        if kinds.contains(&number(file, at + SH_TYPE, 4)) {
            file.write_all_at(&value.to_le_bytes(), at + field).unwrap();
        }
    }
}

/// SHT_SYMTAB, SHT_STRTAB, SHT_DYNSYM, SHT_NOTE, and the hash of symbols.
const TABLES: [u64; 5] = [2, 3, 11, 7, 0x6fff_fff6];

/// A process with a driver and a C library that lie in the same way.
fn with_both(lie: impl Fn(&File)) -> [String; 2] {
    let folder = tempfile::tempdir().unwrap();
    let files = ["libcuda.so.535.1.2", "libc.so.6"].map(|name| {
        let (path, file) = copy(folder.path(), name);
        lie(&file);
        path
    });
    Hostile::start("wait", &files).look_into()
}

#[test]
fn tables_beyond_the_end_of_their_file() {
    for value in [1 << 62, u64::MAX - 7, 1 << 33] {
        let [_, attach] = with_both(|file| lie(file, &TABLES, SH_OFFSET, value));
        assert!(attach.contains("libc.so.6) cannot be read"), "{attach}");
    }
}

#[test]
fn tables_that_are_longer_than_memory_or_lie_over_each_other() {
    for value in [1 << 62, 1 << 40, u64::MAX] {
        with_both(|file| lie(file, &TABLES, SH_SIZE, value));
    }
    with_both(|file| lie(file, &TABLES, SH_OFFSET, 0));
}

#[test]
fn headers_without_end() {
    with_both(|file| file.write_all_at(&0xffff_u16.to_le_bytes(), E_SHNUM).unwrap());
    with_both(|file| file.write_all_at(&0xffff_u16.to_le_bytes(), E_PHNUM).unwrap());
    with_both(|file| file.write_all_at(&u64::MAX.to_le_bytes(), E_SHOFF).unwrap());
}

#[test]
fn a_file_of_four_gigabytes_without_content_whose_tables_fill_it() {
    const SIZE: u64 = 4 << 30;
    with_both(|file| {
        file.set_len(SIZE).unwrap();
        lie(file, &TABLES, SH_OFFSET, 64);
        lie(file, &TABLES, SH_SIZE, SIZE - 64);
    });
    let [_, attach] = with_both(|file| {
        file.set_len(0).unwrap();
        file.set_len(SIZE).unwrap();
    });
    assert!(attach.contains("no ELF file"), "{attach}");
}

#[test]
fn a_file_that_is_cut_short_while_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["libcuda.so.535.1.2", "libc.so.6"].map(|name| copy(folder.path(), name).0);
    Hostile::start("cut", &files).look_into();
}

#[test]
fn fifos_links_and_devices_where_a_cupti_would_be() {
    let folder = tempfile::tempdir().unwrap();
    let driver = copy(folder.path(), "libcuda.so.535.1.2").0;
    let cupti = folder.path().join("libcupti.so.12");
    let other = folder.path().join("libcupti.so.11.8");
    rustix::fs::mknodat(rustix::fs::CWD, &cupti, rustix::fs::FileType::Fifo, 0o666.into(), 0).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &other).unwrap();
    let [doctor, _] = Hostile::start("wait", std::slice::from_ref(&driver)).look_into();
    assert!(!doctor.contains(cupti.to_str().unwrap()), "{doctor}");
    assert!(!doctor.contains(other.to_str().unwrap()), "{doctor}");
    fs::remove_file(&cupti).unwrap();
    fs::write(&cupti, "").unwrap();
    let [doctor, _] = Hostile::start("wait", &[driver]).look_into();
    assert!(doctor.contains(cupti.to_str().unwrap()), "a file is found there: {doctor}");
}
