//! All symbols of all probes, looked for in each file once: a table of half a million names is long to read.
//!
//! Enters: specifications, files. Leaves: which functions each pattern found in which file. Refuses: to open a file that no probe
//! looks into.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Binaries, Binary, Candidate, file_name, glob_matches};
use crate::probes::specification::{Condition, Probe, Specification};
use crate::symbols::{Pattern, Symbol};

/// Files, and what was found in them.
pub(super) struct Search<'a> {
    specifications: &'a [Specification],
    binaries: &'a dyn Binaries,
    pub(super) files: Vec<File<'a>>,
}

/// A file, opened if a probe looks into it.
pub(super) struct File<'a> {
    pub(super) candidate: &'a Candidate,
    /// Patterns that are looked for, and their numbers.
    wanted: HashMap<Arc<str>, usize>,
    opened: Option<Result<Opened<'a>, String>>,
}

/// A file that was searched.
pub(super) struct Opened<'a> {
    pub(super) binary: Box<dyn Binary + 'a>,
    /// By the number of the pattern.
    answers: Vec<Result<Vec<Symbol>, String>>,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        specifications: &'a [Specification],
        candidates: &'a [Candidate],
        binaries: &'a dyn Binaries,
    ) -> Self {
        let files =
            candidates.iter().map(|candidate| File { candidate, wanted: HashMap::new(), opened: None });
        Self { specifications, binaries, files: files.collect() }
    }

    /// Opens and searches the files that probes look into.
    pub(super) fn run(&mut self) {
        for specification in self.specifications {
            for probe in &specification.probes {
                self.want(probe);
            }
        }
        for file in &mut self.files {
            if file.wanted.is_empty() {
                continue;
            }
            let mut wanted: Vec<(&Arc<str>, &usize)> = file.wanted.iter().collect();
            wanted.sort_by_key(|(_, number)| **number);
            let patterns: Vec<Pattern> = wanted.into_iter().map(|(symbol, _)| pattern(symbol)).collect();
            let opened = self.binaries.open(file.candidate).and_then(|binary| {
                let answers = binary.find(&patterns)?;
                Ok(Opened { binary, answers })
            });
            file.opened = Some(opened);
        }
    }

    /// Adds what a probe looks for to the files that it looks into.
    fn want(&mut self, probe: &Probe) {
        for variant in &probe.variants {
            let symbols = variant.instances.iter().flat_map(|instance| &instance.symbols);
            let own = variant.conditions.iter().filter_map(|condition| match condition {
                Condition::Symbol { pattern, library: None, .. } => Some(pattern),
                _ => None,
            });
            let symbols: Vec<&Arc<str>> = symbols.chain(own).collect();
            for file in &mut self.files {
                if probe.files.contain(file.candidate) {
                    symbols.iter().for_each(|symbol| file.want(symbol));
                }
                for condition in &variant.conditions {
                    if let Condition::Symbol { pattern, library: Some(library), .. } = condition
                        && file.is_named(library)
                    {
                        file.want(pattern);
                    }
                }
            }
        }
    }

    /// Whether a file of such a name is mapped.
    pub(super) fn is_mapped(&self, library: &str) -> bool {
        self.files.iter().any(|file| file.is_named(library))
    }
}

impl<'a> File<'a> {
    fn want(&mut self, symbol: &Arc<str>) {
        let next = self.wanted.len();
        self.wanted.entry(symbol.clone()).or_insert(next);
    }

    pub(super) fn is_named(&self, glob: &str) -> bool {
        glob_matches(glob, file_name(&self.candidate.shown))
    }

    /// The file, or why it cannot be read.
    pub(super) fn opened(&self) -> Result<&Opened<'a>, String> {
        match &self.opened {
            Some(Ok(opened)) => Ok(opened),
            Some(Err(error)) => Err(error.clone()),
            None => Err("no probe looks into it".to_owned()),
        }
    }

    /// The functions that a pattern found.
    pub(super) fn functions(&self, symbol: &Arc<str>) -> Result<&[Symbol], String> {
        let opened = self.opened()?;
        let answer = self.wanted.get(symbol).and_then(|number| opened.answers.get(*number));
        match answer {
            Some(Ok(found)) => Ok(found),
            Some(Err(why)) => Err(why.clone()),
            None => Ok(&[]),
        }
    }
}

/// An exact name, or a glob over demangled names.
fn pattern(symbol: &str) -> Pattern {
    if symbol.contains(['*', '(', '<', ':', ' ']) {
        Pattern::Demangled(symbol.to_owned())
    } else {
        Pattern::Exact(symbol.to_owned())
    }
}
