//! Datagrams of any shape at the socket where new processes announce their rings.
//!
//! Enters: a number of descriptors and the datagram's bytes. Leaves: the ways they went. Refuses: an announcement that is
//! taken although its bytes are not those of one, and descriptors that stay open.

use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use gpu_agent_ring::announce::{ANNOUNCE_MAGIC, AnnounceError, AnnounceListener};
use gpu_agent_ring::layout::FORMAT_VERSION;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketType,
    sendmsg_addr, socket,
};

use super::Run;
use super::program::{Program, Ways};

/// The number that the next descriptor would get.
fn lowest_free(file: &File) -> i32 {
    rustix::io::dup(file).unwrap().as_raw_fd()
}

pub(super) fn make() -> Run {
    let name = format!("gpu-agent-fuzz-{}", std::process::id());
    let listener = AnnounceListener::bind(&name).unwrap();
    let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap();
    let sender = socket(AddressFamily::UNIX, SocketType::DGRAM, None).unwrap();
    let file = File::open("/dev/null").unwrap();
    let free = lowest_free(&file);
    Box::new(move |input| {
        let count = Program::new(input).number::<1>() as usize % 6;
        let datagram = input.get(1..).unwrap_or_default();
        let files: [BorrowedFd<'_>; 6] = [file.as_fd(); 6];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(6))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if count > 0 {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(&files[..count])));
        }
        let vectors = [std::io::IoSlice::new(datagram)];
        sendmsg_addr(&sender, &address, &vectors, &mut ancillary, SendFlags::empty()).unwrap();
        let mut ways = Ways::default();
        match listener.receive() {
            Ok(Some(announcement)) => {
                let right = [&ANNOUNCE_MAGIC.to_le_bytes()[..], &FORMAT_VERSION.to_le_bytes()].concat();
                assert!(count == 2 && datagram.len() == 24 && datagram.starts_with(&right));
                assert_eq!(announcement.ring_id.to_le_bytes(), datagram[16..]);
                ways.note("taken");
            }
            Ok(None) => panic!("the datagram vanished"),
            Err(AnnounceError::Refused { reason }) => ways.note(reason),
            Err(error) => panic!("{error}"),
        }
        assert_eq!(lowest_free(&file), free, "a descriptor stayed open");
        ways.into_numbers()
    })
}
