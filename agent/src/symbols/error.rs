//! Why a file or a pattern is refused.
//!
//! Enters: nothing. Leaves: errors that name the file, the object in it and the limit. Refuses: nothing.

use std::io;
use std::sync::Arc;

use rustix::fs::FileType;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct ImageError {
    /// The file, as it is shown.
    pub file: Arc<str>,
    /// What is wrong with it.
    #[source]
    pub problem: Problem,
}

/// What can be wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It cannot be opened.
    #[error("cannot open it: {source}")]
    Open {
        /// Why.
        source: io::Error,
    },
    /// It is something else than a regular file, and was not opened.
    #[error("it is no regular file but a {kind:?}")]
    NotRegular {
        /// What it is.
        kind: FileType,
    },
    /// Its path means another file by now than the one that is mapped.
    #[error(
        "its path leads to another file than the one that is mapped, and the agent may not open that (CAP_CHECKPOINT_RESTORE)"
    )]
    Replaced,
    /// Linux gave an error.
    #[error("cannot read its {what} at byte {offset}: {source}")]
    Read {
        /// What was read.
        what: &'static str,
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// Something lies beyond its end, or it was cut short meanwhile.
    #[error("its {what} should be {wanted_bytes} bytes at byte {offset}, but it has {size_bytes} bytes")]
    Truncated {
        /// What was read.
        what: &'static str,
        /// Where.
        offset: u64,
        /// How much.
        wanted_bytes: u64,
        /// Size of the file when it was opened.
        size_bytes: u64,
    },
    /// It does not start like an ELF file.
    #[error("it is no ELF file")]
    NotElf,
    /// An ELF file of a kind that is not read.
    #[error("ELF {what}: {found} is not supported")]
    Unsupported {
        /// What of it.
        what: &'static str,
        /// The value.
        found: u64,
    },
    /// Something is larger than is believed.
    #[error("its {what}: {found}, the limit is {limit}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// How much.
        found: u64,
        /// How much may be.
        limit: u64,
    },
    /// Its `.gnu_debugdata` is no xz stream, or a broken one.
    #[error("cannot unpack its .gnu_debugdata: {source}")]
    Unpack {
        /// Why.
        source: io::Error,
    },
    /// A debug file that is another file's.
    #[error("its debug file has another build-id or checksum")]
    Foreign,
    /// A debug file without symbols.
    #[error("its debug file has no symbols")]
    NoSymbols,
}

impl Problem {
    /// With the name of the file.
    pub(super) fn of(self, file: &Arc<str>) -> ImageError {
        ImageError { file: Arc::clone(file), problem: self }
    }
}

/// Why a pattern has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum Refusal {
    /// It matches more functions than a probe may.
    #[error("it matches {count} functions, the limit is {limit}; make the pattern narrower", limit = super::MAX_MATCHES)]
    TooMany {
        /// How many.
        count: usize,
    },
    /// So many names may match that they are not looked at one by one.
    #[error("more than {names} names may match; make the pattern narrower")]
    TooWide {
        /// How many were looked at.
        names: usize,
    },
    /// No word in it stands in symbol tables as it is.
    #[error("it has no word that could be looked for; name a part of the function")]
    NoWord,
}
