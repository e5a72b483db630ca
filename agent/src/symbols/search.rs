//! The search of symbol tables for functions.
//!
//! Enters: the tables of a file, queries. Leaves: for each query the functions that match. Refuses: what is no whole function:
//! symbols of PLT entries, parts of one (`.part`), copies
//! whose arguments a compiler changed (`.constprop`, `.isra`), thunks; addresses outside of what can be executed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use object::LittleEndian as Le;
use object::elf::{STT_GNU_IFUNC, Sym64};

use super::elf::{Headers, all};
use super::error::Problem;
use super::pattern::{Demangled, Query, split_version};
use super::strings::{Candidates, Scanner};
use super::table::{SYMBOL_BYTES, SymbolTable, Table, is_function};
use super::{MAX_MATCHES, Part, Refusal, Symbol};

/// Most symbols in one table.
const MAX_SYMBOLS: u64 = 16 << 20;
/// Most bytes of names that are demangled for one file.
const MAX_DEMANGLED_BYTES: usize = 64 << 20;
/// Most parts that are kept of functions of one name.
const MAX_PARTS: usize = 8;
/// Most functions that are counted for a pattern that matches too many.
const MAX_COUNTED: usize = 1 << 20;
/// Symbols read at once.
const SYMBOLS_AT_ONCE: u64 = 32 << 10;

/// What was found for each of the queries.
pub(super) struct Search<'a> {
    /// Headers of the file that is executed: they say where in it an address lies.
    headers: &'a Headers,
    queries: &'a [(usize, Query)],
    scanner: Scanner<'a>,
    found: Vec<Matches>,
    /// What may still be demangled, bytes.
    demangled_bytes_left: usize,
}

/// The functions that match one query.
#[derive(Debug, Default)]
struct Matches {
    functions: BTreeMap<u64, Symbol>,
    /// Addresses of more, once there are too many.
    further: BTreeSet<u64>,
    cold: HashMap<Arc<str>, Vec<Part>>,
}

impl<'a> Search<'a> {
    /// A search for all of `queries`, each with the number of its pattern.
    pub(super) fn new(headers: &'a Headers, queries: &'a [(usize, Query)]) -> Result<Self, Problem> {
        Ok(Self {
            headers,
            queries,
            scanner: Scanner::new(queries)?,
            found: queries.iter().map(|_| Matches::default()).collect(),
            demangled_bytes_left: MAX_DEMANGLED_BYTES,
        })
    }

    /// Searches one table.
    pub(super) fn table(&mut self, table: &SymbolTable<'_>) -> Result<(), Problem> {
        let what = "symbols";
        let count = table.count;
        if count > MAX_SYMBOLS {
            return Err(Problem::TooLarge { what, found: count, limit: MAX_SYMBOLS });
        }
        let candidates = self.scanner.scan(table.reader, table.strings)?;
        if candidates.is_empty() {
            return Ok(());
        }
        let versions = table.versions()?;
        let mut verdicts = HashMap::new();
        for from in (0..count).step_by(SYMBOLS_AT_ONCE as usize) {
            let size_bytes = (count - from).min(SYMBOLS_AT_ONCE) * SYMBOL_BYTES;
            let offset = table.offset.saturating_add(from * SYMBOL_BYTES);
            let bytes = table.reader.read(offset, size_bytes, size_bytes, what)?;
            for (number, symbol) in (from..).zip(all::<Sym64<Le>>(&bytes)) {
                if is_function(symbol) {
                    self.consider(
                        &Candidate { table: table.table, number, symbol, version: versions.of(number) },
                        &candidates,
                        &mut verdicts,
                    )?;
                }
            }
        }
        Ok(())
    }

