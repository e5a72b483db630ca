//! From a record of the BPF ring to its header and payload.
//!
//! Enters: the bytes of one record. Leaves: a [`Header`] and as many bytes of payload as it says, or a [`DecodeError`] that is
//! counted. Refuses: meaning: what the payload holds is known to the reader of the call that it belongs to. The header was
//! written by our own program, so what does not fit is an object of another version, or a bug: it is counted, never guessed at.

use gpu_agent_ebpf_abi::{Header, MAX_PAYLOAD, phase};

/// Bytes of a header.
const HEADER_BYTES: usize = size_of::<Header>();

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than its header, or than the payload that the header announces.
    #[error("record of {bytes} bytes is too short")]
    TooShort {
        /// Its length.
        bytes: usize,
    },
    /// More payload than any program fetches.
    #[error("record announces {bytes} bytes of payload, {MAX_PAYLOAD} at most were expected")]
    TooLong {
        /// What it announces.
        bytes: u16,
    },
    /// Its phase is none of this version.
    #[error("record of unknown phase {phase}")]
    Phase {
        /// The phase.
        phase: u8,
    },
}

/// Takes one record apart. Bytes past the payload (the ring's padding) are left alone.
pub fn decode(bytes: &[u8]) -> Result<(Header, &[u8]), DecodeError> {
    let too_short = DecodeError::TooShort { bytes: bytes.len() };
    let (head, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(too_short)?;
    let header = header(head);
    if usize::from(header.payload_bytes) > MAX_PAYLOAD {
        return Err(DecodeError::TooLong { bytes: header.payload_bytes });
    }
    if !(phase::ENTRY..=phase::LIBRARIES).contains(&header.phase) {
        return Err(DecodeError::Phase { phase: header.phase });
    }
    let payload = rest.get(..usize::from(header.payload_bytes)).ok_or(too_short)?;
    Ok((header, payload))
}

/// The fields in the order of their declaration; the layout is asserted where it is declared.
fn header(bytes: &[u8; HEADER_BYTES]) -> Header {
    let mut rest = bytes.as_slice();
    let mut header = Header::default();
    header.ktime_ns = u64::from_le_bytes(take(&mut rest));
    header.stack_pointer = u64::from_le_bytes(take(&mut rest));
    for field in
        [&mut header.process, &mut header.thread, &mut header.slot, &mut header.present, &mut header.faulted]
    {
        *field = u32::from_le_bytes(take(&mut rest));
    }
    let [phase, reserved] = take(&mut rest);
    header.phase = phase;
    header.reserved = reserved;
    header.payload_bytes = u16::from_le_bytes(take(&mut rest));
    header.generation = u32::from_le_bytes(take(&mut rest));
    header.reserved2 = u32::from_le_bytes(take(&mut rest));
    header
}

/// The next bytes; zeros where there are none, which the type of the caller's array rules out.
fn take<const BYTES: usize>(rest: &mut &[u8]) -> [u8; BYTES] {
    match rest.split_first_chunk() {
        Some((taken, after)) => {
            *rest = after;
            *taken
        }
        None => [0; BYTES],
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use gpu_agent_ebpf_abi::Header;
    use proptest::prelude::*;

    use super::{DecodeError, HEADER_BYTES, decode};

    fn record(payload: &[u8], announced: u16) -> Vec<u8> {
        let mut bytes: Vec<u8> = (1..=HEADER_BYTES as u8).collect();
        bytes[offset_of!(Header, phase)] = 2;
        bytes[offset_of!(Header, payload_bytes)..][..2].copy_from_slice(&announced.to_le_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn each_field_is_read_from_where_the_layout_has_it() {
        let bytes = record(&[7; 16], 16);
        let (header, payload) = decode(&bytes).unwrap();
        let number = |at: usize, size: usize| {
            bytes[at..at + size].iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
        };
        assert_eq!(header.ktime_ns, number(offset_of!(Header, ktime_ns), 8));
        assert_eq!(header.stack_pointer, number(offset_of!(Header, stack_pointer), 8));
        assert_eq!(u64::from(header.process), number(offset_of!(Header, process), 4));
        assert_eq!(u64::from(header.thread), number(offset_of!(Header, thread), 4));
        assert_eq!(u64::from(header.slot), number(offset_of!(Header, slot), 4));
        assert_eq!(u64::from(header.present), number(offset_of!(Header, present), 4));
        assert_eq!(u64::from(header.faulted), number(offset_of!(Header, faulted), 4));
        assert_eq!(u64::from(header.generation), number(offset_of!(Header, generation), 4));
        assert_eq!((header.phase, header.payload_bytes), (2, 16));
        assert_eq!(payload, [7; 16]);
    }

    #[test]
    fn a_record_shorter_than_it_says_and_an_unknown_phase_are_refused() {
        assert_eq!(decode(&record(&[0; 15], 16)), Err(DecodeError::TooShort { bytes: HEADER_BYTES + 15 }));
        assert_eq!(decode(&[0; HEADER_BYTES - 1]), Err(DecodeError::TooShort { bytes: HEADER_BYTES - 1 }));
        assert_eq!(decode(&record(&[0; 2000], 1025)), Err(DecodeError::TooLong { bytes: 1025 }));
        for phase in [0, 5, 255] {
            let mut bytes = record(&[], 0);
            bytes[offset_of!(Header, phase)] = phase;
            assert_eq!(decode(&bytes), Err(DecodeError::Phase { phase }));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_a_payload_is_as_long_as_its_header_says(bytes in prop::collection::vec(any::<u8>(), 0..1200)) {
            if let Ok((header, payload)) = decode(&bytes) {
                prop_assert_eq!(payload.len(), usize::from(header.payload_bytes));
            }
        }
    }
}
