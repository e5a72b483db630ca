//! Where plans come from: the specifications, applied to the files of a process.
//!
//! Enters: mapped files. Leaves: plans; where the dynamic linker gives notice. Refuses: nothing: what cannot be read is told once
//! a file, and the others are planned.

use crate::probes::plan::Plan;
use crate::symbols::process::Mapped;
use crate::symbols::{Cache, Image, Pattern};

/// What a dynamic linker calls when its list of libraries has changed, for debuggers to stop at (glibc and musl, `link.h`).
const NOTICE: &str = "_dl_debug_state";

/// File name of the CUDA driver, up to its version.
const DRIVER: &str = "libcuda.so";
/// A symbol that the driver of the simulated device has, and no other.
const SIMULATED: &str = "gpu_agent_cuda_sim_driver";

/// Specifications and what is known of files.
pub(in super::super) struct Source {
    cache: Cache,
}

impl Source {
    pub(in super::super) fn new(cache: Cache) -> Self {
        Self { cache }
    }

    /// What is to be attached in a process with these files.
    pub(super) fn plans(&self, _files: &[Mapped]) -> Vec<Plan> {
        Vec::new()
    }

    /// Where a file, if it is a dynamic linker, gives notice of new libraries: file offset.
    pub(super) fn notice(&self, file: &Mapped) -> Option<u64> {
        let is_linker = ["ld-", "ld.so"].iter().any(|start| name(file).starts_with(start));
        is_linker.then(|| find(file, &self.cache, NOTICE)).flatten()
    }
}

/// Whether the CUDA driver among these files is a stand-in.
pub(in super::super) fn is_simulated(files: &[Mapped]) -> bool {
    let mut drivers = files.iter().filter(|file| name(file).starts_with(DRIVER));
    drivers.any(|file| find(file, &Cache::disabled(), SIMULATED).is_some())
}

fn name(file: &Mapped) -> &str {
    file.shown.rsplit('/').next().unwrap_or_default()
}

/// File offset of a function.
fn find(file: &Mapped, cache: &Cache, function: &str) -> Option<u64> {
    let image = Image::open(&file.path, &*file.shown).ok()?;
    let found = image.lookup(cache, &[Pattern::Exact(function.into())]).ok()?;
    found.into_iter().flatten().flatten().next().map(|symbol| symbol.file_offset)
}
