//! `Reader::open`, `poll`, `seek` and `name` over a file that changes under them.
//!
//! Enters: programs that store anything anywhere, and read in between. Leaves: the ways they went. Refuses: a poll that exceeds
//! its maximum, a position that does not match what was read and lost, a name longer than the format allows.

use std::fs::File;
use std::os::unix::fs::FileExt;

use gpu_agent_ring::layout::MAX_NAME_BYTES;
use gpu_agent_ring::writer::Identity;
use gpu_agent_ring::{Geometry, OpenError, Reader, Writer};

use super::Run;
use super::program::{Program, Ways, magnitude};
use super::shared::SharedFile;

/// Geometries of the files that programs choose from.
const GEOMETRIES: [Geometry; 3] = [
    Geometry { slots: 8, names_bytes: 4096 },
    Geometry { slots: 1, names_bytes: 4096 },
    Geometry { slots: 64, names_bytes: 8192 },
];
/// Words of the header that a program reaches with one byte.
const FIELDS: [usize; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 128, 136, 512];

pub(super) fn make() -> Run {
    let bases: Vec<(SharedFile, Vec<u64>)> = GEOMETRIES.iter().map(|&geometry| base(geometry)).collect();
    // Too small for any slot, and too small for a header.
    let odd: Vec<SharedFile> = [512, 513, 511, 1].map(SharedFile::new).into();
    Box::new(move |input| run(input, &bases, &odd))
}

/// A file with the content that a writer made: names, and more records than it has slots.
fn base(geometry: Geometry) -> (SharedFile, Vec<u64>) {
    let mut writer =
        Writer::create(geometry, Identity { ring_id: 7, pid: 8, ..Identity::default() }).unwrap();
    for name in ["a", "kernel", "_Z20a_longer_kernel_namePfS_i"] {
        writer.intern_text(name);
    }
    for number in 0..u64::from(geometry.slots) + 5 {
        writer.push_payload(&[number; 11]);
    }
    let file = File::from(writer.file().unwrap().try_clone().unwrap());
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let words: Vec<u64> = bytes.chunks_exact(8).map(|w| u64::from_le_bytes(w.try_into().unwrap())).collect();
    (SharedFile::new(words.len()), words)
}

fn run(input: &[u8], bases: &[(SharedFile, Vec<u64>)], odd: &[SharedFile]) -> Vec<u64> {
    let mut program = Program::new(input);
    let mut ways = Ways::default();
    let choice = program.number::<1>() as usize;
    let (file, words) = &bases[choice % bases.len()];
    let file = match odd.get(choice.wrapping_sub(250)) {
        Some(odd) => odd,
        None => {
            file.store_all(words);
            file
        }
    };
    let mut reader = None;
    // A program that was not ended by its input ends here: work per input is bounded.
    for _ in 0..64 {
        let Some(operation) = program.operation() else { break };
        match operation % 10 {
            0 => file.store(FIELDS[program.number::<1>() as usize % FIELDS.len()], program.number::<8>()),
            1 => file.store(program.number::<2>() as usize, program.number::<8>()),
            2 => file.store(file.words() - 1 - program.number::<1>() as usize % 96, program.number::<8>()),
            3 => {
                let (from, count) = (program.number::<2>() as usize, program.number::<1>() as usize);
                let value = program.number::<8>();
                (from..from + count).for_each(|word| file.store(word, value.wrapping_mul(word as u64 | 1)));
            }
            4 | 5 => {
                let opened = Reader::open(&file.file);
                ways.note(way_of(&opened));
                reader = opened.ok();
            }
            6 | 7 => poll(&mut reader, file, &mut program, &mut ways),
            8 => {
                let id = program.number::<4>() as u32;
                if let Some(reader) = &reader {
                    let name = reader.name(id);
                    // Each byte that is no UTF-8 becomes three.
                    assert!(name.as_ref().is_none_or(|name| name.len() <= 3 * MAX_NAME_BYTES));
                    ways.note(("name", name.map(|name| magnitude(name.len() as u64))));
                }
            }
            _ => {
                let position = program.number::<8>();
                if let Some(reader) = &mut reader {
                    reader.seek(position);
                    ways.note(("seek", magnitude(position)));
                }
            }
        }
    }
    ways.into_numbers()
}

/// Polls; at the record numbered by the program, a word changes.
fn poll(reader: &mut Option<Reader>, file: &SharedFile, program: &mut Program<'_>, ways: &mut Ways) {
    let (max, at) = (program.number::<2>(), program.number::<1>());
    let (word, value) = (program.number::<2>() as usize, program.number::<8>());
    let Some(reader) = reader else { return };
    let before = reader.position();
    let mut handed = 0;
    let progress = reader.poll(max, |number, _| {
        assert!(number >= before && number < u64::MAX);
        handed += 1;
        if handed == at {
            file.store(word, value);
        }
    });
    assert!(progress.read == handed && handed <= max);
    assert_eq!(before.checked_add(progress.read + progress.lost), Some(reader.position()));
    ways.note(("poll", [progress.read, progress.lost, progress.pending].map(magnitude)));
}

fn way_of(opened: &Result<Reader, OpenError>) -> &'static str {
    match opened {
        Ok(_) => "ok",
        Err(OpenError::Io { operation, .. }) => operation,
        Err(OpenError::Unsealed { .. }) => "unsealed",
        Err(OpenError::FileSystem { .. }) => "file system",
        Err(OpenError::Size { .. }) => "size",
        Err(OpenError::Magic { .. }) => "magic",
        Err(OpenError::Version { .. }) => "version",
        Err(OpenError::Header { field, .. }) => field,
    }
}
