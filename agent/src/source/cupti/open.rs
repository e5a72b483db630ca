//! From mappings to an open ring and its control page.
//!
//! Enters: a process and its maps, or an announcement. Leaves: an [`Opened`] pair that was checked to belong together and
//! to that process. Refuses: rings of other processes (a descriptor inherited by `fork`, a forged header).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use gpu_agent_ring::layout::{CONTROL_NAME, RING_NAME, ending};
use gpu_agent_ring::{AgentControl, Announcement, OpenError, Reader};
use rustix::fs::{FileType, Mode, OFlags, fstat};

use super::AttachError;
use super::maps::{Mapping, Maps};
use crate::event::Pid;
use crate::identity::{IdentityError, Process};

/// A ring and its control page, and the process they belong to.
#[derive(Debug)]
pub struct Opened {
    /// Whose.
    pub process: Process,
    /// The ring, at record 0.
    pub reader: Reader,
    /// The control page; no lease is held.
    pub control: AgentControl,
    /// Where the ring is mapped, as in `/proc/PID/map_files`; not known from an announcement.
    pub(super) range: Option<String>,
    /// Whether both were opened through there, and so need no descriptor in the process to be opened again.
    pub(super) by_mapping: bool,
    /// Whether a wish that the shim let go ends with the attachment.
    pub(super) takes_back: bool,
}

impl Opened {
    /// Bits of [`ending`] for whoever lets this process go: descriptors that no agent like this one needs are closed.
    #[must_use]
    pub fn ending(&self) -> u32 {
        if self.by_mapping { ending::CLOSE_FILES } else { 0 }
    }

    /// Has the attachment take back that somebody wished CUPTI to be let go: once it has the lease, for a process that
    /// another agent holds is that one's.
    #[must_use]
    pub fn taking_back(self) -> Self {
        Self { takes_back: true, ..self }
    }

    /// A pair that the caller opened by itself and vouches for: the ring is the process's own.
    #[must_use]
    pub fn new(process: Process, reader: Reader, control: AgentControl) -> Self {
        Self { process, reader, control, range: None, by_mapping: false, takes_back: false }
    }
}

/// What was found in a process.
pub(super) struct Found {
    pub(super) reader: Reader,
    pub(super) control: AgentControl,
    /// Where the ring is mapped.
    pub(super) range: String,
    /// Both were opened through `map_files`.
    pub(super) by_mapping: bool,
}

/// Opens the newest ring of `process` that is its own.
pub(super) fn newest(process: &Process, maps: &Maps) -> Result<Found, AttachError> {
    if maps.rings.is_empty() {
        let (pid, executable) = (process.pid, process.executable.to_string());
        return Err(if maps.has_shim {
            AttachError::NotYet { pid, executable }
        } else if maps.has_cuda {
            AttachError::NoShim { pid, executable }
        } else {
            AttachError::NoCuda { pid, executable }
        });
    }
    let (mut best, mut failure): (Option<(Reader, &Mapping, bool)>, _) = (None, None);
    for mapping in &maps.rings {
        let opened = open_file(process, mapping, RING_NAME, false).and_then(|(file, by_mapping)| {
            let reader =
                Reader::open(file).map_err(|source| AttachError::Ring { pid: process.pid, source })?;
            is_of(process, &reader)?;
            Ok((reader, by_mapping))
        });
        match opened {
            Ok((reader, by_mapping)) => {
                let started = |reader: &Reader| reader.writer().anchor_mono_ns;
                if best.as_ref().is_none_or(|(known, ..)| started(known) < started(&reader)) {
                    best = Some((reader, mapping, by_mapping));
                }
            }
            Err(error) => failure = Some(error),
        }
    }
    let Some((reader, mapping, ring_by_mapping)) = best else {
        return Err(failure.unwrap_or(AttachError::NoControl { pid: process.pid }));
    };
    let (control, page_by_mapping) = control(process, maps, &reader)?;
    let by_mapping = ring_by_mapping && page_by_mapping;
    Ok(Found { reader, control, range: mapping.range.clone(), by_mapping })
}

/// Opens what a new shim announced. Its process may have ended since: its ring is whole, and is read all the same.
pub fn from_announcement(announcement: Announcement) -> Result<Opened, AttachError> {
    let pid = Pid(announcement.pid);
    let reader = Reader::open(&announcement.ring).map_err(|source| AttachError::Ring { pid, source })?;
    let writer = reader.writer();
    let process = match Process::look_up(pid) {
        Ok(process) => {
            is_of(&process, &reader)?;
            process
        }
        Err(IdentityError::NoSuchProcess(_) | IdentityError::Ended(_)) => {
            Process::ended(pid, writer.pid, writer.start_time_ticks, announcement.uid)
        }
        Err(error) => return Err(error.into()),
    };
    let process = process.named(&announcement.executable);
    let control = AgentControl::open(&announcement.control, writer.ring_id, std::process::id())
        .map_err(|source| AttachError::Control { pid, source })?;
    Ok(Opened::new(process, reader, control))
}

