//! Symbols that were taken out of a file: separate debug files, and `.gnu_debugdata`.
//!
//! Enters: a file without `.symtab`. Leaves: one that has its symbols, and belongs to it by build-id, or else by the checksum in
//! `.gnu_debuglink` (GDB manual, "Separate Debug Files" and "MiniDebugInfo"). Refuses: a file that does not belong; paths that
//! lead out of the root in which they are looked for; more than [`MAX_UNPACKED_BYTES`] of `.gnu_debugdata`.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lzma_rust2::XzReader;
use object::elf::SHT_SYMTAB;

use super::build_id::BuildId;
use super::elf::{Headers, Section, text_at};
use super::error::Problem;
use super::reader::Reader;
use super::table::{SymbolTable, Table};

/// Longest name in `.gnu_debuglink`, with its checksum.
const MAX_LINK_BYTES: u64 = 4096;
/// Longest file whose checksum is computed.
const MAX_CHECKED_BYTES: u64 = 2 << 30;
/// What is read at once.
const BUFFER_BYTES: u64 = 1 << 20;
/// Longest `.gnu_debugdata`.
const MAX_PACKED_BYTES: u64 = 16 << 20;
/// Longest file that is unpacked from it.
const MAX_UNPACKED_BYTES: u64 = 64 << 20;
/// Memory that the unpacking may use.
const UNPACKING_KIB: u32 = 64 << 10;

/// A file with the symbols of another.
#[derive(Debug)]
pub(super) struct DebugFile {
    pub(super) reader: Reader,
    headers: Headers,
    table: Table,
}

impl DebugFile {
    /// Its symbols.
    pub(super) fn symbols(&self) -> Option<SymbolTable<'_>> {
        SymbolTable::full(self.table, &self.reader, &self.headers)
    }

    /// Looks for the separate debug file of a file that lies in `folder` of one of `roots`.
    pub(super) fn find(
        stripped: &Stripped<'_>,
        roots: &[&Path],
        folder: Option<&Path>,
    ) -> Result<Option<Self>, Problem> {
        let by_id = stripped.build_id.and_then(BuildId::debug_path).map(PathBuf::from);
        let link = stripped.link();
        let by_link = link.iter().zip(folder).flat_map(|((name, _), folder)| {
            let debug = Path::new("usr/lib/debug").join(folder.strip_prefix("/").unwrap_or(folder));
            [folder.join(name), folder.join(".debug").join(name), debug.join(name)]
        });
        let mut refused = None;
        for path in by_id.into_iter().chain(by_link) {
            for root in roots {
                // That there is none is the rule; that one is not good is worth a word if no other is.
                let Ok(reader) = Reader::open_under(root, &path) else { continue };
                match stripped.accept(reader, link.as_ref().map(|(_, checksum)| *checksum)) {
                    Ok(found) => return Ok(Some(found)),
                    Err(problem) => refused = refused.or(Some(problem)),
                }
            }
        }
        refused.map_or(Ok(None), Err)
    }

    /// Unpacks `.gnu_debugdata`.
    pub(super) fn unpack(stripped: &Stripped<'_>) -> Result<Option<Self>, Problem> {
        let Some(section) = stripped.headers.section(".gnu_debugdata") else { return Ok(None) };
        let packed = stripped.read(section, MAX_PACKED_BYTES, ".gnu_debugdata")?;
        let mut unpacked = Vec::new();
        let mut unpacking =
            XzReader::new_mem_limit(&packed[..], false, UNPACKING_KIB).take(MAX_UNPACKED_BYTES + 1);
        unpacking.read_to_end(&mut unpacked).map_err(|source| Problem::Unpack { source })?;
        if unpacked.len() as u64 > MAX_UNPACKED_BYTES {
            let (found, limit) = (unpacked.len() as u64, MAX_UNPACKED_BYTES);
            return Err(Problem::TooLarge { what: "unpacked .gnu_debugdata, bytes", found, limit });
        }
        let reader = Reader::memory(Arc::<[u8]>::from(unpacked));
        let headers = Headers::read(&reader)?;
        Ok(Some(Self { reader, headers, table: Table::MiniDebugInfo }))
    }
}

/// A file that lacks its symbols.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stripped<'a> {
    pub(super) reader: &'a Reader,
    pub(super) headers: &'a Headers,
    pub(super) build_id: Option<&'a BuildId>,
}

impl Stripped<'_> {
    fn read(&self, section: &Section, limit_bytes: u64, what: &'static str) -> Result<Vec<u8>, Problem> {
        self.reader.read(section.offset, section.size_bytes, limit_bytes, what)
    }

    /// Name and checksum of its debug file: a name without folders, padded to four bytes, and a CRC-32.
    fn link(&self) -> Option<(String, u32)> {
        let section = self.headers.section(".gnu_debuglink")?;
        let content = self.read(section, MAX_LINK_BYTES, ".gnu_debuglink").ok()?;
        let name = text_at(&content, 0);
        let checksum = content.get((name.len() + 1).next_multiple_of(4)..)?.first_chunk()?;
        let is_name = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
        is_name.then(|| (name.to_owned(), u32::from_le_bytes(*checksum)))
    }

    /// Takes a file if it belongs to this one.
    fn accept(&self, reader: Reader, checksum: Option<u32>) -> Result<DebugFile, Problem> {
        let headers = Headers::read(&reader)?;
        let build_id = BuildId::read(&reader, &headers);
        let belongs = match (self.build_id, &build_id, checksum) {
            (Some(ours), Some(its), _) => ours == its,
            (_, _, Some(checksum)) => checksum == crc(&reader)?,
            _ => false,
        };
        if !belongs || headers.machine != self.headers.machine {
            return Err(Problem::Foreign);
        }
        if headers.section_of_kind(SHT_SYMTAB).is_none() {
            return Err(Problem::NoSymbols);
        }
        Ok(DebugFile { reader, headers, table: Table::DebugFile })
    }
}

/// The CRC-32 of a file.
fn crc(reader: &Reader) -> Result<u32, Problem> {
    let (found, limit) = (reader.size_bytes(), MAX_CHECKED_BYTES);
    if found > limit {
        return Err(Problem::TooLarge { what: "size, bytes", found, limit });
    }
    let mut hasher = crc32fast::Hasher::new();
    for offset in (0..found).step_by(BUFFER_BYTES as usize) {
        let size_bytes = (found - offset).min(BUFFER_BYTES);
        hasher.update(&reader.read(offset, size_bytes, BUFFER_BYTES, "bytes")?);
    }
    Ok(hasher.finalize())
}
