//! Why one probe, or one place of it, is not attached.
//!
//! Enters: errors of the kernel. Leaves: [`Refusal`]. Refuses: nothing.

use std::io;

use aya::maps::MapError;

/// Why.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// All slots are taken.
    #[error("all {0} slots for probes are taken: detach others, or select fewer probes")]
    NoSlot(u32),
    /// The fetch program would not do what it says.
    #[error("its fetch program is malformed: {0}")]
    Program(&'static str),
    /// The file is no more where it was.
    #[error("the file is gone, or is no longer mapped there")]
    FileGone(#[source] io::Error),
    /// The process is no more.
    #[error("the process has ended")]
    ProcessGone(#[source] io::Error),
    /// The file's path.
    #[error("the path of the file has a NUL")]
    Path,
    /// The agent's limit on open files.
    #[error("the agent's limit on open files is reached: raise it (`ulimit -n`, systemd: LimitNOFILE=)")]
    OpenFiles(#[source] io::Error),
    /// The kernel cannot put a probe there.
    #[error("Linux refuses a probe at offset {offset:#x}")]
    Place {
        /// In the file.
        offset: u64,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Linux without attach cookies.
    #[error("without attach cookies (Linux 5.15), a return can be seen only at return instructions")]
    NoCookies,
    /// Linux without attach cookies tells places by process.
    #[error("without attach cookies (Linux 5.15), a probe is for one process")]
    NoScope,
    /// The filter is full.
    #[error("the BPF programs know too many target processes")]
    TooManyTargets,
    /// A map refuses an entry.
    #[error("a BPF map refuses an entry")]
    Map(#[from] MapError),
}

impl Refusal {
    /// Of the attempt to attach at `offset`.
    pub(super) fn of(error: io::Error, offset: u64) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOENT) => Self::FileGone(error),
            Some(libc::ESRCH) => Self::ProcessGone(error),
            Some(libc::EMFILE | libc::ENFILE) => Self::OpenFiles(error),
            _ => Self::Place { offset, source: error },
        }
    }
}