    /// Takes a function if its name matches.
    fn consider(
        &mut self,
        candidate: &Candidate<'_>,
        names: &Candidates,
        verdicts: &mut HashMap<u32, Arc<Verdict>>,
    ) -> Result<(), Problem> {
        let &Candidate { table, number, symbol, version } = candidate;
        let place = symbol.st_name.get(Le);
        let Some((text, queries)) = names.at(place) else { return Ok(()) };
        let verdict = match verdicts.get(&place) {
            Some(known) => Arc::clone(known),
            None => {
                let verdict = Arc::new(self.judge(text, queries)?);
                verdicts.insert(place, Arc::clone(&verdict));
                verdict
            }
        };
        let address = symbol.st_value.get(Le);
        let Some(file_offset) = self.headers.code_offset(address) else { return Ok(()) };
        let part = Part { address, size_bytes: symbol.st_size.get(Le), table, number };
        let version = version.or(verdict.version.as_ref());
        for query in &verdict.queries {
            let Some((matches, (_, query))) = self.found.get_mut(*query).zip(self.queries.get(*query)) else {
                continue;
            };
            if verdict.kind == Kind::Cold {
                matches.add_cold(&verdict.base, part);
            } else if query.wants_version(version.map_or("", |version| version)) {
                matches.add(Symbol {
                    raw: Arc::clone(&verdict.base),
                    demangled: Arc::clone(&verdict.demangled),
                    aliases: Vec::new(),
                    version: version.cloned(),
                    address,
                    file_offset,
                    size_bytes: part.size_bytes,
                    is_ifunc: symbol.st_type() == STT_GNU_IFUNC,
                    table,
                    number,
                    cold: Vec::new(),
                });
            }
        }
        Ok(())
    }

    /// What a name is, and which of `queries` it matches.
    fn judge(&mut self, text: &[u8], queries: &[u32]) -> Result<Verdict, Problem> {
        let (name, version) = split_version(std::str::from_utf8(text).unwrap_or_default());
        let (base, kind) = split_copy(name);
        let mut verdict = Verdict {
            base: base.into(),
            demangled: "".into(),
            version: (!version.is_empty()).then(|| version.into()),
            kind,
            queries: Vec::new(),
        };
        if kind == Kind::Other || base.is_empty() {
            return Ok(verdict);
        }
        self.demangled_bytes_left =
            self.demangled_bytes_left.checked_sub(base.len()).ok_or(Problem::TooLarge {
                what: "names that may match a pattern, bytes",
                found: MAX_DEMANGLED_BYTES as u64 + 1,
                limit: MAX_DEMANGLED_BYTES as u64,
            })?;
        let mut names = Demangled::default();
        for query in queries.iter().map(|query| *query as usize) {
            if self.queries.get(query).is_some_and(|(_, query)| query.matches(base, &mut names)) {
                verdict.queries.push(query);
            }
        }
        if !verdict.queries.is_empty() {
            verdict.demangled = names.name(base).into();
        }
        Ok(verdict)
    }

    /// What was found: the number of each pattern, and its functions in the order of their addresses.
    pub(super) fn into_found(self) -> impl Iterator<Item = (usize, Result<Vec<Symbol>, Refusal>)> {
        let Self { queries, scanner, found, .. } = self;
        found.into_iter().zip(queries).enumerate().map(move |(index, (matches, (pattern, _)))| {
            (*pattern, scanner.refusal(index).map_or_else(|| matches.into_symbols(), Err))
        })
    }
}

impl Matches {
    fn add(&mut self, symbol: Symbol) {
        if let Some(known) = self.functions.get_mut(&symbol.address) {
            if known.size_bytes == 0 && symbol.size_bytes > 0 && known.raw == symbol.raw {
                (known.size_bytes, known.table, known.number) =
                    (symbol.size_bytes, symbol.table, symbol.number);
            }
            if known.version.is_none() && known.raw == symbol.raw {
                known.version = symbol.version;
            }
            if known.raw != symbol.raw
                && !known.aliases.contains(&symbol.raw)
                && known.aliases.len() < MAX_MATCHES
            {
                known.aliases.push(symbol.raw);
            }
        } else if self.functions.len() < MAX_MATCHES {
            self.functions.insert(symbol.address, symbol);
        } else if self.further.len() < MAX_COUNTED {
            self.further.insert(symbol.address);
        }
    }

    fn add_cold(&mut self, base: &Arc<str>, part: Part) {
        let parts = self.cold.entry(Arc::clone(base)).or_default();
        // The full table repeats the dynamic one.
        if parts.len() < MAX_PARTS && parts.iter().all(|known| known.address != part.address) {
            parts.push(part);
        }
    }

