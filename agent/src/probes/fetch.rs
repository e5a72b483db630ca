//! Fetch programs, put together read by read.
//!
//! Enters: places of values. Leaves: a [`FetchProgram`], and what each read is for. Refuses: more than a program can hold.

use gpu_agent_ebpf_abi::{
    FIXED, FetchProgram, MAX_ELEMENTS, MAX_PAYLOAD, MAX_READS, MAX_STEPS, MAX_STRING, Read, base, condition,
    kind,
};

use super::abi::Register;

/// Where a value lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In registers of eight bytes, from a byte of the first.
    Registers { registers: Vec<Register>, offset: u32 },
    /// In memory: at an offset from the address that a base and loads lead to.
    Memory { base: Base, loads: Vec<i32>, offset: i32 },
}

/// Where an address comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    Register(u8),
    /// An earlier read; if that is 0 (a null pointer), nothing is read from there.
    Pointer(u8),
}

/// Why a read cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FetchError {
    #[error("this is read number {} at this place; a probe reads {MAX_READS} times at most", MAX_READS + 1)]
    Reads,
    #[error("with this, {0} bytes are read at this place; a probe reads {MAX_PAYLOAD} at most")]
    Payload(usize),
    #[error("it lies in {0:?}, which a uprobe does not see")]
    Register(Register),
    #[error("it does not lie in one register")]
    Split,
    #[error("an offset past 31 bits")]
    Offset,
}

/// Where a read puts its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) read: u8,
    pub(super) at: u16,
}

/// A fetch program in the making.
#[derive(Debug, Clone, Default)]
pub(super) struct Fetch {
    program: FetchProgram,
    reads: usize,
    payload: usize,
    /// What each read is for.
    pub(super) purposes: Vec<String>,
}

/// A read that is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) kind: u8,
    pub(super) size: u8,
    pub(super) capacity: u8,
    pub(super) count_read: u8,
    /// Beside the null check that `base` brings.
    pub(super) condition: Option<(u8, u8, u64)>,
}

impl Wanted {
    pub(super) fn scalar(size: u8) -> Self {
        Self { kind: kind::SCALAR, size, capacity: 0, count_read: FIXED, condition: None }
    }

    /// Bytes of payload.
    fn bytes(&self) -> usize {
        let content = match self.kind {
            kind::ARRAY => usize::from(self.capacity) * usize::from(self.size),
            kind::STRING | kind::BYTES => 1 + usize::from(self.capacity),
            _ => 8,
        };
        content.next_multiple_of(8)
    }
}

impl Place {
    /// The place of a part of it.
    pub(super) fn member(&self, at: i32) -> Result<Self, FetchError> {
        let mut place = self.clone();
        match &mut place {
            Self::Registers { offset, .. } => {
                *offset = offset.checked_add_signed(at).ok_or(FetchError::Offset)?
            }
            Self::Memory { offset, .. } => *offset = offset.checked_add(at).ok_or(FetchError::Offset)?,
        }
        Ok(place)
    }

    /// The register that holds it from its first byte on.
    fn register(&self) -> Option<Result<u8, FetchError>> {
        let Self::Registers { registers, offset } = self else { return None };
        Some(match registers.get((offset / 8) as usize) {
            Some(Register::General(number)) if offset % 8 == 0 => Ok(*number),
            Some(Register::General(_)) | None => Err(FetchError::Split),
            Some(other) => Err(FetchError::Register(*other)),
        })
    }
}

impl Fetch {
    /// Reads a number of up to 8 bytes; also tells by how many bits it is to be shifted.
    pub(super) fn number(
        &mut self,
        place: &Place,
        size: u8,
        purpose: &str,
    ) -> Result<(Output, u8), FetchError> {
        let Place::Registers { registers, offset } = place else {
            return Ok((self.read(place, Wanted::scalar(size), purpose)?, 0));
        };
        let within = offset % 8;
        if within + u32::from(size) > 8 {
            return Err(FetchError::Split);
        }
        let whole = Place::Registers { registers: registers.clone(), offset: offset - within };
        let size = if within == 0 { size } else { 8 };
        Ok((self.read(&whole, Wanted::scalar(size), purpose)?, within as u8 * 8))
    }

