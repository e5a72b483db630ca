//! In: what the dynamic linker or a CUPTI call answered. Out: errors that name the file or the function.

use std::ffi::OsString;

use crate::Status;

/// A libcupti that could not be loaded.
#[derive(Debug, thiserror::Error)]
#[error("cannot load {}", name.display())]
pub struct OpenError {
    /// The name or path that was asked for.
    pub name: OsString,
    /// What the dynamic linker says.
    pub source: libloading::Error,
}

/// A CUPTI call that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The loaded libcupti does not have the function; nothing was called.
    #[error("the loaded libcupti has no {function}")]
    Absent {
        /// The function's name.
        function: &'static str,
    },
    /// CUPTI refused.
    #[error("{function} failed")]
    Failed {
        /// The function's name.
        function: &'static str,
        /// What it returned.
        #[source]
        status: Status,
    },
    /// `cuptiActivityGetNextRecord` named a record outside of the buffer, or one that it had named before.
    #[error("cuptiActivityGetNextRecord left the buffer or went back in it")]
    Astray,
}

impl CallError {
    /// What CUPTI returned, where it was called and refused.
    #[must_use]
    pub const fn status(&self) -> Option<Status> {
        match *self {
            Self::Failed { status, .. } => Some(status),
            Self::Absent { .. } | Self::Astray => None,
        }
    }
}
