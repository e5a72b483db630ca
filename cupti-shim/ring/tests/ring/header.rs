//! What a reader refuses, and with which words.

use std::os::fd::AsFd;

use gpu_agent_ring::layout::{FORMAT_VERSION, RING_MAGIC};
use gpu_agent_ring::writer::Identity;
use gpu_agent_ring::{CreateError, Geometry, OpenError, Reader, Writer};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap};

use crate::memfd::{SEALS, SMALL, image, sealed};

fn open(bytes: &[u8]) -> Result<Reader, OpenError> {
    Reader::open(sealed(bytes, SEALS))
}

fn with(offset: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = image(SMALL, 3);
    bytes[offset..offset + value.len()].copy_from_slice(value);
    bytes
}

#[test]
fn a_ring_copied_byte_by_byte_opens_and_says_who_wrote_it() {
    let mut reader = open(&image(SMALL, 3)).unwrap();
    let writer = reader.writer();
    assert_eq!((writer.ring_id, writer.pid, writer.start_time_ticks, writer.simulated), (7, 8, 9, true));
    assert!(writer.anchor_mono_ns > 0 && writer.anchor_unix_ns > 1_700_000_000_000_000_000);
    assert_eq!((reader.capacity(), reader.head(), reader.position()), (8, 3, 0));
    assert_eq!(reader.versions(), (0, 0));
    assert_eq!(reader.name(1).as_deref(), Some("a name"));
    assert_eq!(reader.poll(10, |number, payload| assert_eq!(payload, &[number; 11])).read, 3);
}

#[test]
fn versions_show_once_they_are_known() {
    let writer = Writer::create(SMALL, Identity::default()).unwrap();
    let reader = Reader::open(writer.file().unwrap()).unwrap();
    writer.set_versions(26, 13_000);
    assert_eq!(reader.versions(), (26, 13_000));
}

#[test]
fn another_magic_is_refused() {
    let error = open(&with(0, b"GPUBRING")).unwrap_err();
    assert!(matches!(error, OpenError::Magic { found } if found != RING_MAGIC), "{error}");
    let empty = open(&vec![0; 8192]).unwrap_err();
    assert!(matches!(empty, OpenError::Magic { found: 0 }), "{empty}");
}

#[test]
fn a_newer_version_is_refused_with_both_versions_named() {
    let error = open(&with(8, &(FORMAT_VERSION + 1).to_le_bytes())).unwrap_err();
    assert!(matches!(error, OpenError::Version { found } if found == FORMAT_VERSION + 1));
    let text = error.to_string();
    assert!(text.contains("version 3") && text.contains("version 2"), "{text}");
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    let whole = image(SMALL, 3);
    for bytes in (0..whole.len()).step_by(97) {
        let error = open(&whole[..bytes]).unwrap_err();
        let right = if bytes < 4096 {
            matches!(error, OpenError::Size { .. })
        } else {
            matches!(error, OpenError::Header { field: "file size", .. })
        };
        assert!(right, "{bytes} bytes: {error}");
    }
}

#[test]
fn a_file_that_could_shrink_or_grow_is_refused() {
    let whole = image(SMALL, 3);
    for seals in [SealFlags::empty(), SealFlags::SHRINK, SealFlags::GROW, SealFlags::WRITE] {
        let error = Reader::open(sealed(&whole, seals)).unwrap_err();
        assert!(matches!(error, OpenError::Unsealed { .. }), "{seals:?}: {error}");
    }
}

#[test]
fn files_that_are_no_memfd_are_refused() {
    let null = std::fs::File::open("/dev/null").unwrap();
    assert!(matches!(Reader::open(&null).unwrap_err(), OpenError::Io { .. }));
    let program = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    assert!(Reader::open(&program).is_err());
    let (pipe, _writer) = std::io::pipe().unwrap();
    assert!(matches!(Reader::open(pipe.as_fd()).unwrap_err(), OpenError::Io { .. }));
}

#[test]
fn a_memfd_of_huge_pages_is_refused() {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB;
    let Ok(fd) = memfd_create("gpu-agent-ring", flags) else {
        println!("skipped: this Linux has no huge pages");
        return;
    };
    fcntl_add_seals(&fd, SEALS).unwrap();
    let error = Reader::open(&fd).unwrap_err();
    assert!(matches!(error, OpenError::FileSystem { .. }), "{error}");
}

#[test]
fn a_ring_larger_than_the_limit_is_refused_before_it_is_mapped() {
    let fd = memfd_create("gpu-agent-ring", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, (1 << 30) + 4096).unwrap();
    fcntl_add_seals(&fd, SEALS).unwrap();
    assert!(matches!(Reader::open(&fd).unwrap_err(), OpenError::Size { bytes } if bytes > 1 << 30));
}

#[test]
fn contradictions_in_every_geometry_field_are_named() {
    let cases: [(usize, u64, usize, &str); 13] = [
        (16, 1, 8, "file size"),
        (16, u64::MAX, 8, "file size"),
        (24, 0, 8, "names offset"),
        (24, 4097, 8, "names offset"),
        (24, u64::MAX - 7, 8, "names size"),
        (32, u64::MAX, 8, "names size"),
        (32, 8192, 8, "names size"),
        (40, 8193, 8, "slots offset"),
        (40, u64::MAX - 7, 8, "slots offset"),
        (40, 8200, 8, "slots offset"),
        (48, 88, 4, "slot size"),
        (52, 0, 4, "slot count"),
        (52, 16, 4, "slots offset"),
    ];
    for (offset, value, width, field) in cases {
        let error = open(&with(offset, &value.to_le_bytes()[..width])).unwrap_err();
        match error {
            OpenError::Header { field: found, .. } => assert_eq!(found, field, "offset {offset}, {value}"),
            other => panic!("offset {offset}, {value}: {other}"),
        }
    }
}

#[test]
fn nobody_can_map_a_ring_for_writing_once_it_exists() {
    let writer = Writer::create(SMALL, Identity::default()).unwrap();
    let map = |file: &dyn AsFd, protection| {
        // SAFETY: a fresh mapping at an address of Linux's choice.
        unsafe { mmap(core::ptr::null_mut(), 4096, protection, MapFlags::SHARED, file.as_fd(), 0) }
    };
    let again = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(writer.file().unwrap())))
        .unwrap();
    for file in [writer.file().unwrap() as &dyn AsFd, &again] {
        assert_eq!(
            map(file, ProtFlags::READ | ProtFlags::WRITE).unwrap_err(),
            rustix::io::Errno::PERM,
            "a later writable mapping must be impossible"
        );
        let readable = map(file, ProtFlags::READ).unwrap();
        // SAFETY: asks to make a page that this test mapped writable.
        let raised = unsafe { rustix::mm::mprotect(readable, 4096, rustix::mm::MprotectFlags::WRITE) };
        assert_eq!(raised, Err(rustix::io::Errno::ACCESS));
    }
    assert!(rustix::io::write(&again, b"x").is_err());
    assert!(ftruncate(&again, 4096).is_err());
    assert!(ftruncate(&again, 1 << 20).is_err());
    assert!(fcntl_add_seals(&again, SealFlags::WRITE).is_err());
}

#[test]
fn impossible_geometries_are_refused_by_the_writer() {
    for (slots, names_bytes) in [(0, 4096), (3, 4096), (8, 0), (8, 100), (8, 4097), (1 << 31, 4096)] {
        let created = Writer::create(Geometry { slots, names_bytes }, Identity::default());
        assert!(matches!(created, Err(CreateError::Geometry(_))), "{slots} {names_bytes}");
    }
}