    /// Reads a pointer so that others can start from it, which they do only where it is not null.
    pub(super) fn pointer(&mut self, place: &Place, purpose: &str) -> Result<(Output, Place), FetchError> {
        let output = self.read(place, Wanted::scalar(8), purpose)?;
        Ok((output, Place::Memory { base: Base::Pointer(output.read), loads: Vec::new(), offset: 0 }))
    }

    /// What a pointer points to.
    pub(super) fn dereference(&mut self, pointer: &Place, purpose: &str) -> Result<Place, FetchError> {
        if let Some(register) = pointer.register() {
            return Ok(Place::Memory { base: Base::Register(register?), loads: Vec::new(), offset: 0 });
        }
        match pointer {
            // The last load is that of the value.
            Place::Memory { base, loads, offset } if loads.len() + 1 < MAX_STEPS => {
                let loads = loads.iter().copied().chain([*offset]).collect();
                Ok(Place::Memory { base: *base, loads, offset: 0 })
            }
            _ => self.pointer(pointer, purpose).map(|(_, place)| place),
        }
    }

    /// Adds a read, or finds the same one.
    pub(super) fn read(
        &mut self,
        place: &Place,
        wanted: Wanted,
        purpose: &str,
    ) -> Result<Output, FetchError> {
        let mut read = Read {
            kind: wanted.kind,
            size: wanted.size,
            capacity: wanted.capacity,
            count_read: wanted.count_read,
            ..Read::default()
        };
        match place {
            Place::Registers { .. } => {
                (read.base, read.index) = (base::REGISTER, place.register().ok_or(FetchError::Split)??);
            }
            Place::Memory { base, loads, offset } => {
                match base {
                    Base::Register(number) => (read.base, read.index) = (base::REGISTER, *number),
                    Base::Pointer(earlier) => {
                        (read.base, read.index) = (base::READ, *earlier);
                        (read.condition, read.condition_read) = (condition::NOT_EQUAL, *earlier);
                    }
                }
                let steps = loads.iter().chain([offset]);
                for (to, from) in read.offsets.iter_mut().zip(steps) {
                    *to = *from;
                }
                read.steps = loads.len() as u8 + 1;
            }
        }
        if let Some((condition, of, value)) = wanted.condition {
            (read.condition, read.condition_read, read.condition_value) = (condition, of, value);
        }
        let made = self.program.read.iter().take(self.reads);
        if let Some(index) = made.clone().position(|made| Read { output: 0, ..*made } == read) {
            let at = made.clone().nth(index).map_or(0, |made| made.output);
            return Ok(Output { read: index as u8, at });
        }
        let payload = self.payload + wanted.bytes();
        if payload > MAX_PAYLOAD {
            return Err(FetchError::Payload(payload));
        }
        let slot = self.program.read.get_mut(self.reads).ok_or(FetchError::Reads)?;
        read.output = self.payload as u16;
        *slot = read;
        let output = Output { read: self.reads as u8, at: read.output };
        self.reads += 1;
        self.payload = payload;
        self.purposes.push(purpose.to_owned());
        Ok(output)
    }

    /// The program.
    pub(super) fn finish(&self, phase: u8) -> FetchProgram {
        FetchProgram { phase, reads: self.reads as u8, payload_bytes: self.payload as u16, ..self.program }
    }
}

/// Elements of an array that are read, at most.
pub(super) const ELEMENTS: u32 = MAX_ELEMENTS as u32;
/// Bytes of text that are read, at most.
pub(super) const TEXT_BYTES: u32 = MAX_STRING as u32;
