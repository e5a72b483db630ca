//! What `/proc/PID/maps` says that matters here.
//!
//! Enters: the maps of a process, and the mailbox of a loader if there is one. Leaves: where the shim's files are mapped,
//! and whether CUDA and the shim are. Refuses: to look at anything else in there.

use std::fs;
use std::io::{self, BufRead, BufReader};

use gpu_agent_ring::layout::{CONTROL_NAME, RING_NAME};
use zerocopy::{FromZeros, IntoBytes};

use super::AttachError;
use crate::event::Pid;
use crate::identity::Process;
use crate::inject::door::{Door, Linux};
use crate::inject::mailbox::Mailbox;
use crate::maps;

/// File name of the shim.
const SHIM_NAME: &str = "libgpu_agent_cupti";
/// File name of the CUDA driver.
const DRIVER_NAME: &str = "libcuda.so";

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Maps {
    /// Mappings of rings, one a file.
    pub(super) rings: Vec<Mapping>,
    /// Mappings of control pages, one a file.
    pub(super) controls: Vec<Mapping>,
    /// The CUDA driver is mapped.
    pub(super) has_cuda: bool,
    /// The shim's library is mapped, or is about to be by a thread that an agent has started.
    pub(super) has_shim: bool,
    /// Other mappings of files with the shim's name that hold no code: a mailbox, where the library itself is not mapped.
    mailboxes: Vec<u64>,
}

/// A mapped memfd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapping {
    /// Name of its entry in `/proc/PID/map_files`.
    pub(super) range: String,
    /// Inode: tells files apart.
    pub(super) inode: u64,
}

/// Reads the maps of `process`.
pub(super) fn read(process: &Process) -> Result<Maps, AttachError> {
    let path = process.path("maps");
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::PermissionDenied => AttachError::denied(process, "memory map", source),
        _ if process.has_ended() => AttachError::Reused { pid: process.pid },
        _ => AttachError::Proc { path: path.clone(), source },
    };
    let file = fs::File::open(&path).map_err(failed)?;
    let mut found = parse(BufReader::new(file)).map_err(failed)?;
    found.has_shim =
        found.has_shim || found.mailboxes.iter().any(|&address| is_loading(&Linux, process.pid, address));
    Ok(found)
}

/// Whether the mailbox at `address` is one that a thread is at work with, or may be at any moment. Others are left from an agent
/// that was killed before it had asked for that thread, or from a `fork`.
fn is_loading(door: &impl Door, pid: Pid, address: u64) -> bool {
    let mut mailbox = Mailbox::new_zeroed();
    match door.read(pid, address, mailbox.as_mut_bytes()) {
        Ok(length) if length == size_of::<Mailbox>() => mailbox.own_address == address && mailbox.is_in_use(),
        // Gone since, or not to be read, and then not to be entered a second time either.
        Ok(_) | Err(_) => true,
    }
}

fn parse(text: impl BufRead) -> io::Result<Maps> {
    let mut found = Maps::default();
    maps::for_each(text, |mapping| take(&mapping, &mut found))?;
    Ok(found)
}

fn take(mapping: &maps::Mapping<'_>, found: &mut Maps) {
    // Paths may be anything; ours are ASCII.
    let path = String::from_utf8_lossy(mapping.path);
    let file = path.rsplit('/').next().unwrap_or_default();
    found.has_cuda |= file.starts_with(DRIVER_NAME);
    // Loaded into a running process, it is a memory file, whose last pages are the loader's.
    if file.trim_start_matches("memfd:").starts_with(SHIM_NAME) {
        found.has_shim |= mapping.offset == 0;
        if mapping.offset != 0 && !mapping.executable {
            found.mailboxes.push(mapping.start);
        }
    }
    let Some(name) = path.strip_prefix("/memfd:") else { return };
    let list = match name.strip_suffix(" (deleted)").unwrap_or(name) {
        RING_NAME => &mut found.rings,
        CONTROL_NAME => &mut found.controls,
        _ => return,
    };
    // A file is mapped as a whole; parts of one with other protections would be the process's own doing.
    if mapping.offset == 0 && list.iter().all(|known| known.inode != mapping.inode) {
        list.push(Mapping { range: mapping.entry_name(), inode: mapping.inode });
    }
}

