//! One ELF file.
//!
//! Enters: a path. Leaves: its build-id, the functions that patterns name, their return instructions. Refuses: what
//! [`Problem`] lists.

use std::path::Path;
use std::sync::Arc;

use super::Symbol;
use super::build_id::BuildId;
use super::cache::Cache;
use super::confirm;
use super::debug_file::{DebugFile, Stripped};
use super::elf::{Headers, Machine};
use super::error::{ImageError, Problem, Refusal};
use super::pattern::{Pattern, Query};
use super::reader::Reader;
use super::returns::{self, Returns, ReturnsError};
use super::search::Search;
use super::table::{SymbolTable, Table};

/// Whether the file at `path` has a section of this name. A look at its headers; a file that is none of code has no section.
#[must_use]
pub fn has_section(path: &Path, name: &str) -> bool {
    let headers = Reader::open(path).and_then(|reader| Headers::read(&reader));
    headers.is_ok_and(|headers| headers.section(name).is_some())
}

/// The functions that match one pattern, in the order of their addresses.
pub type Answer = Result<Vec<Symbol>, Refusal>;

/// A file with code in it.
#[derive(Debug)]
pub struct Image {
    shown: Arc<str>,
    reader: Reader,
    headers: Headers,
    build_id: Option<BuildId>,
    debug_file: Result<Option<DebugFile>, Problem>,
}

impl Image {
    /// Opens a file and reads its headers. `shown` is its name for people: a path in `/proc` says nothing to them.
    ///
    /// Where it has no full symbol table, that of its debug file is used, if there is one in this mount namespace.
    pub fn open(path: &Path, shown: impl Into<Arc<str>>) -> Result<Self, ImageError> {
        Self::open_under(path, shown, Path::new("/"))
    }

    /// The same, and its debug file is looked for in another root first: that of the process which maps it.
    pub fn open_under(path: &Path, shown: impl Into<Arc<str>>, root: &Path) -> Result<Self, ImageError> {
        let shown = shown.into();
        let named = Path::new(&*shown);
        let folder = if named.is_absolute() { named.parent() } else { path.parent() };
        Self::read(path, folder, root)
            .map(|image| Self { shown: Arc::clone(&shown), ..image })
            .map_err(|problem| problem.of(&shown))
    }

    fn read(path: &Path, folder: Option<&Path>, root: &Path) -> Result<Self, Problem> {
        let reader = Reader::open(path)?;
        let headers = Headers::read(&reader)?;
        let build_id = BuildId::read(&reader, &headers);
        let stripped = Stripped { reader: &reader, headers: &headers, build_id: build_id.as_ref() };
        let debug_file = match SymbolTable::full(Table::Symtab, &reader, &headers) {
            Some(_) => Ok(None),
            None => match DebugFile::find(&stripped, &[root, Path::new("/")], folder) {
                Ok(None) => DebugFile::unpack(&stripped),
                found => found,
            },
        };
        Ok(Self { shown: "".into(), reader, headers, build_id, debug_file })
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

    /// Whether it is this file, as a mapping has it: inode, and major and minor of the device.
    pub(super) fn is_inode(&self, number: u64, (major, minor): (u32, u32)) -> bool {
        self.reader.inode().is_some_and(|inode| {
            inode.number == number
                && (rustix::fs::major(inode.device), rustix::fs::minor(inode.device)) == (major, minor)
        })
    }

    /// Its tables of symbols, with that of its debug file.
    #[must_use]
    pub fn tables(&self) -> Vec<Table> {
        self.symbol_tables().iter().map(|table| table.table).collect()
    }

    /// Why a debug file was found and not used.
    #[must_use]
    pub fn debug_file_problem(&self) -> Option<&Problem> {
        self.debug_file.as_ref().err()
    }

    /// The functions that each of `patterns` matches; none if it matches none.
    pub fn lookup(&self, cache: &Cache, patterns: &[Pattern]) -> Result<Vec<Answer>, ImageError> {
        let identity = self.identity();
        let known = cache.get(&identity, patterns, |answers| self.confirms(patterns, answers));
        if let Some(answers) = known {
            return Ok(answers);
        }
        let answers = self.search(patterns).map_err(|problem| problem.of(&self.shown))?;
        cache.put(&identity, patterns, &answers);
        Ok(answers)
    }

    /// The return instructions of a function of this file.
    pub fn returns(&self, symbol: &Symbol) -> Result<Returns, ReturnsError> {
        returns::find(&self.reader, &self.headers, symbol)
    }

    fn search(&self, patterns: &[Pattern]) -> Result<Vec<Answer>, Problem> {
        let mut answers: Vec<Answer> = patterns.iter().map(|_| Err(Refusal::NoWord)).collect();
        let numbered = patterns.iter().enumerate();
        let queries: Vec<(usize, Query)> =
            numbered.filter_map(|(index, pattern)| Some((index, Query::new(pattern)?))).collect();
        let mut search = Search::new(&self.headers, &queries)?;
        for table in self.symbol_tables() {
            search.table(&table)?;
        }
        for (pattern, found) in search.into_found() {
            if let Some(answer) = answers.get_mut(pattern) {
                *answer = found;
            }
        }
        Ok(answers)
    }

    fn symbol_tables(&self) -> Vec<SymbolTable<'_>> {
        let (reader, headers) = (&self.reader, &self.headers);
        let dynamic = SymbolTable::dynamic(reader, headers);
        let full = SymbolTable::full(Table::Symtab, reader, headers);
        let debug = self.debug_file.as_ref().ok().and_then(|file| file.as_ref()?.symbols());
        [dynamic, full, debug].into_iter().flatten().collect()
    }

    /// What stands for the content of this file and of its debug file.
    fn identity(&self) -> String {
        let size_bytes = self.reader.size_bytes();
        let mut identity = match (&self.build_id, self.reader.inode()) {
            (Some(id), _) => format!("build-id {id}, {size_bytes} bytes"),
            (None, inode) => format!("{inode:?}"),
        };
        if let Ok(Some(file)) = &self.debug_file {
            identity += &format!(", symbols of {:?}", file.reader.inode());
        }
        identity
    }

    /// Whether this very file has what an earlier search found.
    fn confirms(&self, patterns: &[Pattern], answers: &[Answer]) -> bool {
        let tables = self.symbol_tables();
        patterns.iter().zip(answers).all(|(pattern, answer)| match (Query::new(pattern), answer) {
            (Some(query), Ok(symbols)) => {
                symbols.iter().all(|symbol| confirm::has(&self.headers, &tables, &query, symbol))
            }
            (None, Ok(_)) => false,
            (_, Err(_)) => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Image;
    use crate::event::Pid;
    use crate::symbols::{Cache, Pattern, Refusal, process};

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
        let patterns =
            [Pattern::Demangled("gpu_agent::demangle::signature".into()), Pattern::Demangled("*".into())];
        let found = image.lookup(&Cache::disabled(), &patterns).unwrap();
        assert_eq!(found[0].as_ref().unwrap().len(), 1, "{found:?}");
        assert_eq!(found[1], Err(Refusal::NoWord));
    }
}
