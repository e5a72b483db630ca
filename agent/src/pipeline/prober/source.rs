//! Where plans come from: the specifications, applied to the files of a process.
//!
//! Enters: processes. Leaves: plans; where the dynamic linker gives notice. Refuses: nothing: what is not found is the rule, and
//! `gpu-agent probes check --pid PID` tells it.

use crate::event::Pid;
use crate::probes::catalog::Catalog;
use crate::probes::plan::Plan;
use crate::probes::resolve::{self, Elf, candidates, resolve};
use crate::symbols::process::{Mapped, ProcessError};
use crate::symbols::{Cache, Pattern, loader};

/// File name of the CUDA driver, up to its version.
const DRIVER: &str = "libcuda.so";
/// A symbol that the driver of the simulated device has, and no other.
const SIMULATED: &str = "gpu_agent_cuda_sim_driver";

/// Specifications and what is known of files.
pub(in super::super) struct Source {
    catalog: Catalog,
    cache: Cache,
    options: resolve::Options,
}

impl Source {
    pub(in super::super) fn new(catalog: Catalog, cache: Cache, options: resolve::Options) -> Self {
        Self { catalog, cache, options }
    }

    /// What is to be attached in a process.
    pub(super) fn plans(&self, pid: Pid) -> Result<Vec<Plan>, ProcessError> {
        let elf = Elf { cache: &self.cache };
        Ok(resolve(&self.catalog.specifications, &candidates(pid)?, &elf, self.options).plans)
    }

    /// Where a process's dynamic linker, if it has one, gives notice of new libraries: file and offset in it.
    pub(super) fn notice<'a>(&self, files: &'a [Mapped]) -> Option<(&'a Mapped, u64)> {
        let (file, symbol) = loader::find(files, &self.cache).ok()??;
        Some((file, symbol.file_offset))
    }
}

/// Whether the CUDA driver among these files is a stand-in.
pub(in super::super) fn is_simulated(files: &[Mapped]) -> bool {
    let pattern = [Pattern::Exact(SIMULATED.to_owned())];
    let name = |file: &&Mapped| file.shown.rsplit('/').next().is_some_and(|name| name.starts_with(DRIVER));
    files.iter().filter(name).any(|driver| {
        let found = driver.open().and_then(|image| image.lookup(&Cache::disabled(), &pattern));
        found.is_ok_and(|answers| answers.into_iter().flatten().flatten().next().is_some())
    })
}
