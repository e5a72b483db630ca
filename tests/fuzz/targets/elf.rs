//! Files that say they are ELF.
//!
//! Enters: any bytes, as a file. Leaves: the ways they went. Refuses: a function or a return instruction outside of the file,
//! and a file that takes longer than [`LIMIT_NS`].

use std::mem::discriminant;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use gpu_agent::symbols::{Cache, Image, Pattern, ReturnsError};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::pwrite;

use super::Run;
use super::program::{Ways, magnitude};

/// Far above what a file of some kB takes, nanoseconds of a processor: the machine may be busy with other things.
const LIMIT_NS: i64 = 1_000_000_000;

pub(super) fn make() -> Run {
    let file = memfd_create("elf", MemfdFlags::CLOEXEC).unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let patterns = [
        Pattern::Exact("work".into()),
        Pattern::Exact("work@V1".into()),
        Pattern::Demangled("api::work".into()),
        Pattern::Demangled("*othe*".into()),
    ];
    Box::new(move |input| {
        ftruncate(&file, input.len() as u64).unwrap();
        assert_eq!(pwrite(&file, input, 0).unwrap(), input.len());
        let started = cpu_ns();
        let mut ways = Ways::default();
        match Image::open(&path, "input") {
            Ok(image) => look(&image, &patterns, input.len() as u64, &mut ways),
            Err(error) => ways.note(("refused", what(&error.problem))),
        }
        let took_ns = cpu_ns() - started;
        assert!(took_ns < LIMIT_NS, "{} bytes took {took_ns} ns", input.len());
        ways.into_numbers()
    })
}

fn look(image: &Image, patterns: &[Pattern], size_bytes: u64, ways: &mut Ways) {
    ways.note((image.machine(), image.build_id().is_some(), image.tables()));
    ways.note(("debug file", image.debug_file_problem().map(what)));
    let answers = match image.lookup(&Cache::disabled(), patterns) {
        Ok(answers) => answers,
        Err(error) => return ways.note(("search", what(&error.problem))),
    };
    for (pattern, answer) in answers.into_iter().enumerate() {
        let symbols = answer.unwrap_or_default();
        ways.note((pattern, symbols.len().min(3)));
        for symbol in symbols {
            assert!(symbol.file_offset < size_bytes && !symbol.raw.is_empty());
            ways.note((symbol.table, symbol.version.is_some(), symbol.is_ifunc, symbol.cold.len()));
            ways.note((symbol.aliases.len().min(3), magnitude(symbol.size_bytes)));
            match image.returns(&symbol) {
                Ok(found) => {
                    assert!(
                        found.offsets.is_sorted() && found.offsets.iter().all(|offset| *offset < size_bytes)
                    );
                    ways.note((found.offsets.len().min(4), found.tail_call, found.computed_jump));
                }
                Err(ReturnsError::Unreadable { source, .. }) => ways.note(("unreadable", what(&source))),
                Err(error) => ways.note(("returns", discriminant(&error))),
            }
        }
    }
}

/// What this thread has had of a processor.
fn cpu_ns() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// A problem's words, which are few, without its numbers.
fn what(problem: &gpu_agent::symbols::Problem) -> String {
    problem.to_string().chars().filter(|letter| !letter.is_ascii_digit()).take(60).collect()
}
