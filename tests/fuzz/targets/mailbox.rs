//! What a process may have written into the page that the agent reads back.
//!
//! Enters: any bytes. Leaves: the ways they went. Refuses: words of the dynamic linker that would move a terminal's cursor, or that are
//! longer than their room.

use gpu_agent::inject::mailbox::Mailbox;
use zerocopy::{FromZeros, IntoBytes};

use super::Run;
use super::program::{Ways, magnitude};

pub(super) fn make() -> Run {
    Box::new(|input| {
        let mut mailbox = Mailbox::new_zeroed();
        for (place, byte) in mailbox.as_mut_bytes().iter_mut().zip(input) {
            *place = *byte;
        }
        let message = mailbox.message();
        assert!(!message.contains(char::is_control));
        // Bytes that are no text become a sign of three bytes each.
        assert!(message.len() <= 3 * Mailbox::MESSAGE_BYTES);
        let mut ways = Ways::default();
        ways.note(mailbox.progress().map(|progress| progress as u32));
        ways.note((magnitude(message.len() as u64), message.is_ascii()));
        ways.into_numbers()
    })
}
