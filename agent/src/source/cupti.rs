//! The CUPTI shim's ring and control page in a target process: find, check, open, arm, drain.
//!
//! Enters: a pid, or a shim's announcement. Leaves: a [`Target`] that hands out records. Refuses: files that are not the
//! process's own ring, a lease that another agent holds, a pid that came to mean another process meanwhile.
//!
//! The shim's two memfds show in `/proc/PID/maps` as `/memfd:gpu-agent-ring` and `/memfd:gpu-agent-control`. They are
//! opened through `/proc/PID/map_files`, which works even if the process closed every descriptor but asks for
//! `CAP_CHECKPOINT_RESTORE`, else through `/proc/PID/fd`. Neither needs a path that both sides can see, so mount, pid
//! and network namespaces do not matter.

use crate::event::Pid;
use crate::identity::Process;

mod error;
mod finalization;
mod graphs;
mod hops;
mod lease;
mod maps;
mod names;
mod open;
mod target;

pub use error::AttachError;
pub use finalization::Finalization;
pub use graphs::GraphHops;
pub use hops::Hops;
pub use lease::{Lease, Mode};
pub use names::{NameTable, NewName};
pub use open::{Opened, from_announcement};
pub use target::{Fate, Item, Target};

/// Finds and opens the newest ring of the process that `pid` means.
pub fn find(pid: Pid) -> Result<Opened, AttachError> {
    open(Process::look_up(pid)?)
}

/// Whether `pid` maps the CUDA driver; not where that cannot be told.
#[must_use]
pub fn has_cuda(pid: Pid) -> bool {
    Process::look_up(pid).is_ok_and(|process| maps::read(&process).is_ok_and(|maps| maps.has_cuda))
}

/// Finds and opens the newest ring of `process`.
///
/// Between the look-up and now, the pid may have been given to another process: whatever was found then is not believed.
pub fn open(process: Process) -> Result<Opened, AttachError> {
    let found = maps::read(&process).and_then(|maps| open::newest(&process, &maps));
    let start_time_ticks = crate::identity::start_time_ticks(process.pid).ok();
    if process.has_ended() || start_time_ticks != Some(process.start_time_ticks) {
        return Err(AttachError::Reused { pid: process.pid });
    }
    let found = found?;
    Ok(Opened {
        process,
        reader: found.reader,
        control: found.control,
        range: Some(found.range),
        by_mapping: found.by_mapping,
        takes_back: false,
    })
}
