//! What is asked of a file.
//!
//! Enters: patterns. Leaves: functions and the ways out of them. Refuses: nothing; tests put their own files behind it.

use super::Candidate;
use crate::probes::abi::Arch;
use crate::symbols::{Cache, Image, Machine, Pattern, Returns, Symbol};

/// Opens files.
pub trait Binaries {
    /// The file of a candidate, or why it cannot be read.
    fn open<'a>(&'a self, candidate: &Candidate) -> Result<Box<dyn Binary + 'a>, String>;
}

/// A file with functions.
pub trait Binary {
    /// What its instructions are for.
    fn arch(&self) -> Arch;
    /// Its build-id, in hexadecimal digits.
    fn build_id(&self) -> Option<String>;
    /// The functions that each pattern matches, or why it cannot be looked for.
    fn find(&self, patterns: &[Pattern]) -> Result<Vec<Result<Vec<Symbol>, String>>, String>;
    /// Where a function returns.
    fn returns(&self, symbol: &Symbol) -> Result<Returns, String>;
}

/// ELF files.
#[derive(Debug)]
pub struct Elf<'a> {
    /// What was found in them before.
    pub cache: &'a Cache,
}

struct Opened<'a> {
    image: Image,
    cache: &'a Cache,
}

impl Binaries for Elf<'_> {
    fn open<'a>(&'a self, candidate: &Candidate) -> Result<Box<dyn Binary + 'a>, String> {
        let image =
            Image::open(&candidate.path, candidate.shown.clone()).map_err(|error| error.to_string())?;
        Ok(Box::new(Opened { image, cache: self.cache }))
    }
}

impl Binary for Opened<'_> {
    fn arch(&self) -> Arch {
        match self.image.machine() {
            Machine::X86_64 => Arch::X86_64,
            Machine::Aarch64 => Arch::Aarch64,
        }
    }

    fn build_id(&self) -> Option<String> {
        self.image.build_id().map(ToString::to_string)
    }

    fn find(&self, patterns: &[Pattern]) -> Result<Vec<Result<Vec<Symbol>, String>>, String> {
        let found = self.image.lookup(self.cache, patterns).map_err(|error| error.to_string())?;
        Ok(found.into_iter().map(|answer| answer.map_err(|refusal| refusal.to_string())).collect())
    }

    fn returns(&self, symbol: &Symbol) -> Result<Returns, String> {
        self.image.returns(symbol).map_err(|error| error.to_string())
    }
}
