//! From specifications to what is attached in one process.
//!
//! Enters: specifications, the files that a process maps. Leaves: [`Plan`]s, and for each probe what was found or why nothing was.
//! Refuses: to guess: a symbol at several addresses, a condition that cannot be told and a file that cannot be read are reasons.

mod binary;
mod find;
mod place;
#[cfg(test)]
mod tests;

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::abi::Arch;
use super::plan::Plan;
use super::specification::{Files, Specification};
use crate::event::{Pid, ProbeInfo};
use crate::symbols::Table;
use crate::symbols::process::{self, ProcessError};

pub use binary::{Binaries, Binary, Elf};

/// A file of a process.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// A path that opens the very file.
    pub path: PathBuf,
    /// Its path as the process sees it.
    pub shown: Arc<str>,
    /// Where byte 0 of the file would lie.
    pub load_bias: u64,
    /// Whether it is the program itself.
    pub is_executable: bool,
}

/// The files whose code a process can execute.
pub fn candidates(pid: Pid) -> Result<Vec<Candidate>, ProcessError> {
    let own = std::fs::metadata(format!("/proc/{pid}/exe")).ok();
    let is_own = |path: &std::path::Path| {
        let (Some(own), Ok(other)) = (&own, std::fs::metadata(path)) else { return false };
        (own.dev(), own.ino()) == (other.dev(), other.ino())
    };
    let mapped = process::mapped(pid)?;
    let candidates = mapped.into_iter().map(|mapped| Candidate {
        is_executable: is_own(&mapped.path),
        path: mapped.path,
        shown: mapped.shown,
        load_bias: mapped.load_bias,
    });
    Ok(candidates.collect())
}

/// What the system allows.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether uretprobes can tell which function returned (attach cookies, Linux 5.15).
    pub trampolines: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { trampolines: true }
    }
}

/// What becomes of the probes in one process.
#[derive(Debug, Default)]
pub struct Resolution {
    /// To be attached.
    pub plans: Vec<Plan>,
    /// The same, for people.
    pub found: Vec<Found>,
    /// What is not attached.
    pub missing: Vec<Missing>,
}

/// A function that is probed.
#[derive(Debug, Clone)]
pub struct Found {
    /// The probe.
    pub info: Arc<ProbeInfo>,
    /// The file.
    pub file: Arc<str>,
    /// The function, as its symbol table has it.
    pub symbol: Arc<str>,
    /// The same, demangled.
    pub demangled: Arc<str>,
    /// Its address as the file has it.
    pub address: u64,
    /// Which table it was in.
    pub table: Table,
    /// How its return is seen.
    pub exit: Seen,
    /// Where its arguments lie: name, type and place.
    pub arguments: Vec<(Arc<str>, String, String)>,
}

/// How a return is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// By a uretprobe.
    Trampoline,
    /// At so many return instructions.
    Instructions(usize),
    /// Not at all: the reason.
    No(String),
}

/// A probe that is not attached, or not in one of the files.
#[derive(Debug, Clone)]
pub struct Missing {
    /// The engine.
    pub engine: Arc<str>,
    /// The probe.
    pub probe: Arc<str>,
    /// The file, where there is one.
    pub file: Option<Arc<str>>,
    /// Why.
    pub why: Why,
}

/// Why a probe is not attached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// No file of that name.
    #[error("no file is mapped that it looks into ({0})")]
    NoFile(Files),
    /// The file cannot be read.
    #[error("{0}")]
    File(String),
    /// No variant applies.
    #[error("{0}")]
    Condition(String),
    /// It has no such symbol.
    #[error("no symbol {0}")]
    NoSymbol(String),
    /// The pattern cannot be looked for.
    #[error("{symbol}: {why}")]
    Pattern {
        /// The pattern.
        symbol: Arc<str>,
        /// Why.
        why: String,
    },
    /// More than one function.
    #[error("{symbol} is at {} addresses ({}); `matches = \"all\"` takes all of them", addresses.len(), hex(addresses))]
    Ambiguous {
        /// The pattern.
        symbol: Arc<str>,
        /// Where they are.
        addresses: Vec<u64>,
    },
    /// An indirect function.
    #[error("{0} only chooses the function that does the work (STT_GNU_IFUNC)")]
    Indirect(Arc<str>),
    /// The specification has no places for this architecture.
    #[error("{0}")]
    Arch(String),
}

fn hex(addresses: &[u64]) -> String {
    const MOST: usize = 4;
    let mut shown: Vec<String> = addresses.iter().take(MOST).map(|address| format!("{address:#x}")).collect();
    if addresses.len() > MOST {
        shown.push("…".to_owned());
    }
    shown.join(", ")
}

impl std::fmt::Display for Files {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let own = self.executable.then_some("the program itself");
        let names: Vec<&str> = self.libraries.iter().map(|glob| &**glob).chain(own).collect();
        formatter.write_str(&names.join(", "))
    }
}

/// Finds the functions of all specifications in the files of a process.
pub fn resolve(
    specifications: &[Specification],
    candidates: &[Candidate],
    binaries: &dyn Binaries,
    options: Options,
) -> Resolution {
    let mut search = find::Search::new(specifications, candidates, binaries);
    search.run();
    let mut resolution = Resolution::default();
    for specification in specifications {
        for probe in &specification.probes {
            place::probe(&search, specification, probe, options, &mut resolution);
        }
    }
    resolution
}

/// The name of a file without its folders.
fn file_name(shown: &str) -> &str {
    let name = shown.rsplit('/').next().unwrap_or(shown);
    name.strip_suffix(" (deleted)").unwrap_or(name)
}

/// Whether a name matches a glob, in which `*` stands for any text.
fn glob_matches(glob: &str, name: &str) -> bool {
    let mut pieces = glob.split('*');
    let Some(rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut rest = rest;
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        let Some(at) = rest.find(piece) else { return false };
        rest = rest.get(at + piece.len()..).unwrap_or_default();
    }
    true
}

impl Files {
    /// Whether a file is one of them.
    fn contain(&self, candidate: &Candidate) -> bool {
        (self.executable && candidate.is_executable)
            || self.libraries.iter().any(|glob| glob_matches(glob, file_name(&candidate.shown)))
    }
}

impl Found {
    /// Where the arguments lie, for people.
    fn arguments(
        arch: Arch,
        signature: &super::signature::Signature,
        placement: &super::abi::Placement,
    ) -> Vec<(Arc<str>, String, String)> {
        let arguments = signature.arguments.iter().zip(&placement.arguments);
        arguments
            .map(|(argument, placed)| {
                (argument.name.clone(), argument.r#type.to_string(), placed.shown(arch))
            })
            .collect()
    }
}
