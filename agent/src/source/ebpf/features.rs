//! What this Linux can do for probes, found out by trying.
//!
//! Enters: nothing. Leaves: the features. Refuses: to trust version numbers: vendors port features back.

use std::os::fd::{AsFd, OwnedFd};

use aya_obj::generated::{BPF_ALU64, BPF_CALL, BPF_EXIT, BPF_JMP, BPF_K, BPF_MOV, bpf_insn};

use super::sys::{self, AttachType, Places};

/// Features of Linux that make probes cheaper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Attach cookies (Linux 5.15).
    pub cookies: bool,
    /// One link for many places (uprobe-multi, Linux 6.6, if it filters by process: the first ones filtered by thread).
    pub multi: bool,
    /// One link for both ends of calls (uprobe sessions, Linux 6.13).
    pub session: bool,
}

impl Features {
    /// Whatever there is.
    pub const ALL: Self = Self { cookies: true, multi: true, session: true };

    /// What this Linux has; nothing where BPF programs cannot be loaded.
    #[must_use]
    pub fn of_this_linux() -> Self {
        Self {
            cookies: load(AttachType::Event).is_some(),
            multi: load(AttachType::Multi).is_some_and(|program| links(&program, AttachType::Multi)),
            session: load(AttachType::Session).is_some_and(|program| links(&program, AttachType::Session)),
        }
    }

    /// What is in both; each feature needs the one before it.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let cookies = self.cookies && other.cookies;
        let multi = cookies && self.multi && other.multi;
        Self { cookies, multi, session: multi && self.session && other.session }
    }
}

/// `bpf_get_attach_cookie`, `linux/bpf.h`.
const GET_ATTACH_COOKIE: i32 = 174;

/// Loads a program that asks for its cookie and returns zero. Linux before 6.6 ignores the attach type.
fn load(attach_type: AttachType) -> Option<OwnedFd> {
    let instruction = |code: u32, imm| bpf_insn {
        code: code as u8,
        _bitfield_align_1: [],
        _bitfield_1: bpf_insn::new_bitfield_1(0, 0),
        off: 0,
        imm,
    };
    let instructions = [
        instruction(BPF_JMP | BPF_CALL, GET_ATTACH_COOKIE),
        instruction(BPF_ALU64 | BPF_MOV | BPF_K, 0),
        instruction(BPF_JMP | BPF_EXIT, 0),
    ];
    sys::load_program(&instructions, c"Dual MIT/GPL", attach_type, &mut []).ok()
}

/// If links of this type exist, and if a process means a process to them. Asked for a link at a folder, Linux that has them
/// says that it is no file; asked for one in process -1 besides, Linux that does it right complains of the process first.
/// libbpf tells them apart in the same way.
fn links(program: &OwnedFd, attach_type: AttachType) -> bool {
    let answer = |pid| {
        let places = Places { path: c"/", offsets: &[0], cookies: &[0], returns: false, pid };
        sys::link_places(program.as_fd(), attach_type, places).err().and_then(|error| error.raw_os_error())
    };
    answer(0) == Some(libc::EBADF) && answer(u32::MAX) == Some(libc::EINVAL)
}
