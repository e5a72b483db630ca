//! The search of a string table for names that may match.
//!
//! Enters: a string table, queries. Leaves: the names that contain what a query looks for, with their places. Refuses: to hold
//! the table: it passes through one buffer; names longer than [`MAX_NAME_BYTES`]; more names than the limits below, a query
//! with more is refused.

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::Refusal;
use super::error::Problem;
use super::pattern::Query;
use super::reader::Reader;

/// Longest name that is looked at.
const MAX_NAME_BYTES: usize = 64 << 10;
/// Longest string table. The longest known are those of browsers with all their symbols, some 200 MB.
const MAX_TABLE_BYTES: u64 = 1 << 30;
/// Most names that one query may keep, bytes.
const MAX_QUERY_BYTES: usize = 8 << 20;
/// Most names that all queries together may keep, bytes.
const MAX_BYTES: usize = 32 << 20;
/// Most queries of one search: their needles make a table of up to 16 MB.
const MAX_QUERIES: usize = 1024;
/// What is read at once.
const BUFFER_BYTES: usize = 1 << 20;

/// A part of the file that holds strings.
#[derive(Debug, Clone, Copy)]
pub(super) struct StringTable {
    pub(super) offset: u64,
    pub(super) size_bytes: u64,
}

/// Names that may match, in the order of their places.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    names: Vec<Name>,
    /// The names' text, one after another.
    text: Vec<u8>,
    /// Query numbers, those of a name side by side.
    queries: Vec<u32>,
}

#[derive(Debug)]
struct Name {
    /// Where it starts in the table.
    start: u32,
    length: u32,
    text_at: usize,
    queries_at: usize,
}

impl Candidates {
    /// The name at `place`, if it may match, and the queries that it may match. Linkers let a name that ends as another does
    /// start in the middle of that.
    pub(super) fn at(&self, place: u32) -> Option<(&[u8], &[u32])> {
        let index = self.names.partition_point(|name| name.start <= place).checked_sub(1)?;
        let name = self.names.get(index)?;
        let skipped = place - name.start;
        if skipped >= name.length {
            return None;
        }
        let text = self.text.get(name.text_at + skipped as usize..name.text_at + name.length as usize)?;
        let end = self.names.get(index + 1).map_or(self.queries.len(), |next| next.queries_at);
        Some((text, self.queries.get(name.queries_at..end)?))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

/// Looks for the needles of queries.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    queries: &'a [(usize, Query)],
    needles: AhoCorasick,
    kept_bytes: Vec<usize>,
    kept_names: Vec<usize>,
}

impl<'a> Scanner<'a> {
    /// A search for the needles of all `queries`.
    pub(super) fn new(queries: &'a [(usize, Query)]) -> Result<Self, Problem> {
        let (found, limit) = (queries.len() as u64, MAX_QUERIES as u64);
        let too_many = Problem::TooLarge { what: "patterns", found, limit };
        if found > limit {
            return Err(too_many);
        }
        // A table of transitions for every state: three times the speed of the alternative, for some MB.
        let needles = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::DFA))
            .build(queries.iter().map(|(_, query)| query.needle()))
            .map_err(|_impossible| too_many)?;
        let none = vec![0; queries.len()];
        Ok(Self { queries, needles, kept_bytes: none.clone(), kept_names: none })
    }

    /// Why a query gets no answer, if it kept too many names.
    pub(super) fn refusal(&self, query: usize) -> Option<Refusal> {
        let full = self.kept_bytes.get(query).is_some_and(|bytes| *bytes > MAX_QUERY_BYTES);
        full.then(|| Refusal::TooWide { names: self.kept_names.get(query).copied().unwrap_or_default() })
    }

    /// Searches a table.
    pub(super) fn scan(&mut self, reader: &Reader, table: StringTable) -> Result<Candidates, Problem> {
        let what = "table of symbol names";
        if table.size_bytes > MAX_TABLE_BYTES {
            return Err(Problem::TooLarge { what, found: table.size_bytes, limit: MAX_TABLE_BYTES });
        }
        let mut found = Candidates::default();
        // One byte more than is read: the last name may lack its end.
        let mut buffer = vec![0; BUFFER_BYTES + 1];
        // Where in the table the buffer starts, and how much of it is there already.
        let (mut start, mut filled) = (0_u64, 0_usize);
        loop {
            let left = table.size_bytes - start - filled as u64;
            let room = (BUFFER_BYTES - filled).min(usize::try_from(left).unwrap_or(usize::MAX));
            let Some(space) = buffer.get_mut(filled..filled + room) else { break };
            reader.fill(table.offset.saturating_add(start + filled as u64), space, what)?;
            filled += room;
            let is_last = room as u64 == left;
            if is_last && let Some(end) = buffer.get_mut(filled) {
                *end = 0;
                filled += 1;
            }
            let read = buffer.get(..filled).unwrap_or_default();
            // Whole names only; a name longer than the buffer passes through it in pieces, none of which is one.
            let whole = memchr::memrchr(0, read).map_or(filled, |end| end + 1);
            let names = read.get(..whole).unwrap_or_default();
            if names.ends_with(&[0]) {
                self.take(names, start, &mut found);
            }
            if is_last {
                break;
            }
            buffer.copy_within(whole..filled, 0);
            start += whole as u64;
            filled -= whole;
        }
        Ok(found)
    }

    /// Notes the names in `text`, which ends with the end of one and lies `start` bytes into the table.
    fn take(&mut self, text: &[u8], start: u64, found: &mut Candidates) {
        // Bounds of the name that was seen last.
        let mut name = 0..0;
        let mut kept = false;
        for hit in self.needles.find_overlapping_iter(text) {
            if !name.contains(&hit.start()) {
                let before = text.get(..hit.start()).unwrap_or_default();
                let after = text.get(hit.end()..).unwrap_or_default();
                name.start = memchr::memrchr(0, before).map_or(0, |end| end + 1);
                name.end = hit.end() + memchr::memchr(0, after).unwrap_or(after.len());
                kept = false;
            }
            let bytes = text.get(name.clone()).unwrap_or_default();
            let index = hit.pattern().as_usize();
            let Some((_, query)) = self.queries.get(index) else { continue };
            if bytes.len() > MAX_NAME_BYTES || !query.may_match(bytes, text.get(hit.end()).copied()) {
                continue;
            }
            if kept && found.queries_of_last().contains(&(index as u32)) {
                continue;
            }
            let (Some(size), Some(count)) = (self.kept_bytes.get_mut(index), self.kept_names.get_mut(index))
            else {
                continue;
            };
            if *size > MAX_QUERY_BYTES {
                continue;
            }
            *size += bytes.len();
            *count += 1;
            if found.text.len() > MAX_BYTES {
                *size = usize::MAX;
                continue;
            }
            if !kept {
                kept = true;
                found.names.push(Name {
                    start: u32::try_from(start + name.start as u64).unwrap_or(u32::MAX),
                    length: bytes.len() as u32,
                    text_at: found.text.len(),
                    queries_at: found.queries.len(),
                });
                found.text.extend_from_slice(bytes);
            }
            found.queries.push(index as u32);
        }
    }
}

impl Candidates {
    fn queries_of_last(&self) -> &[u32] {
        let at = self.names.last().map_or(0, |name| name.queries_at);
        self.queries.get(at..).unwrap_or_default()
    }
}
