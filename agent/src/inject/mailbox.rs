//! The pages that agent and new thread share while the shim is loaded.
//!
//! Enters: addresses of functions, paths. Leaves: how far the threads are, and what the dynamic linker said. Refuses: to be
//! believed in more than those two: the target can write there what it likes.
//!
//! They are the last of the memory file that holds the shim:
//!
//! ```text
//!  0                                                 Mailbox::stack_top ┐
//!  ├─ libgpu_agent_cupti.so ─┤pad├─ code ─┤pad├─ Mailbox ─┤pad├─ stack ─┤
//!                             64 KiB            64 KiB         128 KiB
//! ```
//!
//! The process maps the code (to execute) and the rest (shared); the new thread unmaps both as its last act.

use core::mem::offset_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::runtime::Functions;

/// Size of a page, as far as this layout goes: the largest that Linux uses on either processor.
pub const PAGE_BYTES: u64 = 64 << 10;
/// Mailbox, and the stack on which the borrowed thread calls `pthread_create`: lazy binding alone saves 11 KiB of registers
/// there.
pub const SHARED_BYTES: u64 = PAGE_BYTES + (128 << 10);
/// `SIGCANCEL` (glibc, `sysdeps/unix/sysv/linux/internal-signals.h`), as a signal mask.
pub const SIGCANCEL: u64 = 1 << 31;
/// `SIGSETXID`, with which a thread that calls `setuid` and its like reaches all others, and waits for their answers.
pub const SIGSETXID: u64 = 1 << 32;
/// Time between two looks of the new thread at [`Mailbox::order`].
pub const PAUSE_NS: u64 = 3 << 16;
/// How often it looks: for 2 s.
pub const ROUNDS: u64 = 10_000;
/// How long the borrowed thread stays for the agent to fetch it: 200 ms. Without an agent it then goes on by itself.
pub const STAY_NS: u64 = 3052 << 16;
/// Name of the function that gives a process its shim.
const ENTRY: &[u8] = b"InitializeInjection\0";
/// No descriptor.
pub const NONE: u32 = u32::MAX;

/// The first bytes of the shared pages.
#[repr(C)]
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Mailbox {
    /// A [`Progress`].
    pub progress: u32,
    /// What `pthread_create` returned, plus one; 0 before that.
    pub made: u32,
    /// An [`Order`].
    pub order: u32,
    /// Whether the dynamic linker took the library that comes before the shim.
    pub has_companion: u32,
    /// The descriptors of the shim's memory file and of its companion's, which the thread closes.
    pub descriptors: [u32; 2],
    /// Address of [`Self::path`].
    pub path_address: u64,
    /// Address of [`Self::companion`]; 0 for no companion.
    pub companion_address: u64,
    /// Address of [`Self::entry`].
    pub entry_address: u64,
    /// Functions of the C library.
    pub functions: Functions,
    /// Address of the code page.
    pub code_address: u64,
    /// Address of this page.
    pub own_address: u64,
    /// End of the shared pages.
    pub stack_top: u64,
    /// Where `pthread_create` puts the thread's name for itself.
    pub thread: u64,
    /// Where the thread counts down a pause (`struct timespec`).
    pub pause: [u64; 2],
    /// Signals that the thread unblocks as its first act. It inherits a mask that blocks the C library's own two, and other
    /// threads wait for every thread to answer those.
    pub unblocked: u64,
    /// Path of the shim, as the target sees it.
    pub path: [u8; 64],
    /// Path of the library that is loaded before it.
    pub companion: [u8; 64],
    /// Name of the shim's entry.
    pub entry: [u8; 32],
    /// What `dlerror` says.
    pub message: [u8; Self::MESSAGE_BYTES],
}

const _: () = {
    assert!(offset_of!(Mailbox, made) == 4);
    assert!(offset_of!(Mailbox, order) == 8);
    assert!(offset_of!(Mailbox, path_address) == 24);
    assert!(offset_of!(Mailbox, functions) == 48);
    assert!(offset_of!(Mailbox, code_address) == 112);
    assert!(offset_of!(Mailbox, pause) == 144);
    assert!(size_of::<Mailbox>() == 584);
};

