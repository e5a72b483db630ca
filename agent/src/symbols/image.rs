//! One ELF file.
//!
//! Enters: a path. Leaves: its build-id, the functions that patterns name, their return instructions. Refuses: what
//! [`Problem`] lists.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use object::LittleEndian as Le;
use object::elf::{NT_GNU_BUILD_ID, NoteHeader64, SHT_DYNSYM, SHT_SYMTAB};

use super::cache::Cache;
use super::elf::{Headers, Machine, Section, first};
use super::error::{ImageError, Problem, Refusal};
use super::pattern::{Pattern, Query};
use super::reader::Reader;
use super::returns::{self, Returns, ReturnsError};
use super::search::{Search, SymbolTable};
use super::strings::StringTable;
use super::{Symbol, Table};

/// Longest note that is read, bytes.
const MAX_NOTE_BYTES: u64 = 64 << 10;
/// Most bytes that identify a build; linkers write 8 to 32.
const MAX_BUILD_ID_BYTES: usize = 64;

/// A file with code in it.
#[derive(Debug)]
pub struct Image {
    shown: Arc<str>,
    reader: Reader,
    headers: Headers,
    build_id: Option<BuildId>,
}

/// What a linker wrote to tell this build from any other (NT_GNU_BUILD_ID).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BuildId(Box<[u8]>);

impl fmt::Display for BuildId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl Image {
    /// Opens a file and reads its headers. `shown` is its name for people: a path in `/proc` says nothing to them.
    pub fn open(path: &Path, shown: impl Into<Arc<str>>) -> Result<Self, ImageError> {
        let shown = shown.into();
        let opened = Reader::open(path).and_then(Self::read);
        let (reader, headers, build_id) = opened.map_err(|problem| problem.of(&shown))?;
        Ok(Self { shown, reader, headers, build_id })
    }

    fn read(reader: Reader) -> Result<(Reader, Headers, Option<BuildId>), Problem> {
        let headers = Headers::read(&reader)?;
        let build_id = build_id(&reader, &headers);
        Ok((reader, headers, build_id))
    }

    /// Its name for people.
    #[must_use]
    pub fn shown(&self) -> &Arc<str> {
        &self.shown
    }

    /// Its build-id, if it has one.
    #[must_use]
    pub fn build_id(&self) -> Option<&BuildId> {
        self.build_id.as_ref()
    }

    /// What its instructions are for.
    #[must_use]
    pub fn machine(&self) -> Machine {
        self.headers.machine
    }

    /// The functions that each of `patterns` matches, in the order of their addresses; none if it matches none.
    pub fn lookup(
        &self,
        cache: &Cache,
        patterns: &[Pattern],
    ) -> Result<Vec<Result<Vec<Symbol>, Refusal>>, ImageError> {
        let _ = cache;
        self.search(patterns).map_err(|problem| problem.of(&self.shown))
    }

    fn search(&self, patterns: &[Pattern]) -> Result<Vec<Result<Vec<Symbol>, Refusal>>, Problem> {
        let mut answers: Vec<_> = patterns.iter().map(|_| Err(Refusal::NoWord)).collect();
        let queries: Vec<(usize, Query)> = patterns
            .iter()
            .enumerate()
            .filter_map(|(index, pattern)| Some((index, Query::new(pattern)?)))
            .collect();
        let Some(mut search) = Search::new(&self.headers, &queries) else { return Ok(answers) };
        for table in self.tables() {
            search.table(&table)?;
        }
        for (pattern, found) in search.into_found() {
            if let Some(answer) = answers.get_mut(pattern) {
                *answer = found;
            }
        }
        Ok(answers)
    }

    fn tables(&self) -> impl Iterator<Item = SymbolTable<'_>> {
        [(SHT_DYNSYM, Table::Dynsym), (SHT_SYMTAB, Table::Symtab)].into_iter().filter_map(|(kind, table)| {
            let section = self.headers.sections.iter().find(|section| section.kind == kind)?;
            let strings = self.headers.sections.get(section.link as usize)?;
            Some(SymbolTable {
                table,
                reader: &self.reader,
                offset: section.offset,
                size_bytes: section.size_bytes,
                strings: StringTable { offset: strings.offset, size_bytes: strings.size_bytes },
                versions: Vec::new(),
            })
        })
    }

    /// The return instructions of a function of this file.
    pub fn returns(&self, symbol: &Symbol) -> Result<Returns, ReturnsError> {
        returns::find(&self.reader, &self.headers, symbol)
    }
}

/// The build-id in the notes of a file.
fn build_id(reader: &Reader, headers: &Headers) -> Option<BuildId> {
    let mapped = headers.notes.iter().copied();
    let is_note = |section: &&Section| &*section.name == ".note.gnu.build-id";
    let sections =
        headers.sections.iter().filter(is_note).map(|section| (section.offset, section.size_bytes));
    mapped.chain(sections).find_map(|(offset, size_bytes)| {
        let notes = reader.read(offset, size_bytes, MAX_NOTE_BYTES, "note").ok()?;
        find_build_id(&notes)
    })
}

/// `namesz descsz type name desc`, each part padded to four bytes.
fn find_build_id(mut notes: &[u8]) -> Option<BuildId> {
    loop {
        let header = first::<NoteHeader64<Le>>(notes).ok()?;
        let padded = |length: usize| length.checked_next_multiple_of(4);
        let name_bytes = header.n_namesz.get(Le) as usize;
        let content_bytes = header.n_descsz.get(Le) as usize;
        let rest = notes.get(size_of::<NoteHeader64<Le>>()..)?;
        let content = rest.get(padded(name_bytes)?..)?;
        if header.n_type.get(Le) == NT_GNU_BUILD_ID && rest.starts_with(b"GNU\0") && name_bytes == 4 {
            let id = content.get(..content_bytes)?;
            return (!id.is_empty() && id.len() <= MAX_BUILD_ID_BYTES).then(|| BuildId(id.into()));
        }
        notes = content.get(padded(content_bytes)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Image;
    use crate::event::Pid;
    use crate::symbols::{Cache, Pattern, process};

    #[test]
    fn functions_of_this_process_lie_where_symbols_say() {
        let this = std::process::id();
        let mapped = process::mapped(Pid(this)).unwrap();
        let libc = mapped.iter().find(|file| file.shown.contains("/libc.so")).unwrap();
        let image = Image::open(&libc.path, libc.shown.clone()).unwrap();
        let found = image.lookup(&Cache::disabled(), &[Pattern::Exact("getppid".into())]).unwrap();
        let [symbol] = &found[0].as_ref().unwrap()[..] else { panic!("{found:?}") };
        let getppid = libc::getppid as *const () as u64;
        assert_eq!(libc.address_of(symbol.file_offset), Some(getppid));
        assert_eq!(libc.load_bias + symbol.file_offset, getppid);
        assert_eq!(image.returns(symbol).unwrap().offsets.len(), 1);
    }

    #[test]
    fn functions_of_rust_are_found_by_their_demangled_name() {
        let image = Image::open(Path::new("/proc/self/exe"), "this test").unwrap();
        let patterns = [
            Pattern::Demangled("gpu_agent::demangle::signature".into()),
            Pattern::Demangled("*".into()),
            Pattern::Demangled("core::*".into()),
        ];
        let found = image.lookup(&Cache::disabled(), &patterns).unwrap();
        assert_eq!(found[0].as_ref().unwrap().len(), 1, "{found:?}");
        assert!(found[1].is_err() && found[2].is_err());
    }
}
