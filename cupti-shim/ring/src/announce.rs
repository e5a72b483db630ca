//! One datagram from a new shim to the agent that started its process: "here are my two files, and this is my name".
//!
//! Enters: the two file descriptors and the id of a ring ([`announce`], in the target). Leaves: the same, with the
//! pid and the user that Linux vouches for, and a name that it does not ([`AnnounceListener`], in the agent). Refuses: to block the target, and
//! datagrams of any other shape: their descriptors are closed at once.
//!
//! An agent finds rings by looking through `/proc`; a process that lives for a few milliseconds is gone before the
//! next look, and its name with it. `gpu-agent run` therefore binds an abstract Unix datagram socket and names it in the environment of what
//! it starts. A full or missing socket costs the target one failed system call, and the agent still looks around.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | magic `GPUANNCE` |
//! | 8 | 4 | format version, that of the ring |
//! | 12 | 4 | reserved, 0 |
//! | 16 | 8 | ring id |
//! | 24 | 256 | file name of the executable, from `/proc/self/exe`; the rest is 0 |
//!
//! beside it `SCM_RIGHTS` with exactly two descriptors: the ring, then the control page.
#![allow(unsafe_code, reason = "recvmsg: ancillary data with the sender's credentials")]

use core::mem::MaybeUninit;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, bind, sendmsg_addr, socket_with, sockopt,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::layout::FORMAT_VERSION;

/// First 8 bytes of an announcement.
pub const ANNOUNCE_MAGIC: u64 = u64::from_le_bytes(*b"GPUANNCE");

/// Descriptors of an announcement.
const FILES: usize = 2;

/// Bytes of a file name (`NAME_MAX` of linux/limits.h), and a 0.
const NAME_BYTES: usize = 256;

/// The datagram's bytes.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Datagram {
    magic: u64,
    version: u32,
    reserved: u32,
    ring_id: u64,
    executable: [u8; NAME_BYTES],
}

const _: () = assert!(size_of::<Datagram>() == 24 + NAME_BYTES);

/// Tells the listener at the abstract name `name` about a ring. Never waits; a failure may be ignored.
pub fn announce(name: &str, ring_id: u64, ring: BorrowedFd<'_>, control: BorrowedFd<'_>) -> io::Result<()> {
    let socket = datagram_socket()?;
    let address = SocketAddrUnix::new_abstract_name(name.as_bytes())?;
    let executable = own_name();
    let datagram =
        Datagram { magic: ANNOUNCE_MAGIC, version: FORMAT_VERSION, reserved: 0, ring_id, executable };
    let files = [ring, control];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    sendmsg_addr(&socket, &address, &[IoSlice::new(datagram.as_bytes())], &mut ancillary, flags)?;
    Ok(())
}

/// File name of this process's executable; all 0 without /proc.
fn own_name() -> [u8; NAME_BYTES] {
    let mut name = [0; NAME_BYTES];
    let link = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    let file = link.file_name().unwrap_or_default().as_bytes();
    // "NAME (deleted)" may be longer than a name.
    for (to, from) in name.iter_mut().take(NAME_BYTES - 1).zip(file) {
        *to = *from;
    }
    name
}

/// A ring that a new process announced. Nothing of the ring itself was checked yet.
#[derive(Debug)]
pub struct Announcement {
    /// The sender's pid in the receiver's pid namespace, as Linux says.
    pub pid: u32,
    /// The sender's effective user id, as Linux says.
    pub uid: u32,
    /// Id that the ring and the control page must carry.
    pub ring_id: u64,
    /// File name of the sender's executable as the sender says; empty if it does not.
    pub executable: String,
    /// The ring's file; see [`crate::Reader::open`].
    pub ring: OwnedFd,
    /// The control page's file; see [`crate::AgentControl::open`].
    pub control: OwnedFd,
}