/// How far the threads are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Progress {
    /// No thread was asked to do anything.
    Prepared = 0,
    /// The borrowed thread makes the new one.
    Making = 1,
    /// The new thread waits for an [`Order`].
    Waiting = 2,
    /// It loads.
    Loading = 3,
    /// The shim is loaded and has been called.
    Done = 4,
    /// The dynamic linker refused it; the message says why.
    Refused = 5,
    /// No order came in time, or that to leave.
    Left = 6,
}

/// What the new thread is to do, once the borrowed one is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Order {
    /// Load the shim, whose file is written by now.
    Load = 1,
    /// Undo, and end.
    Leave = 2,
}

impl Mailbox {
    /// Room for what `dlerror` says.
    pub const MESSAGE_BYTES: usize = 256;

    /// A mailbox for the shim at the first descriptor, and perhaps a companion at the second, whose pages lie at these addresses.
    #[must_use]
    pub fn new(descriptors: [u32; 2], functions: Functions, code_address: u64, own_address: u64) -> Self {
        let address_of = |offset: usize| own_address.wrapping_add(offset as u64);
        let [shim, companion] = descriptors;
        Self {
            progress: Progress::Prepared as u32,
            made: 0,
            order: 0,
            has_companion: 0,
            descriptors,
            path_address: address_of(offset_of!(Self, path)),
            companion_address: if companion == NONE { 0 } else { address_of(offset_of!(Self, companion)) },
            entry_address: address_of(offset_of!(Self, entry)),
            functions,
            code_address,
            own_address,
            stack_top: own_address.wrapping_add(SHARED_BYTES),
            thread: 0,
            pause: [0; 2],
            unblocked: SIGCANCEL | SIGSETXID,
            path: padded(path(shim).as_bytes()),
            companion: padded(path(companion).as_bytes()),
            entry: padded(ENTRY),
            message: [0; Self::MESSAGE_BYTES],
        }
    }

    /// How far the threads are; `None` for a number that is none.
    #[must_use]
    pub fn progress(&self) -> Option<Progress> {
        use Progress::{Done, Left, Loading, Making, Prepared, Refused, Waiting};
        [Prepared, Making, Waiting, Loading, Done, Refused, Left]
            .into_iter()
            .find(|&progress| progress as u32 == self.progress)
    }

    /// What came of `pthread_create`, once that has returned: the number of its error.
    #[must_use]
    pub fn made(&self) -> Option<Result<(), i32>> {
        match self.made {
            0 => None,
            1 => Some(Ok(())),
            error => Some(Err(i32::try_from(error - 1).unwrap_or(i32::MAX))),
        }
    }

    /// Whether a thread is at work with it, or may be at any moment. In a `fork`'s child it says what it says in the parent.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        matches!(self.progress(), Some(Progress::Making | Progress::Waiting | Progress::Loading))
            && !matches!(self.made(), Some(Err(_)))
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
        Mailbox::new([7, 8], Functions::default(), 0x1000, 0x2000)
    }

    #[test]
    fn its_strings_lie_where_its_addresses_say_and_end_with_a_zero() {
        let mailbox = mailbox();
        let at = |address: u64| &mailbox.as_bytes()[(address - 0x2000) as usize..];
        assert!(at(mailbox.path_address).starts_with(b"/proc/self/fd/7\0"));
        assert!(at(mailbox.companion_address).starts_with(b"/proc/self/fd/8\0"));
        assert!(at(mailbox.entry_address).starts_with(b"InitializeInjection\0"));
        assert_eq!(path(u32::MAX).len() + 1, 25, "fits into 64 bytes");
        assert_eq!(Mailbox::new([7, NONE], Functions::default(), 0, 0x2000).companion_address, 0);
    }

    #[test]
    fn the_stack_ends_with_the_shared_pages() {
        assert_eq!(mailbox().stack_top, 0x2000 + SHARED_BYTES);
        assert_eq!(SHARED_BYTES % PAGE_BYTES, 0);
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

    #[test]
    fn a_mailbox_is_in_use_from_the_call_for_a_thread_to_that_threads_last_word() {
        let with =
            |progress: Progress, made| Mailbox { progress: progress as u32, made, ..mailbox() }.is_in_use();
        assert!(!with(Progress::Prepared, 0), "left by an agent that died before");
        assert!(with(Progress::Making, 0) && with(Progress::Waiting, 1) && with(Progress::Loading, 1));
        assert!(!with(Progress::Making, 12), "no thread could be made");
        assert!(!with(Progress::Done, 1) && !with(Progress::Refused, 1) && !with(Progress::Left, 1));
    }
}
