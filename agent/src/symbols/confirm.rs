//! Whether a file has a function that was found in it before, or in another copy of it.
//!
//! Enters: a symbol from the cache. Leaves: yes or no. Refuses: to trust a build-id. Whoever writes a file chooses its
//! build-id, and could so put places into the cache that are in the middle of an instruction of somebody else's copy; a
//! breakpoint there would end that process.

use object::LittleEndian as Le;

use super::elf::{Headers, text_at};
use super::pattern::{Demangled, Query, split_version};
use super::search::{Kind, split_copy};
use super::table::{SymbolTable, is_function};
use super::{Part, Symbol};

/// Longest of what may follow a function's name: a version, and marks of compilers.
const MAX_MARKS_BYTES: u64 = 512;

/// Whether the tables have `symbol`, as it is, and `query` matches it.
pub(super) fn has(headers: &Headers, tables: &[SymbolTable<'_>], query: &Query, symbol: &Symbol) -> bool {
    headers.code_offset(symbol.address) == Some(symbol.file_offset)
        && has_part(tables, &symbol.whole(), &symbol.raw, Kind::Whole)
        && query.matches(&symbol.raw, &mut Demangled::default())
        && symbol.cold.iter().all(|part| {
            let mut names = std::iter::once(&symbol.raw).chain(&symbol.aliases);
            names.any(|name| has_part(tables, part, name, Kind::Cold))
        })
}

fn has_part(tables: &[SymbolTable<'_>], part: &Part, name: &str, kind: Kind) -> bool {
    let Some(table) = tables.iter().find(|table| table.table == part.table) else { return false };
    let Some(symbol) = table.symbol(part.number) else { return false };
    let place = u64::from(symbol.st_name.get(Le));
    let (Some(left), Some(offset)) =
        (table.strings.size_bytes.checked_sub(place), table.strings.offset.checked_add(place))
    else {
        return false;
    };
    let longest = name.len() as u64 + MAX_MARKS_BYTES;
    let Ok(text) = table.reader.read(offset, left.min(longest), longest, "name of a symbol") else {
        return false;
    };
    is_function(&symbol)
        && symbol.st_value.get(Le) == part.address
        && symbol.st_size.get(Le) == part.size_bytes
        && split_copy(split_version(text_at(&text, 0)).0) == (name, kind)
}
