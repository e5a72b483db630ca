//! Payloads of any content, as a hostile process can put them into its ring.
//!
//! Enters: up to 88 bytes. Leaves: the ways they went. Refuses: nothing but a panic.

use std::mem::discriminant;

use gpu_agent::decode::cupti::{DecodeError, Names, decode};
use gpu_agent::event::NameId;
use gpu_agent_ring::layout::PAYLOAD_WORDS;

use super::Run;
use super::program::{Program, Ways};

/// A table in which every name is there.
struct AnyName;

impl Names for AnyName {
    fn kernel(&mut self, ring_id: u32) -> NameId {
        NameId(ring_id)
    }

    fn text(&mut self, ring_id: u32) -> String {
        ring_id.to_string()
    }
}

pub(super) fn make() -> Run {
    Box::new(|input| {
        let mut program = Program::new(input);
        let payload: [u64; PAYLOAD_WORDS] = core::array::from_fn(|_| program.number::<8>());
        let mut ways = Ways::default();
        match decode(&payload, &mut AnyName) {
            Ok(event) => ways.note(("event", discriminant(&event))),
            Err(DecodeError::Unknown { .. }) => ways.note("unknown"),
            Err(DecodeError::Malformed { kind, what }) => ways.note((kind, what)),
        }
        ways.into_numbers()
    })
}
