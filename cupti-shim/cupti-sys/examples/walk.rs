//! In: `walk LIBCUPTI BUFFER_FILE VALID_SIZE`. Out: a line `offset kind` for each record that the library's own
//! `cuptiActivityGetNextRecord` finds in the first VALID_SIZE bytes of the file. Refuses, with exit 1 and a sentence
//! on stderr: files that cannot be read, a library that cannot be loaded, records that the library refuses.
//!
//! Needs neither driver nor GPU with CUPTI 11.8 to 13.1. It is a program of its own, because two CUPTIs in one
//! process disturb each other.

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use cupti_sys::Cupti;

fn main() -> ExitCode {
    let Err(error) = walk() else { return ExitCode::SUCCESS };
    eprint!("walk: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprint!(": {error}");
        cause = error.source();
    }
    eprintln!();
    ExitCode::FAILURE
}

#[allow(unsafe_code, reason = "loads a C library")]
fn walk() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(library), Some(file), Some(valid), None) =
        (arguments.next(), arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: walk LIBCUPTI BUFFER_FILE VALID_SIZE".into());
    };
    let file = PathBuf::from(file);
    let buffer = std::fs::read(&file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let valid: usize = valid.to_string_lossy().parse().map_err(|error| format!("VALID_SIZE: {error}"))?;
    let valid = buffer.get(..valid).ok_or("VALID_SIZE is larger than the file")?;

    // SAFETY: only cuptiActivityGetNextRecord is called, which these versions answer without libcuda.
    let cupti = unsafe { Cupti::open(&library) }?;
    let mut out = std::io::stdout().lock();
    for record in cupti.records(valid)? {
        let record = record?;
        writeln!(out, "{} {}", record.offset, record.kind.0)?;
    }
    Ok(())
}
