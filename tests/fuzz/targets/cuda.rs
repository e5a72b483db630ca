//! Names of files that a process maps, from which it is told what CUDA it has.
//!
//! Enters: any bytes, a name a line. Leaves: the ways they went. Refuses: more findings than names.

use std::path::PathBuf;

use gpu_agent::event::Pid;
use gpu_agent::inject::cupti::Cuda;
use gpu_agent::symbols::process::Mapped;

use super::Run;
use super::program::Ways;

/// No process has it.
const NOBODY: Pid = Pid(u32::MAX);

pub(super) fn make() -> Run {
    Box::new(|input| {
        let files: Vec<Mapped> = input.split(|byte| *byte == b'\n').enumerate().map(mapped).collect();
        let cuda = Cuda::of(&files);
        for found in [cuda.runtimes.len(), cuda.cuptis.len(), cuda.owners.len(), cuda.packages.len()] {
            assert!(found <= files.len());
        }
        let candidates = cuda.candidates(NOBODY);
        assert_eq!(candidates.len(), cuda.cuptis.len(), "in a root that cannot be looked into");
        let mut ways = Ways::default();
        ways.note((
            cuda.driver.is_some(),
            cuda.driver_version().map(|version| version.len().min(12)),
            cuda.major().map(|major| major.min(20)),
        ));
        let few = |list: usize| list.min(3);
        ways.note((
            few(cuda.runtimes.len()),
            few(cuda.cuptis.len()),
            few(cuda.packages.len()),
            cuda.has_shim,
        ));
        ways.note(cuda.owners.first());
        ways.into_numbers()
    })
}

fn mapped((number, name): (usize, &[u8])) -> Mapped {
    Mapped {
        path: PathBuf::new(),
        shown: String::from_utf8_lossy(name).into(),
        root: PathBuf::new(),
        load_bias: 0,
        ranges: Vec::new(),
        device: (0, 1),
        inode: number as u64,
        is_deleted: name.ends_with(b" (deleted)"),
        is_memfd: name.starts_with(b"/memfd:"),
        has_start: number.is_multiple_of(2),
    }
}
