//! From a record of the BPF ring to its header and payload.
//!
//! Enters: the bytes of one record. Leaves: a [`Header`] and as many bytes of payload as it says, or a [`DecodeError`] that is
//! counted. Refuses: meaning: what the payload holds is known to the reader of the call that it belongs to. The header was
//! written by our own program, so what does not fit is an object of another version, or a bug: it is counted, never guessed at.

use gpu_agent_ebpf_abi::{Header, MAX_PAYLOAD, phase};
use zerocopy::FromBytes;

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
    let (header, rest) = Header::read_from_prefix(bytes).map_err(|_short| too_short)?;
    if usize::from(header.payload_bytes) > MAX_PAYLOAD {
        return Err(DecodeError::TooLong { bytes: header.payload_bytes });
    }
    if !(phase::ENTRY..=phase::LIBRARIES).contains(&header.phase) {
        return Err(DecodeError::Phase { phase: header.phase });
    }
    let payload = rest.get(..usize::from(header.payload_bytes)).ok_or(too_short)?;
    Ok((header, payload))
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use gpu_agent_ebpf_abi::Header;
    use proptest::prelude::*;

    use super::{DecodeError, decode};

    const HEADER_BYTES: usize = size_of::<Header>();

    fn record(payload: &[u8], announced: u16) -> Vec<u8> {
        let mut bytes: Vec<u8> = (1..=HEADER_BYTES as u8).collect();
        bytes[offset_of!(Header, phase)] = 2;
        bytes[offset_of!(Header, payload_bytes)..][..2].copy_from_slice(&announced.to_le_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn a_record_is_its_header_and_its_payload_without_the_padding() {
        let bytes = record(&[7; 24], 16);
        let (header, payload) = decode(&bytes).unwrap();
        assert_eq!(header.ktime_ns, 0x0807_0605_0403_0201);
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
