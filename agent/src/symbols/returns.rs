//! Where a function returns.
//!
//! Enters: a function. Leaves: the file offsets of its return instructions, those in its cold parts too, and whether it may
//! leave by other ways. Refuses: functions of unknown size or beyond [`MAX_FUNCTION_BYTES`], and code that cannot be told
//! from data: a breakpoint in a table of numbers would change what the target computes.

use super::elf::{Headers, Machine};
use super::error::Problem;
use super::reader::Reader;
use super::{Part, Symbol};

mod aarch64;
mod x86_64;

/// Largest function that is looked through.
const MAX_FUNCTION_BYTES: u64 = 1 << 20;
/// Most return instructions of one function.
const MAX_RETURNS: usize = 256;

/// The ways out of a function.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Returns {
    /// File offsets of its return instructions, ascending.
    pub offsets: Vec<u64>,
    /// It may end by a jump into another function, which then returns in its place.
    pub tail_call: bool,
    /// It jumps to addresses that it computes: cases of a switch.
    pub computed_jump: bool,
}

/// Why it is not known where a function returns.
#[derive(Debug, thiserror::Error)]
pub enum ReturnsError {
    /// The file does not say where it ends.
    #[error("{name}: its size is not known")]
    NoSize {
        /// The function.
        name: String,
    },
    /// It is larger than is looked through.
    #[error("{name}: it has {size_bytes} bytes, the limit is {MAX_FUNCTION_BYTES}")]
    TooLarge {
        /// The function.
        name: String,
        /// Its size.
        size_bytes: u64,
    },
    /// It returns in more places than are probed.
    #[error("{name}: it has more than {MAX_RETURNS} return instructions")]
    TooMany {
        /// The function.
        name: String,
    },
    /// It has bytes that are no instructions, or jumps into the middle of one.
    #[error("{name}: there is no instruction at {address:#x}")]
    NotCode {
        /// The function.
        name: String,
        /// Where.
        address: u64,
    },
    /// It cannot be read.
    #[error("{name}: {source}")]
    Unreadable {
        /// The function.
        name: String,
        /// Why.
        source: Problem,
    },
}

/// What is seen in a run of instructions.
#[derive(Debug, Default)]
struct Seen {
    /// Addresses of return instructions.
    returns: Vec<u64>,
    /// Addresses that it jumps to.
    jumps: Vec<u64>,
    /// It jumps to an address that it reads from a fixed place or a table of functions.
    jumps_through_pointer: bool,
    /// It jumps to an address that it computes.
    computed_jump: bool,
}

/// The places where `symbol` returns.
pub(super) fn find(reader: &Reader, headers: &Headers, symbol: &Symbol) -> Result<Returns, ReturnsError> {
    let name = || symbol.demangled.to_string();
    let whole = symbol.whole();
    let seen = look(reader, headers, whole, &name)?;
    let mut parts = vec![whole];
    let mut all = vec![seen];
    // Only what it jumps to is its own: several functions can have one name.
    for cold in &symbol.cold {
        let is_entered = all.iter().any(|seen| seen.jumps.iter().any(|target| cold.contains(*target)));
        if is_entered && !parts.contains(cold) {
            all.push(look(reader, headers, *cold, &name)?);
            parts.push(*cold);
        }
    }
    let mut found = Returns::default();
    for seen in &all {
        let leaves =
            |target: &u64| !parts.iter().any(|part| part.contains(*target)) || *target == symbol.address;
        found.tail_call |= seen.jumps_through_pointer || seen.jumps.iter().any(leaves);
        found.computed_jump |= seen.computed_jump;
        found.offsets.extend(seen.returns.iter().filter_map(|address| headers.code_offset(*address)));
    }
    found.offsets.sort_unstable();
    found.offsets.dedup();
    if found.offsets.len() > MAX_RETURNS {
        return Err(ReturnsError::TooMany { name: name() });
    }
    Ok(found)
}

fn look(
    reader: &Reader,
    headers: &Headers,
    part: Part,
    name: &dyn Fn() -> String,
) -> Result<Seen, ReturnsError> {
    if part.size_bytes == 0 {
        return Err(ReturnsError::NoSize { name: name() });
    }
    if part.size_bytes > MAX_FUNCTION_BYTES {
        return Err(ReturnsError::TooLarge { name: name(), size_bytes: part.size_bytes });
    }
    let not_code = |address| ReturnsError::NotCode { name: name(), address };
    let offset = headers.code_offset(part.address).ok_or_else(|| not_code(part.address))?;
    let code = reader.read(offset, part.size_bytes, MAX_FUNCTION_BYTES, "code");
    let code = code.map_err(|source| ReturnsError::Unreadable { name: name(), source })?;
    let seen = match headers.machine {
        Machine::X86_64 => x86_64::look(&code, part.address),
        Machine::Aarch64 => aarch64::look(&code, part.address),
    };
    seen.map_err(not_code)
}

impl Part {
    fn contains(&self, address: u64) -> bool {
        address.checked_sub(self.address).is_some_and(|at| at < self.size_bytes)
    }
}
