//! Where in a file the functions lie that a probe names.
//!
//! Enters: files that processes map (`process`), patterns. Leaves: for each pattern the functions that match, with their
//! place in the file, and the places of their return instructions. Refuses: to believe a file. Its owner may be hostile: every
//! size is bounded, what contradicts itself is an error with the file's name, and nothing of it is mapped into this process.
//!
//! ```text
//!  /proc/PID/maps ─► process::mapped ─► Image::open ─► Image::lookup ─► Symbol ─► Image::returns
//!                                          │             │
//!                              separate debug file     Cache, by build-id
//! ```
//!
//! A library of PyTorch has half a million symbols and 80 MB of names. They are streamed, not loaded, and searched for
//! the words that a match must contain (`pattern`); only names that contain them are demangled.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

mod build_id;
mod cache;
mod confirm;
mod debug_file;
mod elf;
mod error;
mod image;
pub mod loader;
mod pattern;
pub mod process;
mod reader;
mod returns;
mod search;
mod strings;
mod table;
mod versions;

pub use build_id::BuildId;
pub use cache::{Cache, CacheStats};
pub use elf::Machine;
pub use error::{ImageError, Problem, Refusal};
pub use image::{Answer, Image, has_section};
pub use pattern::Pattern;
pub use returns::{Returns, ReturnsError};
pub use table::Table;

/// Most functions that one pattern may match.
pub const MAX_MATCHES: usize = 64;

/// A function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Symbol {
    /// Its name, without version.
    pub raw: Arc<str>,
    /// The same, demangled and without parameters.
    pub demangled: Arc<str>,
    /// Further names of it that match.
    pub aliases: Vec<Arc<str>>,
    /// Its version, as in `@@GLIBC_2.14`.
    pub version: Option<Arc<str>>,
    /// Its address as the file has it.
    pub address: u64,
    /// Where in the file its first instruction lies.
    pub file_offset: u64,
    /// Its size, 0 if the file does not say.
    pub size_bytes: u64,
    /// It does not do the work itself, but returns the address of the function that does (STT_GNU_IFUNC).
    pub is_ifunc: bool,
    /// Where it was found.
    pub table: Table,
    /// Its number there.
    pub number: u64,
    /// What a compiler moved out of it because it seldom runs (`name.cold`). Several functions can have one name, so some of
    /// these may be those of another.
    pub cold: Vec<Part>,
}

impl Symbol {
    /// All of it but what was moved out.
    fn whole(&self) -> Part {
        Part { address: self.address, size_bytes: self.size_bytes, table: self.table, number: self.number }
    }
}

/// A part of the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its address as the file has it.
    pub address: u64,
    /// Its size.
    pub size_bytes: u64,
    /// Where its symbol was found.
    pub table: Table,
    /// The number of its symbol there.
    pub number: u64,
}
