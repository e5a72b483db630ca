//! Where plans come from: the specifications, applied to the files of a process.
//!
//! Enters: processes. Leaves: plans; where the dynamic linker gives notice. Refuses: nothing: what is not found is the rule, and
//! `gpu-agent probes check --pid PID` tells it.

use crate::event::Pid;
use crate::probes::catalog::Catalog;
use crate::probes::resolve::{self, Elf, Resolution, candidates, resolve};
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
    pub(super) fn resolve(&self, pid: Pid) -> Result<Resolution, ProcessError> {
        let elf = Elf { cache: &self.cache };
        let trampolines = self.options.trampolines && bears_trampolines(pid);
        let options = resolve::Options { trampolines };
        Ok(resolve(&self.catalog.specifications, &candidates(pid)?, &elf, options))
    }

    /// Where a process's dynamic linker, if it has one, gives notice of new libraries: file and offset in it.
    pub(super) fn notice<'a>(&self, files: &'a [Mapped]) -> Option<(&'a Mapped, u64)> {
        let (file, symbol) = loader::find(files, &self.cache).ok()??;
        Some((file, symbol.file_offset))
    }
}

/// Whether a uretprobe does a process no harm. Its trampoline makes a system call from Linux 6.11 on, which a seccomp filter may
/// end the process for (before "seccomp: passthrough uretprobe systemcall", 6.14), and a shadow stack refuses the address that it
/// returns to.
fn bears_trampolines(pid: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| is_plain(&status))
}

fn is_plain(status: &str) -> bool {
    let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    field("Seccomp:").is_none_or(|mode| mode == "0")
        && field("x86_Thread_features:").is_none_or(|features| !features.contains("shstk"))
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

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn trampolines_are_only_for_processes_without_a_filter_and_without_a_shadow_stack() {
        assert!(is_plain("Name:\tserve\nSeccomp:\t0\nSeccomp_filters:\t0\nx86_Thread_features:\t\n"));
        assert!(is_plain("Name:\tserve\n"), "a Linux without either");
        assert!(!is_plain("Seccomp:\t2\nSeccomp_filters:\t1\n"));
        assert!(!is_plain("Seccomp:\t0\nx86_Thread_features:\tshstk\n"));
    }
}
