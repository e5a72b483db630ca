//! What `/proc/PID/maps` says that matters here.
//!
//! Enters: the maps of a process. Leaves: where the shim's files are mapped, and whether CUDA and the shim are. Refuses:
//! to look at anything else in there.

use std::fs;
use std::io::{self, BufRead, BufReader};

use gpu_agent_ring::layout::{CONTROL_NAME, RING_NAME};

use super::AttachError;
use crate::identity::Process;
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
    /// The shim's library is mapped.
    pub(super) has_shim: bool,
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
    parse(BufReader::new(file)).map_err(failed)
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
    // Loaded into a running process, it is a memory file.
    found.has_shim |= file.trim_start_matches("memfd:").starts_with(SHIM_NAME);
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
    use super::{Mapping, Maps, parse};

    #[test]
    fn rings_control_pages_driver_and_shim_are_found() {
        let maps = "\
7f0000000000-7f0000700000 rw-s 00000000 00:01 1234                       /memfd:gpu-agent-ring (deleted)
7f0000700000-7f0000701000 rw-s 00000000 00:01 1235                       /memfd:gpu-agent-control (deleted)
7f0000800000-7f0000801000 r-xp 00002000 fe:00 77                         /opt/with space/libgpu_agent_cupti.so
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
