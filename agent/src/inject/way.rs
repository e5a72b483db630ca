//! How a file of the agent comes into a process: as a memory file, or, where it may not execute those, as a file in its root.
//!
//! Enters: a held thread. Leaves: a descriptor in the process, and the agent's own of the same file. Refuses: to follow a link
//! of the process, to write what another user could change, to leave a name behind.

use std::ffi::{OsStr, OsString};
use std::fs::{File, read_link};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use rustix::fs::{
    AtFlags, Mode, OFlags, ResolveFlags, StatVfsMountFlags, Uid, fchown, fcntl_get_seals, fstat, fstatvfs,
    open, openat, openat2, unlinkat,
};

use gpu_agent_ring::control::mono_ns;

use super::Error;
use super::arch::{Arch, Native};
use super::door::Door;
use super::held::Held;
use crate::event::Pid;
use crate::identity::Process;

/// Name of the shim's file, by which it is known in `/proc/PID/maps`, and of its companion's.
pub const SHIM: &str = "libgpu_agent_cupti.so";
/// See [`SHIM`].
pub const COMPANION: &str = "libcupti.so";
/// Where a file is put in a process's root, the first that takes it.
const FOLDERS: [&str; 4] = ["/tmp", "/dev/shm", "/var/tmp", "/run"];
/// `linux/memfd.h`; `MFD_EXEC` is unknown before Linux 6.3, and memory files are executable there anyway.
const MFD_CLOEXEC: u64 = 1;
const MFD_EXEC: u64 = 0x10;
/// What cannot be done where memory files are forbidden.
pub const MEMFD_CREATE: &str = "make a memory file (memfd_create)";

/// See the module.
#[derive(Debug)]
pub enum Way {
    /// A memory file of this name.
    Memory(&'static str),
    /// A file in the process's root.
    Disk(Named),
}

/// A new file, which has a name until this is dropped.
#[derive(Debug)]
pub struct Named {
    folder: OwnedFd,
    name: OsString,
    /// As the process sees it.
    path: String,
    device: u64,
    inode: u64,
}

impl Way {
    /// A file in the root of `process`, with a name that begins so, that nobody but its user can change.
    pub fn on_disk(process: &Process, name: &str) -> Result<Self, Error> {
        let mut tried = Vec::new();
        for folder in FOLDERS {
            match Named::in_folder(process, folder, name) {
                Ok(named) => return Ok(Self::Disk(named)),
                Err(error) => tried.push(format!("{folder}: {error}")),
            }
        }
        Err(Error::Disk { pid: process.pid, tried: tried.join("; ") })
    }

    /// Has the thread open it.
    pub fn open<D: Door>(&self, held: &mut Held<'_, D, Native>, pid: Pid) -> Result<(u32, File), Error> {
        let descriptor = match self {
            Self::Memory(name) => memory_file(held, name)?,
            Self::Disk(named) => named.open(held)?,
        } as u32;
        let opened = held.descriptor(descriptor).and_then(|file| {
            self.is(&file)?
                .then_some(file)
                .ok_or_else(|| io::Error::other("another file has its descriptor's number"))
        });
        opened.map(|file| (descriptor, file)).map_err(|source| {
            let close = [u64::from(descriptor), 0, 0, 0, 0, 0];
            if let Err(error) = held.syscall("close a file", Native::NUMBERS.close, close) {
                tracing::warn!(pid = pid.0, descriptor, %error, "a descriptor of the agent stays open in the process");
            }
            Error::Memory { pid, what: "open the shim's file", source }
        })
    }

    /// Whether `file` is the one that was meant: neither one that the process has put in its place, nor one that has its number
    /// where the thread has descriptors of its own. Nothing was written into it yet.
    fn is(&self, file: &File) -> io::Result<bool> {
        let found = file.metadata()?;
        Ok(match self {
            Self::Memory(name) => {
                let link = read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
                let is_called_so = link.as_os_str() == OsStr::new(&format!("/memfd:{name} (deleted)"));
                is_called_so && found.len() == 0 && fcntl_get_seals(file).is_ok()
            }
            Self::Disk(named) => (found.dev(), found.ino(), found.len()) == (named.device, named.inode, 0),
        })
    }
}

fn memory_file<D: Door>(held: &mut Held<'_, D, Native>, name: &str) -> Result<u64, Error> {
    let name = held.put(format!("{name}\0").as_bytes())?;
    let mut create =
        |flags| held.syscall(MEMFD_CREATE, Native::NUMBERS.memfd_create, [name, flags, 0, 0, 0, 0]);
    match create(MFD_CLOEXEC | MFD_EXEC) {
        Err(Error::Call { source, .. }) if source.raw_os_error() == Some(libc::EINVAL) => create(MFD_CLOEXEC),
        outcome => outcome,
    }
}

impl Named {
    fn in_folder(process: &Process, folder: &str, name: &str) -> io::Result<Self> {
        let root =
            open(process.path("root"), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let found = openat2(&root, folder, flags, Mode::empty(), resolve)?;
        if fstatvfs(&found)?.f_flag.contains(StatVfsMountFlags::NOEXEC) {
            return Err(io::Error::other("mounted noexec"));
        }
        let name = OsString::from(format!("{name}.{}.{}", std::process::id(), mono_ns()));
        let create = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&found, &name, create, Mode::RUSR | Mode::WUSR)?;
        let status = fstat(&file)?;
        let path = format!("{folder}/{}", name.display());
        let named = Self { folder: found, name, path, device: status.st_dev, inode: status.st_ino };
        fchown(&file, Some(Uid::from_raw(process.uid)), None)?;
        Ok(named)
    }

    fn open<D: Door>(&self, held: &mut Held<'_, D, Native>) -> Result<u64, Error> {
        let path = held.put(format!("{}\0", self.path).as_bytes())?;
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let arguments = [i64::from(libc::AT_FDCWD).cast_unsigned(), path, u64::from(flags.bits()), 0, 0, 0];
        held.syscall("open the shim's file (openat)", Native::NUMBERS.openat, arguments)
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        if let Err(error) = unlinkat(self.folder.as_fd(), &self.name, AtFlags::empty()) {
            tracing::warn!(path = self.path, %error, "a file of the agent stays in the process's root");
        }
    }
}
