//! The one door to bpf(2) and perf_event_open(2), for what aya does not do: programs with an attach type, and links.
//!
//! Enters: descriptors and numbers. Leaves: descriptors. Refuses: policy; each function is one system call, and its error
//! is that call's.
//!
//! Structures and numbers: `linux/bpf.h` and `linux/perf_event.h` of Linux 6.13. bpf(2) takes a shorter structure than the
//! kernel's own, and a longer one if the rest is zero.

#![allow(unsafe_code, reason = "system calls that no crate wraps")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use aya_obj::generated::bpf_insn;

const BPF_PROG_LOAD: i32 = 5;
const BPF_LINK_CREATE: i32 = 28;
const BPF_PROG_TYPE_KPROBE: u32 = 2;
const BPF_PERF_EVENT: u32 = 41;
const BPF_F_UPROBE_MULTI_RETURN: u32 = 1;
const PERF_FLAG_FD_CLOEXEC: u64 = 1 << 3;
const PERF_EVENT_IOC_SET_BPF: libc::Ioctl = 0x4004_2408;

/// What a program is loaded for: `expected_attach_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum AttachType {
    /// A perf event.
    Event = 0,
    /// `BPF_TRACE_UPROBE_MULTI`, Linux 6.6.
    Multi = 48,
    /// `BPF_TRACE_UPROBE_SESSION`, Linux 6.13.
    Session = 57,
}

#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

#[repr(C)]
#[derive(Default)]
struct LinkPerfEvent {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    bpf_cookie: u64,
}

#[repr(C)]
#[derive(Default)]
struct LinkUprobeMulti {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    path: u64,
    offsets: u64,
    ref_ctr_offsets: u64,
    cookies: u64,
    cnt: u32,
    multi_flags: u32,
    pid: u32,
    padding: u32,
}

/// The first two published versions of `perf_event_attr`.
#[repr(C)]
#[derive(Default)]
struct PerfEventAttr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    uprobe_path: u64,
    probe_offset: u64,
}

const _: () = assert!(size_of::<ProgLoad>() == 72);
const _: () = assert!(size_of::<LinkPerfEvent>() == 24);
const _: () = assert!(size_of::<LinkUprobeMulti>() == 64);
const _: () = assert!(size_of::<PerfEventAttr>() == 72);

/// Loads a program. The verifier's words go to `log`, if it has room.
pub(super) fn load_program(
    instructions: &[bpf_insn],
    license: &CStr,
    attach_type: AttachType,
    log: &mut [u8],
) -> io::Result<OwnedFd> {
    let attributes = ProgLoad {
        prog_type: BPF_PROG_TYPE_KPROBE,
        insn_cnt: u32::try_from(instructions.len()).unwrap_or(u32::MAX),
        insns: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: u32::try_from(log.len()).unwrap_or(0),
        log_buf: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        expected_attach_type: attach_type as u32,
        ..ProgLoad::default()
    };
    // The verifier gives way to a signal that waits, and says so.
    const TRIES: u32 = 5;
    let mut tried = 0;
    loop {
        // SAFETY: the addresses are those of slices and a string that outlive the call, with their lengths.
        match unsafe { bpf(BPF_PROG_LOAD, &attributes) } {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && tried < TRIES => tried += 1,
            answer => return answer,
        }
    }
}

/// Opens a uprobe as a perf event, of `pid` or of all processes. `kind` and `config` are what Linux says of its uprobe unit.
pub(super) fn open_uprobe(
    kind: u32,
    config: u64,
    path: &CStr,
    offset: u64,
    pid: Option<u32>,
) -> io::Result<OwnedFd> {
    let attributes = PerfEventAttr {
        kind,
        size: size_of::<PerfEventAttr>() as u32,
        config,
        uprobe_path: path.as_ptr() as u64,
        probe_offset: offset,
        ..PerfEventAttr::default()
    };
    let (pid, cpu) = pid.map_or((-1, 0), |pid| (i64::from(pid), -1));
    // SAFETY: the structure and the path outlive the call, and the structure says its size.
    let result = unsafe {
        libc::syscall(libc::SYS_perf_event_open, &raw const attributes, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC)
    };
    descriptor(result)
}

/// Runs `program` at each hit of `event` with `cookie`, as long as the descriptor is open (Linux 5.15).
pub(super) fn link_event(program: BorrowedFd<'_>, event: BorrowedFd<'_>, cookie: u64) -> io::Result<OwnedFd> {
    let attributes = LinkPerfEvent {
        prog_fd: number(program),
        target_fd: number(event),
        attach_type: BPF_PERF_EVENT,
        flags: 0,
        bpf_cookie: cookie,
    };
    // SAFETY: no addresses.
    unsafe { bpf(BPF_LINK_CREATE, &attributes) }
}

/// Runs `program` at each hit of `event`, as long as that is open.
pub(super) fn set_program(event: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the argument is a number.
    zero(unsafe { libc::ioctl(event.as_raw_fd(), PERF_EVENT_IOC_SET_BPF, program.as_raw_fd()) })
}

/// Many places of one file, each with its cookie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places<'a> {
    pub(super) path: &'a CStr,
    pub(super) offsets: &'a [u64],
    pub(super) cookies: &'a [u64],
    /// The returns of the functions there.
    pub(super) returns: bool,
    /// Only in this process; zero: in all.
    pub(super) pid: u32,
}

/// Runs `program` at all of `places`, as long as the descriptor is open (Linux 6.6).
pub(super) fn link_places(
    program: BorrowedFd<'_>,
    attach_type: AttachType,
    places: Places<'_>,
) -> io::Result<OwnedFd> {
    let count = places.offsets.len();
    if count != places.cookies.len() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let attributes = LinkUprobeMulti {
        prog_fd: number(program),
        attach_type: attach_type as u32,
        path: places.path.as_ptr() as u64,
        offsets: places.offsets.as_ptr() as u64,
        cookies: places.cookies.as_ptr() as u64,
        cnt: u32::try_from(count).unwrap_or(u32::MAX),
        multi_flags: if places.returns { BPF_F_UPROBE_MULTI_RETURN } else { 0 },
        pid: places.pid,
        ..LinkUprobeMulti::default()
    };
    // SAFETY: the addresses are those of a string and of two slices of `cnt` numbers, which outlive the call.
    unsafe { bpf(BPF_LINK_CREATE, &attributes) }
}

/// # Safety
/// `attributes` is what `command` takes, and its addresses are valid.
unsafe fn bpf<T>(command: i32, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: by the caller; the size is the structure's.
    descriptor(unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) })
}

fn descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    match i32::try_from(result) {
        // SAFETY: a descriptor that the kernel has just made for us.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

fn zero(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().unsigned_abs()
}
