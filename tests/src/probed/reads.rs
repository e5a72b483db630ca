//! Fetch programs by hand, and what they fetched.
//!
//! Enters: reads, in their order. Leaves: a program, and the values in the payloads of its records. Refuses: the agent's own
//! compiler and readers of such programs; what they do is to be compared with this.

use std::sync::Arc;

use gpu_agent_ebpf_abi::{FIXED, FetchProgram, Header, Read, base, condition, kind};

/// DWARF numbers of the registers of arguments, System V x86-64.
pub const ARGUMENTS: [u8; 6] = [5, 4, 1, 2, 8, 9];
/// The one of the return value.
pub const RETURN_VALUE: u8 = 0;

/// The value of a register.
#[must_use]
pub fn register(number: u8) -> Read {
    Read {
        base: base::REGISTER,
        index: number,
        kind: kind::SCALAR,
        size: 8,
        count_read: FIXED,
        ..Read::default()
    }
}

/// An 8-byte constant where an earlier read is `value` at most.
#[must_use]
pub fn constant_if_at_most(immediate: u64, read: u8, value: u64) -> Read {
    Read {
        base: base::IMMEDIATE,
        immediate,
        condition: condition::AT_MOST,
        condition_read: read,
        condition_value: value,
        ..register(0)
    }
}

/// What `read` leads to through these offsets.
#[must_use]
pub fn follow(read: Read, offsets: &[i32]) -> Read {
    let mut read = Read { steps: offsets.len().try_into().expect("few steps"), ..read };
    read.offsets[..offsets.len()].copy_from_slice(offsets);
    read
}

/// The text, up to `capacity` bytes, that `read` leads to.
#[must_use]
pub fn text(read: Read, offsets: &[i32], capacity: u8) -> Read {
    Read { kind: kind::STRING, capacity, size: 1, ..follow(read, offsets) }
}

/// The 8-byte numbers that `read` leads to, as many as an earlier read says.
#[must_use]
pub fn numbers(read: Read, offsets: &[i32], count_read: u8, capacity: u8) -> Read {
    Read { kind: kind::ARRAY, capacity, count_read, ..follow(read, offsets) }
}

/// A program of `reads`, whose values lie one after the other.
#[must_use]
pub fn program(phase: u8, reads: &[Read]) -> FetchProgram {
    let mut program = FetchProgram { phase, ..FetchProgram::default() };
    let mut end = 0;
    for (place, read) in program.read.iter_mut().zip(reads) {
        *place = Read { output: end, ..*read };
        let bytes = match read.kind {
            kind::ARRAY => u16::from(read.capacity) * u16::from(read.size),
            kind::STRING | kind::BYTES => (1 + u16::from(read.capacity)).next_multiple_of(8),
            _ => 8,
        };
        end += bytes;
    }
    program.reads = reads.len().try_into().expect("few reads");
    program.payload_bytes = end;
    program
}

/// A record as it came.
#[derive(Debug, Clone)]
pub struct Record {
    /// Of which function.
    pub function: Arc<str>,
    /// Its header.
    pub header: Header,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl Record {
    fn value(&self, program: &FetchProgram, read: usize) -> Option<&[u8]> {
        let has_value = self.header.present & 1 << read != 0;
        has_value.then(|| &self.payload[program.read[read].output.into()..])
    }

    /// If read number `read` met an address that cannot be read.
    #[must_use]
    pub fn is_faulted(&self, read: usize) -> bool {
        self.header.faulted & 1 << read != 0
    }

    /// A number that was read.
    #[must_use]
    pub fn number(&self, program: &FetchProgram, read: usize) -> Option<u64> {
        let bytes = self.value(program, read)?;
        Some(u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")))
    }

    /// Numbers that were read: all that there was room for.
    #[must_use]
    pub fn numbers(&self, program: &FetchProgram, read: usize) -> Option<Vec<i64>> {
        let bytes = &self.value(program, read)?[..8 * usize::from(program.read[read].capacity)];
        Some(bytes.chunks(8).map(|number| i64::from_le_bytes(number.try_into().expect("8 bytes"))).collect())
    }

    /// Text that was read.
    #[must_use]
    pub fn text(&self, program: &FetchProgram, read: usize) -> Option<String> {
        let (length, bytes) = self.value(program, read)?.split_first()?;
        Some(String::from_utf8_lossy(&bytes[..usize::from(*length)]).into_owned())
    }
}
