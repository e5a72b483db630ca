//! A specification that was read: names resolved, versions and repetitions spelled out, everything still to be compiled.
//!
//! Enters: a [`Document`]. Leaves: a [`Specification`]. Refuses: names that mean nothing, probes without what they need.

mod declare;
mod spell;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::document::{Document, Words};
use super::signature::Signature;
use super::source::{Source, SpecError, Text};
use super::types::{TensorRule, Types};
use crate::event::ProbeInfo;

/// Numbers and the words they stand for.
pub(super) type Table = BTreeMap<i128, Arc<str>>;
/// All tables, by name.
pub(super) type Tables = BTreeMap<Arc<str>, Arc<Table>>;

/// What every specification knows.
const PRELUDE: &str = include_str!("prelude.toml");

/// A specification: the probes of one engine.
#[derive(Debug)]
pub struct Specification {
    /// The file it is from.
    pub file: Arc<str>,
    /// The engine.
    pub engine: Arc<str>,
    /// Its probes.
    pub probes: Vec<Probe>,
    pub(super) scope: Scope,
}

/// What the expressions of a specification may name.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    pub(super) types: Types,
    pub(super) tables: Tables,
}

/// A probe.
#[derive(Debug)]
pub struct Probe {
    /// Its name; of several, the first and how many more.
    pub name: Arc<str>,
    /// Which mapped files it looks into.
    pub files: Files,
    /// Its shapes: the first that applies is used.
    pub(super) variants: Vec<Variant>,
}

/// Which mapped files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// Globs over file names.
    pub libraries: Vec<Arc<str>>,
    /// The program's own file.
    pub executable: bool,
}

/// One shape of a probe.
#[derive(Debug)]
pub(super) struct Variant {
    pub(super) conditions: Vec<Condition>,
    /// One for each combination of words of `each`.
    pub(super) instances: Vec<Instance>,
}

/// A function to attach to, if it is there.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) info: Arc<ProbeInfo>,
    pub(super) symbols: Vec<Arc<str>>,
    pub(super) attaches_all: bool,
    /// Whether exceptions may leave it; none: as its symbol says.
    pub(super) unwinds: Option<bool>,
    pub(super) has_duration: bool,
    /// Calls for which this is 0 are none of the probe's.
    pub(super) condition: Option<Text>,
    pub(super) signature: Signature,
    pub(super) tensors: Vec<(Arc<str>, Text, TensorRule)>,
    pub(super) fields: Vec<(Arc<str>, Field)>,
}

/// A field.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) of: Text,
    pub(super) condition: Option<Text>,
}

/// When a variant applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// A symbol is (not) there: in the same file, or in one of that name.
    Symbol { pattern: Arc<str>, library: Option<Arc<str>>, present: bool },
    /// A file of that name is (not) mapped.
    Mapped { library: Arc<str>, present: bool },
    /// The file has one of these build-ids.
    BuildId(Vec<Arc<str>>),
}

impl Probe {
    /// What is the same for all its calls; for those of its first function, where `each` repeats it.
    #[must_use]
    pub fn info(&self) -> Option<&ProbeInfo> {
        let mut instances = self.variants.iter().flat_map(|variant| &variant.instances);
        instances.next().map(|instance| &*instance.info)
    }

    /// How many shapes it has.
    #[must_use]
    pub fn variants(&self) -> usize {
        self.variants.len()
    }

    /// The names of its functions: more than one where `each` repeats it under several.
    #[must_use]
    pub fn names(&self) -> Vec<Arc<str>> {
        let instances = self.variants.iter().flat_map(|variant| &variant.instances);
        let mut names: Vec<Arc<str>> = Vec::new();
        for instance in instances {
            if !names.contains(&instance.info.name) {
                names.push(instance.info.name.clone());
            }
        }
        names
    }

    /// All symbols that are looked for, sorted.
    #[must_use]
    pub fn symbols(&self) -> Vec<Arc<str>> {
        let instances = self.variants.iter().flat_map(|variant| &variant.instances);
        let mut symbols: Vec<_> = instances.flat_map(|instance| instance.symbols.iter().cloned()).collect();
        symbols.sort();
        symbols.dedup();
        symbols
    }
}

impl Specification {
    /// Reads a specification and checks all of it.
    pub fn parse(file: &str, text: &str) -> Result<Self, SpecError> {
        let source = Source { file: file.into(), text: text.into() };
        let document = Document::parse(&source)?;
        let mut scope = Self::prelude()?;
        scope.declare(&source, &document)?;
        let engine = Text::new(&source, &document.engine);
        if engine.value.is_empty() {
            return Err(engine.error_whole("an engine without a name"));
        }
        let files =
            Files { libraries: spell::globs(&source, &document.libraries)?, executable: document.executable };
        let mut probes: Vec<Probe> = Vec::new();
        for probe in &document.probe {
            let spelled = spell::probe(&source, &engine.value.as_str().into(), &files, probe.get_ref())?;
            let names = spelled.names();
            if let Some(name) =
                names.iter().find(|name| probes.iter().any(|other| other.names().contains(*name)))
            {
                let message = format!("a second probe `{name}`");
                return Err(source
                    .error(probe.get_ref().name.span(), message)
                    .help("shapes of one probe are its `[[probe.variant]]`s"));
            }
            probes.push(spelled);
        }
        let specification = Self { file: file.into(), engine: engine.value.into(), probes, scope };
        specification.check()?;
        Ok(specification)
    }

    fn prelude() -> Result<Scope, SpecError> {
        let source = Source { file: "prelude.toml".into(), text: PRELUDE.into() };
        let mut scope = Scope::default();
        // The schema is that of specifications, which have an engine.
        let text = format!("engine = \"prelude\"\n{PRELUDE}");
        let source = Source { text: text.into(), ..source };
        scope.declare(&source, &Document::parse(&source)?)?;
        Ok(scope)
    }
}

/// The name of a probe: a word, or a path as C++ and Rust write it.
fn probe_name(source: &Source, words: &Words, name: &str) -> Result<Arc<str>, SpecError> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_:.-".contains(letter);
    named(source, words, name, is_plain, "letters, digits, `_`, `:`, `.` and `-`")
}

/// A name that becomes a field of logs.
fn value_name(source: &Source, words: &Words) -> Result<Arc<str>, SpecError> {
    let is_plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    named(source, words, words.get_ref(), is_plain, "lower-case letters, digits and `_`")
}

fn named(
    source: &Source,
    words: &Words,
    name: &str,
    is_plain: impl Fn(char) -> bool,
    plain: &str,
) -> Result<Arc<str>, SpecError> {
    const MOST: usize = 96;
    if !name.is_empty() && name.len() <= MOST && name.chars().all(is_plain) {
        return Ok(name.into());
    }
    let error = source.error(words.span(), format!("`{name}` is no name"));
    Err(error.help(format!("expected {plain}, {MOST} at most")))
}

#[cfg(test)]
mod tests;