/// Why no announcement was had.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// The socket could not be made or read.
    #[error("cannot {operation} the announcement socket: {source}")]
    Socket {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Somebody sent something else; the next datagram may be right.
    #[error("refused a datagram on the announcement socket: {reason}")]
    Refused {
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// The agent's end.
#[derive(Debug)]
pub struct AnnounceListener {
    socket: OwnedFd,
}

impl AnnounceListener {
    /// Listens at the abstract name `name` of this network namespace. Names should be hard to guess.
    pub fn bind(name: &str) -> Result<Self, AnnounceError> {
        let failed = |operation| move |source: io::Error| AnnounceError::Socket { operation, source };
        let socket = datagram_socket().map_err(failed("create"))?;
        // Before the name exists, so that no datagram can come without credentials.
        sockopt::set_socket_passcred(&socket, true)
            .map_err(|error| failed("ask for credentials on")(error.into()))?;
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes())
            .map_err(|error| failed("name")(error.into()))?;
        bind(&socket, &address).map_err(|error| failed("bind")(error.into()))?;
        Ok(Self { socket })
    }

    /// The next announcement, or `None` if none waits. Never waits; poll the descriptor for reading.
    pub fn receive(&self) -> Result<Option<Announcement>, AnnounceError> {
        let mut bytes = [0u8; size_of::<Datagram>()];
        let received = match receive(self.socket.as_fd(), &mut bytes) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(source) => return Err(AnnounceError::Socket { operation: "read", source }),
        };
        let refused = |reason| Err(AnnounceError::Refused { reason });
        if received.truncated {
            return refused("it is longer, or carries more, than an announcement does");
        }
        let Some(datagram) = bytes.get(..received.length).and_then(|b| Datagram::read_from_bytes(b).ok())
        else {
            return refused("it is shorter than an announcement");
        };
        if datagram.magic != ANNOUNCE_MAGIC || datagram.version != FORMAT_VERSION {
            return refused("its magic or its format version is another");
        }
        let [Some(ring), Some(control)] = received.files else {
            return refused("it does not carry two file descriptors");
        };
        match received.sender {
            // Linux says pid 0 for a sender that this pid namespace cannot see.
            Some((pid @ 1.., uid)) => {
                let name = datagram.executable.split(|byte| *byte == 0).next().unwrap_or_default();
                let executable = String::from_utf8_lossy(name).into_owned();
                Ok(Some(Announcement { pid, uid, ring_id: datagram.ring_id, executable, ring, control }))
            }
            _ => refused("its sender is not visible in this pid namespace"),
        }
    }
}

impl AsFd for AnnounceListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn datagram_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?)
}

/// What one `recvmsg` brought; descriptors that do not fit are closed, and count as truncated.
#[derive(Default)]
struct Received {
    length: usize,
    truncated: bool,
    files: [Option<OwnedFd>; FILES],
    /// Pid and user id.
    sender: Option<(u32, u32)>,
}

