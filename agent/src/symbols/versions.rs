//! The versions of dynamic symbols.
//!
//! Enters: `.gnu.version` and `.gnu.version_d` (Linux Standard Base, "Symbol Versioning"). Leaves: `@VERSION`, or
//! `@@VERSION` for the one that is linked with by default. Refuses: more than [`MAX_VERSIONS`], names beyond
//! [`MAX_NAME_BYTES`]; versions of functions of other files.

use std::sync::Arc;

use object::LittleEndian as Le;
use object::elf::{SHT_GNU_VERDEF, SHT_GNU_VERSYM, Verdaux, Verdef};

use super::elf::{Headers, first, text_at};
use super::error::Problem;
use super::reader::Reader;
use super::strings::StringTable;

/// Most versions of one file; glibc has forty.
const MAX_VERSIONS: usize = 4096;
/// Longest name of a version.
const MAX_NAME_BYTES: u64 = 256;
/// Longest table of version numbers: two bytes for each of as many symbols as are looked at.
const MAX_NUMBERS_BYTES: u64 = 32 << 20;
/// Longest table of definitions.
const MAX_DEFINITIONS_BYTES: u64 = 1 << 20;
/// Bit of a number that says: not the default (VERSYM_HIDDEN).
const HIDDEN: u16 = 0x8000;
/// The highest number that means no version: local and global.
const NO_VERSION: u16 = 1;

/// The version of each symbol.
#[derive(Debug, Default)]
pub(super) struct Versions {
    /// Two bytes for each symbol.
    numbers: Vec<u8>,
    /// Names by number, behind `@` and `@@`.
    names: Vec<(u16, [Arc<str>; 2])>,
}

impl Versions {
    pub(super) fn read(reader: &Reader, headers: &Headers, strings: StringTable) -> Result<Self, Problem> {
        let sections = headers.section_of_kind(SHT_GNU_VERSYM).zip(headers.section_of_kind(SHT_GNU_VERDEF));
        let Some((numbers, definitions)) = sections else { return Ok(Self::default()) };
        let read = |section: &super::elf::Section, limit_bytes, what| {
            reader.read(section.offset, section.size_bytes, limit_bytes, what)
        };
        let numbers = read(numbers, MAX_NUMBERS_BYTES, "version numbers")?;
        let definitions = read(definitions, MAX_DEFINITIONS_BYTES, "version definitions")?;
        let mut names = Vec::new();
        let mut rest = &definitions[..];
        while let Ok(definition) = first::<Verdef<Le>>(rest)
            && names.len() < MAX_VERSIONS
        {
            let name =
                rest.get(definition.vd_aux.get(Le) as usize..).and_then(|aux| first::<Verdaux<Le>>(aux).ok());
            if let Some(name) = name.and_then(|aux| name_at(reader, strings, aux.vda_name.get(Le))) {
                names.push((
                    definition.vd_ndx.get(Le).0,
                    [format!("@{name}").into(), format!("@@{name}").into()],
                ));
            }
            // The last one says 0.
            let next = definition.vd_next.get(Le) as usize;
            rest = if next == 0 { &[] } else { rest.get(next..).unwrap_or_default() };
        }
        names.sort_by_key(|(number, _)| *number);
        Ok(Self { numbers, names })
    }

    /// The version of a symbol, if it has one.
    pub(super) fn of(&self, symbol: u64) -> Option<&Arc<str>> {
        let at = usize::try_from(symbol).ok()?.checked_mul(2)?;
        let number = u16::from_le_bytes(self.numbers.get(at..)?.first_chunk().copied()?);
        let index = number & !HIDDEN;
        let found = self
            .names
            .binary_search_by_key(&index, |(number, _)| *number)
            .ok()
            .filter(|_| index > NO_VERSION)?;
        let (_, [hidden, default]) = self.names.get(found)?;
        Some(if number & HIDDEN == 0 { default } else { hidden })
    }
}

fn name_at(reader: &Reader, strings: StringTable, place: u32) -> Option<String> {
    let left = strings.size_bytes.checked_sub(place.into())?;
    let offset = strings.offset.checked_add(place.into())?;
    let bytes = reader.read(offset, left.min(MAX_NAME_BYTES), MAX_NAME_BYTES, "name of a version").ok()?;
    Some(text_at(&bytes, 0).to_owned()).filter(|name| !name.is_empty())
}
