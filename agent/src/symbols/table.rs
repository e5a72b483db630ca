//! The symbol tables of a file.
//!
//! Enters: headers. Leaves: where the tables lie, and single symbols of them. Refuses: nothing of its own; what it reads
//! with has limits.

use object::LittleEndian as Le;
use object::elf::{SHN_UNDEF, SHT_DYNSYM, SHT_SYMTAB, STT_FUNC, STT_GNU_IFUNC, Sym64};
use serde::{Deserialize, Serialize};

use super::elf::{Headers, first};
use super::error::Problem;
use super::reader::Reader;
use super::strings::StringTable;
use super::versions::Versions;

/// Size of a symbol.
pub(super) const SYMBOL_BYTES: u64 = size_of::<Sym64<Le>>() as u64;

/// Where a symbol was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Table {
    /// The dynamic symbol table.
    Dynsym,
    /// The full symbol table.
    Symtab,
    /// That of a separate debug file.
    DebugFile,
    /// That in `.gnu_debugdata`.
    MiniDebugInfo,
}

impl Table {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dynsym => ".dynsym",
            Self::Symtab => ".symtab",
            Self::DebugFile => "debug file",
            Self::MiniDebugInfo => ".gnu_debugdata",
        }
    }
}

/// A table of symbols.
#[derive(Debug)]
pub(super) struct SymbolTable<'a> {
    pub(super) table: Table,
    pub(super) reader: &'a Reader,
    headers: &'a Headers,
    pub(super) offset: u64,
    pub(super) count: u64,
    pub(super) strings: StringTable,
}

impl<'a> SymbolTable<'a> {
    /// The dynamic table of a file, if it has one.
    pub(super) fn dynamic(reader: &'a Reader, headers: &'a Headers) -> Option<Self> {
        Self::of_kind(SHT_DYNSYM, Table::Dynsym, reader, headers)
    }

    /// The full table of a file, if it has one; `table` says what kind of file it is.
    pub(super) fn full(table: Table, reader: &'a Reader, headers: &'a Headers) -> Option<Self> {
        Self::of_kind(SHT_SYMTAB, table, reader, headers)
    }

    fn of_kind(
        kind: object::elf::SectionType,
        table: Table,
        reader: &'a Reader,
        headers: &'a Headers,
    ) -> Option<Self> {
        let section = headers.section_of_kind(kind)?;
        let strings = headers.sections.get(section.link as usize)?;
        Some(Self {
            table,
            reader,
            headers,
            offset: section.offset,
            count: section.size_bytes / SYMBOL_BYTES,
            strings: StringTable { offset: strings.offset, size_bytes: strings.size_bytes },
        })
    }

    /// The versions of its symbols, which dynamic ones have.
    pub(super) fn versions(&self) -> Result<Versions, Problem> {
        match self.table {
            Table::Dynsym => Versions::read(self.reader, self.headers, self.strings),
            _ => Ok(Versions::default()),
        }
    }

    /// The symbol of a number.
    pub(super) fn symbol(&self, number: u64) -> Option<Sym64<Le>> {
        let mut bytes = [0; SYMBOL_BYTES as usize];
        let offset = self.offset.checked_add(number.checked_mul(SYMBOL_BYTES)?)?;
        let is_there = number < self.count && self.reader.fill(offset, &mut bytes, "symbol").is_ok();
        first::<Sym64<Le>>(&bytes).ok().filter(|_| is_there).copied()
    }
}

/// Whether a symbol is a function of this file.
pub(super) fn is_function(symbol: &Sym64<Le>) -> bool {
    let kind = symbol.st_type();
    (kind == STT_FUNC || kind == STT_GNU_IFUNC)
        // Those of PLT entries are undefined, and yet have an address in programs at a fixed place.
        && symbol.st_shndx.get(Le) != SHN_UNDEF
        && symbol.st_value.get(Le) != 0
}