/// `rustix` would hand the credentials out with a pid that is never 0, which is wrong of a sender outside this pid
/// namespace, hence `libc`.
fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<Received> {
    /// Room for the credentials, two descriptors, and one more so that too many are seen as such; aligned as
    /// `cmsghdr` must be.
    #[repr(C, align(8))]
    struct Ancillary([u8; 96]);
    let mut ancillary = Ancillary([0; 96]);
    let mut vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: `msghdr` is a C struct for which all zeros are valid (musl pads it with private fields).
    let mut message: libc::msghdr = unsafe { core::mem::zeroed() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = ancillary.0.as_mut_ptr().cast();
    message.msg_controllen = ancillary.0.len() as _;
    // SAFETY: the message points to one vector and one buffer, both alive and as long as said.
    let length = unsafe {
        libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT)
    };
    let length = usize::try_from(length).map_err(|_negative| io::Error::last_os_error())?;
    let truncated = message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
    let mut received = Received { length, truncated, ..Received::default() };
    // SAFETY: Linux filled in the message and its ancillary buffer, which the macros walk within its length.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !header.is_null() {
        // SAFETY: not null, so a whole, aligned header lies in the buffer.
        let control = unsafe { &*header };
        // SAFETY: the payload follows its header.
        let payload = unsafe { libc::CMSG_DATA(header) };
        // SAFETY: arithmetic only.
        let payload_bytes = (control.cmsg_len as usize).saturating_sub(unsafe { libc::CMSG_LEN(0) } as usize);
        match (control.cmsg_level, control.cmsg_type) {
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                for index in 0..payload_bytes / size_of::<libc::c_int>() {
                    // SAFETY: within the payload; each is a new descriptor that nobody else owns.
                    let file = unsafe {
                        OwnedFd::from_raw_fd(payload.cast::<libc::c_int>().add(index).read_unaligned())
                    };
                    match received.files.get_mut(index) {
                        Some(place) => *place = Some(file),
                        None => received.truncated = true,
                    }
                }
            }
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if payload_bytes >= size_of::<libc::ucred>() => {
                // SAFETY: within the payload; a plain C struct.
                let sender = unsafe { payload.cast::<libc::ucred>().read_unaligned() };
                received.sender = Some((sender.pid.unsigned_abs(), sender.uid));
            }
            _ => {}
        }
        // SAFETY: as for the first header.
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    Ok(received)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::kinds;
    use crate::writer::Identity;
    use crate::{AgentControl, Geometry, Lease, Reader, ShimControl, Writer};
    use rustix::io::{FdFlags, fcntl_getfd};
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    fn name() -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        format!("gpu-agent-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    fn send(name: &str, bytes: &[u8], files: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(20))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(files.is_empty() || ancillary.push(SendAncillaryMessage::ScmRights(files)));
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap();
        let socket = datagram_socket().unwrap();
        sendmsg_addr(&socket, &address, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::empty()).unwrap();
    }

    /// How many descriptors of this process lead to the memfd `name`; other tests may open others meanwhile.
    fn descriptors_of(name: &str) -> usize {
        std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .filter(|target| target.to_string_lossy().contains(name))
            .count()
    }

    #[test]
    fn a_ring_and_its_control_page_arrive_and_work() {
        let name = name();
        let listener = AnnounceListener::bind(&name).unwrap();
        assert!(listener.receive().unwrap().is_none());
        let identity = Identity { ring_id: 77, pid: 1, ..Identity::default() };
        let mut writer = Writer::create(Geometry { slots: 8, names_bytes: 4096 }, identity).unwrap();
        let control = ShimControl::create(77).unwrap();
        announce(&name, 77, writer.file().unwrap().as_fd(), control.file().unwrap().as_fd()).unwrap();

        let announcement = listener.receive().unwrap().unwrap();
        assert_eq!((announcement.pid, announcement.ring_id), (std::process::id(), 77));
        assert_eq!(announcement.uid, rustix::process::geteuid().as_raw());
        let own = std::env::current_exe().unwrap();
        assert_eq!(announcement.executable, own.file_name().unwrap().to_str().unwrap());
        assert!(fcntl_getfd(&announcement.ring).unwrap().contains(FdFlags::CLOEXEC));
        assert!(fcntl_getfd(&announcement.control).unwrap().contains(FdFlags::CLOEXEC));
        writer.push_payload(&[5; 11]);
        let mut seen = Vec::new();
        Reader::open(&announcement.ring).unwrap().poll(10, |_, payload| seen.push(*payload));
        assert_eq!(seen, [[5; 11]]);
        let agent = AgentControl::open(&announcement.control, 77, 1).unwrap();
        let lease = Lease {
            ending: 0,
            kinds: kinds::KERNEL,
            flush_period: Duration::from_millis(5),
            budget_ppm: 0,
            duration: Duration::from_secs(1),
        };
        agent.acquire(&lease).unwrap();
        assert_eq!(control.wish().kinds, kinds::KERNEL);
        assert!(listener.receive().unwrap().is_none());
    }

    #[test]
    fn anything_else_is_refused_and_leaves_no_descriptor_behind() {
        let name = name();
        let listener = AnnounceListener::bind(&name).unwrap();
        let right = Datagram {
            magic: ANNOUNCE_MAGIC,
            version: FORMAT_VERSION,
            reserved: 0,
            ring_id: 1,
            executable: [b'n'; NAME_BYTES],
        };
        let memfd = rustix::fs::memfd_create(&name, rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let file = memfd.as_fd();
        let other_magic = Datagram { magic: 1, ..right };
        let other_version = Datagram { version: FORMAT_VERSION + 1, ..right };
        let longer = [right.as_bytes(), &[0]].concat();
        let cases: &[(&[u8], &[BorrowedFd<'_>])] = &[
            (b"", &[file, file]),
            (&right.as_bytes()[..size_of::<Datagram>() - 1], &[file, file]),
            (&longer, &[file, file]),
            (other_magic.as_bytes(), &[file, file]),
            (other_version.as_bytes(), &[file, file]),
            (right.as_bytes(), &[]),
            (right.as_bytes(), &[file]),
            (right.as_bytes(), &[file; 3]),
            (right.as_bytes(), &[file; 4]),
            (right.as_bytes(), &[file; 20]),
        ];
        for (number, (bytes, files)) in cases.iter().enumerate() {
            send(&name, bytes, files);
            let refused = listener.receive();
            assert!(matches!(refused, Err(AnnounceError::Refused { .. })), "case {number}: {refused:?}");
            assert_eq!(descriptors_of(&name), 1, "case {number}");
        }
        send(&name, right.as_bytes(), &[file, file]);
        let held = listener.receive().unwrap().unwrap();
        assert_eq!(descriptors_of(&name), 3);
        assert_eq!(held.executable, "n".repeat(NAME_BYTES), "a name without an end");
    }

    #[test]
    fn the_sender_neither_waits_nor_needs_a_listener() {
        let name = name();
        let null = std::fs::File::open("/dev/null").unwrap();
        assert!(announce(&name, 1, null.as_fd(), null.as_fd()).is_err());
        let listener = AnnounceListener::bind(&name).unwrap();
        // Nobody reads: at some point the queue is full, and the sender is told at once.
        let full = (0..10_000).any(|_| announce(&name, 1, null.as_fd(), null.as_fd()).is_err());
        assert!(full);
        assert!(listener.receive().unwrap().is_some());
        assert!(announce(&"x".repeat(200), 1, null.as_fd(), null.as_fd()).is_err());
    }

    #[test]
    fn a_name_is_bound_once() {
        let name = name();
        let _first = AnnounceListener::bind(&name).unwrap();
        assert!(matches!(
            AnnounceListener::bind(&name),
            Err(AnnounceError::Socket { operation: "bind", .. })
        ));
    }
}