/// The control page that carries the ring's id, and whether it was opened through `map_files`.
fn control(process: &Process, maps: &Maps, reader: &Reader) -> Result<(AgentControl, bool), AttachError> {
    let pid = process.pid;
    let mut failure = AttachError::NoControl { pid };
    for mapping in &maps.controls {
        let opened = open_file(process, mapping, CONTROL_NAME, true).and_then(|(file, by_mapping)| {
            AgentControl::open(file, reader.writer().ring_id, std::process::id())
                .map(|control| (control, by_mapping))
                .map_err(|source| AttachError::Control { pid, source })
        });
        match opened {
            Ok(opened) => return Ok(opened),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// The header's pid and start time must be the process's own, and both must mean the same by "now".
fn is_of(process: &Process, reader: &Reader) -> Result<(), AttachError> {
    let time_namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/time")).ok();
    let own = time_namespace("self");
    // Unreadable, as before Linux 5.6 and without the right to look, counts as the same.
    if own.is_some() && time_namespace(&process.pid.to_string()).is_some_and(|theirs| Some(theirs) != own) {
        return Err(AttachError::TimeNamespace { pid: process.pid });
    }
    let writer = reader.writer();
    if writer.pid != process.inner_pid || writer.start_time_ticks != process.start_time_ticks {
        return Err(AttachError::Foreign { pid: process.pid, writer_pid: writer.pid });
    }
    Ok(())
}

/// Opens a mapped memfd through `map_files` (then it says `true`), else through the descriptor that the shim keeps until an
/// agent that can do the former has let it go.
fn open_file(
    process: &Process,
    mapping: &Mapping,
    name: &str,
    write: bool,
) -> Result<(File, bool), AttachError> {
    let options = |path: &str| OpenOptions::new().read(true).write(write).open(path);
    let denied = match options(&process.path(&format!("map_files/{}", mapping.range))) {
        Ok(file) => return Ok((file, true)),
        Err(error) => error,
    };
    match descriptor(process, mapping, name) {
        // Through the agent's own descriptor: what the process has put there meanwhile is not opened.
        Ok(Some(found)) => match options(&format!("/proc/self/fd/{}", found.as_raw_fd())) {
            Ok(file) => Ok((file, false)),
            Err(source) => Err(AttachError::denied(process, "ring", source)),
        },
        Ok(None) if process.has_ended() => Err(AttachError::Reused { pid: process.pid }),
        Ok(None) => Err(AttachError::no_descriptors(process, denied)),
        Err(_) if process.has_ended() => Err(AttachError::Reused { pid: process.pid }),
        Err(source) => Err(AttachError::denied(process, "descriptors", source)),
    }
}

/// The mapped file as a descriptor of the process leads to it, not opened: a place alone (`O_PATH`).
fn descriptor(process: &Process, mapping: &Mapping, name: &str) -> io::Result<Option<OwnedFd>> {
    let wanted = format!("/memfd:{name}");
    for entry in std::fs::read_dir(process.path("fd"))? {
        let path = entry?.path();
        let leads_there = std::fs::read_link(&path)
            .is_ok_and(|target| target.to_string_lossy().trim_end_matches(" (deleted)") == wanted);
        // The name alone is not enough: a process can have several rings.
        if leads_there
            && let Ok(found) = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            && fstat(&found).is_ok_and(|file| {
                file.st_ino == mapping.inode && FileType::from_raw_mode(file.st_mode) == FileType::RegularFile
            })
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Whether an error of opening may pass by itself: the shim is being set up, or the process has changed.
impl AttachError {
    /// Whether the process is there and merely has no ring (yet): its entry points may be probed all the same.
    #[must_use]
    pub fn has_no_ring(&self) -> bool {
        matches!(
            self,
            Self::NoCuda { .. } | Self::NoShim { .. } | Self::NotYet { .. } | Self::NoControl { .. }
        )
    }

    /// Whether trying again a little later makes sense.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::NotYet { .. }
                | Self::NoCuda { .. }
                | Self::NoControl { .. }
                | Self::Lease { .. }
                | Self::Ring { source: OpenError::Magic { .. }, .. }
        )
    }
}
