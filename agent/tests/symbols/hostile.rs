//! Files that lie, change, or are none.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use gpu_agent::symbols::{Cache, Image, ImageError, Problem};

use super::rig::{PROGRAM, Workshop, exact};

fn refused(path: &Path) -> ImageError {
    Image::open(path, "the file").expect_err("it was opened")
}

#[test]
fn what_is_no_regular_file_is_not_opened() {
    let workshop = Workshop::new();
    let fifo = workshop.path("fifo");
    workshop.run("mkfifo", &["fifo"]);
    let socket = workshop.path("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    for path in [
        &fifo,
        &socket,
        Path::new("/dev/zero"),
        Path::new("/dev/tty"),
        Path::new("/proc"),
        &workshop.path(""),
    ] {
        let error = refused(path);
        assert!(matches!(error.problem, Problem::NotRegular { .. }), "{}: {error}", path.display());
        assert!(error.to_string().starts_with("the file: it is no regular file but a "), "{error}");
    }
    assert!(matches!(refused(&workshop.path("nothing")).problem, Problem::Open { .. }));
}

#[test]
fn other_files_are_refused_by_name() {
    let workshop = Workshop::new();
    workshop.compile("cc", ("p.c", PROGRAM), "program", &[]);
    let good = fs::read(workshop.path("program")).unwrap();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    for (content, words) in [
        (Vec::new(), "its ELF header should be 64 bytes at byte 0, but it has 0 bytes"),
        (b"#!/bin/sh\n".repeat(10), "it is no ELF file"),
        (with(4, 1), "ELF class (2 is 64 bits): 1 is not supported"),
        (with(5, 2), "ELF byte order (1 is little-endian): 2 is not supported"),
        (with(18, 243), "ELF machine (62 is x86-64, 183 is AArch64): 243 is not supported"),
        (with(16, 1), "ELF type (2 is an executable, 3 a shared object): 1 is not supported"),
        (with(54, 32), "ELF size of a program header: 32 is not supported"),
        (with(57, 255), "its program headers: "),
        (good[..good.len() / 2].to_vec(), "its section headers should be "),
    ] {
        let error = refused(&workshop.write("bad", content)).to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_an_error() {
    let workshop = Workshop::new();
    let path = workshop.compile("cc", ("p.c", PROGRAM), "program", &[]);
    let image = Image::open(&path, "the file").unwrap();
    File::options().write(true).open(&path).unwrap().set_len(4096).unwrap();
    let error = image.lookup(&Cache::disabled(), &[exact("work")]).unwrap_err();
    assert!(matches!(error.problem, Problem::Truncated { .. }), "{error}");
}

#[test]
fn tables_of_impossible_size_cost_no_memory() {
    let workshop = Workshop::new();
    let path = workshop.compile("cc", ("p.c", PROGRAM), "program", &[]);
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let number = |at: u64| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, at).unwrap();
        u64::from_le_bytes(bytes)
    };
    let (sections, count) = (number(40), number(60) & 0xFFFF);
    // Size field of the section headers of .symtab (type 2) and of .dynsym (type 11).
    let tables: Vec<u64> = (0..count)
        .map(|section| sections + section * 64)
        .filter(|header| [2, 11].contains(&(number(*header + 4) & 0xFFFF_FFFF)))
        .map(|header| header + 32)
        .collect();
    assert_eq!(tables.len(), 2);
    // A hole makes the file as large as its tables say.
    file.set_len(1 << 40).unwrap();
    for size_bytes in [u64::MAX, 1 << 62, 1 << 39, 1 << 33] {
        for table in &tables {
            file.write_all_at(&size_bytes.to_le_bytes(), *table).unwrap();
        }
        let error =
            Image::open(&path, "the file").unwrap().lookup(&Cache::disabled(), &[exact("work")]).unwrap_err();
        assert!(matches!(error.problem, Problem::TooLarge { .. } | Problem::Truncated { .. }), "{error}");
    }
}