#[cfg(test)]
mod tests {
    use super::{Linux, Mailbox, Mapping, Maps, Pid, is_loading, parse};
    use crate::inject::mailbox::{NONE, Progress};
    use crate::inject::runtime::Functions;

    #[test]
    fn rings_control_pages_driver_and_shim_are_found() {
        let maps = "\
7f0000000000-7f0000700000 rw-s 00000000 00:01 1234                       /memfd:gpu-agent-ring (deleted)
7f0000700000-7f0000701000 rw-s 00000000 00:01 1235                       /memfd:gpu-agent-control (deleted)
7f0000800000-7f0000801000 r--p 00000000 fe:00 77                         /opt/with space/libgpu_agent_cupti.so
7f0000900000-7f0000901000 r-xp 00000000 fe:00 78                         /usr/lib/x86_64-linux-gnu/libcuda.so.535.1
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]
7ffd00100000-7ffd00200000 rw-p 00000000 00:00 0 
";
        let found = parse(maps.as_bytes()).unwrap();
        assert_eq!(found.rings, [Mapping { range: "7f0000000000-7f0000700000".into(), inode: 1234 }]);
        assert_eq!(found.controls.len(), 1);
        assert!(found.has_cuda && found.has_shim);
    }

    #[test]
    fn pages_of_the_loader_are_not_the_shim() {
        let maps = "\
7f0000800000-7f0000810000 r-xp 00090000 00:01 77 /memfd:libgpu_agent_cupti.so (deleted)
7f0000810000-7f0000820000 rw-s 000a0000 00:01 77 /memfd:libgpu_agent_cupti.so (deleted)
";
        let found = parse(maps.as_bytes()).unwrap();
        assert!(!found.has_shim);
        assert_eq!(found.mailboxes, [0x7f00_0081_0000]);
    }

    #[test]
    fn a_mailbox_whose_thread_may_still_load_the_shim_counts_and_what_is_left_of_others_does_not() {
        let is_loading = |progress: Progress| {
            let mut page = Box::new(Mailbox::new([7, NONE], Functions::default(), 0x1000, 0));
            let address = (&raw const *page).addr() as u64;
            (page.own_address, page.progress) = (address, progress as u32);
            is_loading(&Linux, Pid(std::process::id()), address)
        };
        assert!(is_loading(Progress::Making) && is_loading(Progress::Loading));
        assert!(!is_loading(Progress::Done), "left from a fork");
        assert!(!is_loading(Progress::Prepared), "left from an agent that was killed");
        assert!(super::is_loading(&Linux, Pid(std::process::id()), 8), "cannot be read");
    }

    #[test]
    fn a_file_mapped_twice_is_one_and_lookalikes_are_none() {
        let maps = "\
1000-2000 rw-s 00000000 00:01 9 /memfd:gpu-agent-ring (deleted)
3000-4000 r--s 00000000 00:01 9 /memfd:gpu-agent-ring (deleted)
5000-6000 r--s 00001000 00:01 9 /memfd:gpu-agent-ring (deleted)
5000-6000 r--s 00000000 00:01 10 /tmp/memfd:gpu-agent-ring
5000-6000 r--s 00000000 00:01 11 /memfd:gpu-agent-ringer
";
        let found = parse(maps.as_bytes()).unwrap();
        assert_eq!(found.rings.len(), 1);
        assert!(!found.has_cuda);
    }

    #[test]
    fn garbage_is_passed_over() {
        assert_eq!(parse(&b"\xff\xfe\n\n - - - \nno fields"[..]).unwrap(), Maps::default());
    }
}
