//! The page that agent and new thread share while the shim is loaded.
//!
//! Enters: addresses of functions, paths. Leaves: how far the thread is, and what the dynamic linker said. Refuses: to be
//! believed in more than those two: the target can write there what it likes.
//!
//! The page is the last of the memory file that holds the shim:
//!
//! ```text
//!  0             code page        mailbox page
//!  ├─ libgpu_agent_cupti.so ─┤pad├─ code ─┤pad├─ Mailbox ─┤
//! ```
//!
//! The thread maps code (to execute) and mailbox (shared), and unmaps both as its last act.

use core::mem::offset_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::runtime::Functions;

/// Size of a page, as far as this layout goes: the largest that Linux uses on either processor.
pub const PAGE_BYTES: u64 = 64 << 10;
/// `SIGCANCEL` and `SIGSETXID` (glibc, `sysdeps/unix/sysv/linux/internal-signals.h`): 32 and 33, as a signal mask.
const LIBRARY_SIGNALS: u64 = 1 << 31 | 1 << 32;
/// Name of the function that gives a process its shim.
const ENTRY: &[u8] = b"InitializeInjection\0";

/// The first bytes of the page.
#[repr(C)]
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Mailbox {
    /// A [`Progress`].
    pub progress: u32,
    /// The descriptor of the memory file, which the thread closes.
    pub descriptor: u32,
    /// Address of [`Self::path`].
    pub path_address: u64,
    /// Address of [`Self::entry`].
    pub entry_address: u64,
    /// Functions of the C library.
    pub functions: Functions,
    /// Address of the code page.
    pub code_address: u64,
    /// Address of this page.
    pub own_address: u64,
    /// Signals that the thread unblocks as its first act. It inherits a mask that blocks the C library's own two, and other
    /// threads wait for every thread to answer those (`setuid`).
    pub unblocked: u64,
    /// Path of the shim, as the target sees it.
    pub path: [u8; 64],
    /// Name of the shim's entry.
    pub entry: [u8; 32],
    /// What `dlerror` says.
    pub message: [u8; Self::MESSAGE_BYTES],
}

const _: () = {
    assert!(offset_of!(Mailbox, descriptor) == 4);
    assert!(offset_of!(Mailbox, path_address) == 8);
    assert!(offset_of!(Mailbox, entry_address) == 16);
    assert!(offset_of!(Mailbox, functions) == 24);
    assert!(offset_of!(Mailbox, code_address) == 80);
    assert!(offset_of!(Mailbox, own_address) == 88);
    assert!(offset_of!(Mailbox, unblocked) == 96);
    assert!(offset_of!(Mailbox, message) == 200);
    assert!(size_of::<Mailbox>() == 456);
};

/// How far the thread is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Progress {
    /// It has not begun.
    Waiting = 0,
    /// It runs.
    Started = 1,
    /// The shim is loaded and has been called.
    Done = 2,
    /// The dynamic linker refused it; the message says why.
    Refused = 3,
}

impl Mailbox {
    /// Room for what `dlerror` says.
    pub const MESSAGE_BYTES: usize = 256;

    /// A mailbox for the shim at `descriptor`, whose pages lie at these addresses.
    #[must_use]
    pub fn new(descriptor: u32, functions: Functions, code_address: u64, own_address: u64) -> Self {
        let address_of = |offset: usize| own_address.wrapping_add(offset as u64);
        Self {
            progress: Progress::Waiting as u32,
            descriptor,
            path_address: address_of(offset_of!(Self, path)),
            entry_address: address_of(offset_of!(Self, entry)),
            functions,
            code_address,
            own_address,
            unblocked: LIBRARY_SIGNALS,
            path: padded(path(descriptor).as_bytes()),
            entry: padded(ENTRY),
            message: [0; Self::MESSAGE_BYTES],
        }
    }

    /// How far the thread is; `None` for a number that is none.
    #[must_use]
    pub fn progress(&self) -> Option<Progress> {
        [Progress::Waiting, Progress::Started, Progress::Done, Progress::Refused]
            .into_iter()
            .find(|&progress| progress as u32 == self.progress)
    }

    /// What `dlerror` said.
    #[must_use]
    pub fn message(&self) -> String {
        let text = self.message.split(|&byte| byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).chars().filter(|letter| !letter.is_control()).collect()
    }
}

/// What the dynamic linker is given. It keeps the name, and takes a second library of the same name for the first.
fn path(descriptor: u32) -> String {
    format!("/proc/self/fd/{descriptor}")
}

fn padded<const N: usize>(text: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    for (to, from) in bytes.iter_mut().zip(text) {
        *to = *from;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox() -> Mailbox {
        Mailbox::new(7, Functions::default(), 0x1000, 0x2000)
    }

    #[test]
    fn its_strings_lie_where_its_addresses_say_and_end_with_a_zero() {
        let mailbox = mailbox();
        let at = |address: u64| &mailbox.as_bytes()[(address - 0x2000) as usize..];
        assert!(at(mailbox.path_address).starts_with(b"/proc/self/fd/7\0"));
        assert!(at(mailbox.entry_address).starts_with(b"InitializeInjection\0"));
        assert_eq!(path(u32::MAX).len() + 1, 25, "fits into 64 bytes");
    }

    #[test]
    fn what_a_target_writes_there_is_a_state_or_none_and_a_text_without_controls() {
        let mut mailbox = mailbox();
        mailbox.progress = 99;
        mailbox.message = [b'\n'; Mailbox::MESSAGE_BYTES];
        mailbox.message[0] = b'a';
        assert_eq!(mailbox.progress(), None);
        assert_eq!(mailbox.message(), "a");
    }
}