    fn into_symbols(self) -> Result<Vec<Symbol>, Refusal> {
        if !self.further.is_empty() {
            return Err(Refusal::TooMany { count: self.functions.len() + self.further.len() });
        }
        let Self { functions, cold, .. } = self;
        let with_cold = |mut symbol: Symbol| {
            let names = std::iter::once(&symbol.raw).chain(&symbol.aliases);
            symbol.cold = names.filter_map(|name| cold.get(name)).flatten().copied().collect();
            symbol
        };
        Ok(functions.into_values().map(with_cold).collect())
    }
}

/// A function in a table.
struct Candidate<'a> {
    table: Table,
    number: u64,
    symbol: &'a Sym64<Le>,
    version: Option<&'a Arc<str>>,
}

/// What is known of a name.
#[derive(Debug)]
struct Verdict {
    base: Arc<str>,
    demangled: Arc<str>,
    version: Option<Arc<str>>,
    kind: Kind,
    /// Numbers of the queries that it matches.
    queries: Vec<usize>,
}

/// What a name's symbol is to the function of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Whole,
    /// What seldom runs of it.
    Cold,
    /// A part, a copy with other arguments, a thunk.
    Other,
}

/// A name without the marks that compilers put behind it, and what they say.
///
/// `.llvm.1` and `.lto_priv.1` tell functions of one name apart, `.cold` is what seldom runs of one, `.part.1`, `.constprop.1`
/// and `.isra.1` take other arguments. Other dots belong to the name: legacy Rust writes `..` for `::`.
pub(super) fn split_copy(name: &str) -> (&str, Kind) {
    // Thunks adjust `this` and jump (Itanium C++ ABI 5.1.4); other special names are wrappers of variables.
    if name.starts_with("_ZT") || name.starts_with("_ZG") || name.ends_with("$plt") {
        return (name, Kind::Other);
    }
    let (mut base, mut kind) = (name, Kind::Whole);
    while let Some((front, mark)) = without_mark(base) {
        kind = match (mark, kind) {
            ("llvm" | "lto_priv" | "__uniq", kind) => kind,
            ("cold", Kind::Whole) => Kind::Cold,
            ("cold", kind) => kind,
            _ => Kind::Other,
        };
        base = front;
    }
    (base, kind)
}

/// Takes the last mark off a name, and its number if it has one.
fn without_mark(name: &str) -> Option<(&str, &str)> {
    let (front, last) = name.rsplit_once('.')?;
    let is_number = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    let (front, mark) = if is_number { front.rsplit_once('.')? } else { (front, last) };
    let known = matches!(mark, "llvm" | "lto_priv" | "__uniq" | "cold" | "part" | "constprop" | "isra");
    (known && !front.is_empty()).then_some((front, mark))
}

#[cfg(test)]
mod tests {
    use super::{Kind, split_copy};

    #[test]
    fn marks_of_compilers_say_what_is_a_whole_function() {
        for (name, base, kind) in [
            ("f", "f", Kind::Whole),
            ("f.llvm.123", "f", Kind::Whole),
            ("f.lto_priv.0", "f", Kind::Whole),
            ("f.lto_priv.0.cold", "f", Kind::Cold),
            ("f.cold", "f", Kind::Cold),
            ("_ZN1a1fEv.cold.7", "_ZN1a1fEv", Kind::Cold),
            ("f.part.0", "f", Kind::Other),
            ("f.part.0.cold", "f", Kind::Other),
            ("f.constprop.0.isra.0", "f", Kind::Other),
            ("f.1234", "f.1234", Kind::Whole),
            ("f.avx2", "f.avx2", Kind::Whole),
            (".cold", ".cold", Kind::Whole),
            ("_ZThn16_N1a1fEv", "_ZThn16_N1a1fEv", Kind::Other),
            ("puts$plt", "puts$plt", Kind::Other),
            ("_ZN4core..fmt1fE", "_ZN4core..fmt1fE", Kind::Whole),
        ] {
            assert_eq!(split_copy(name), (base, kind), "{name}");
        }
    }
}
