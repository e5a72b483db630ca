//! What of a process's C library is needed: the addresses of a few functions, and of two pieces of code.
//!
//! Enters: the files that a process maps. Leaves: a [`Runtime`]. Refuses: processes without glibc, by name; files that are not
//! the very ones that are mapped (they are opened through the mapping, never by the process's word for them).

use std::ops::Range;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::arch::{Arch, Gadgets};
use super::door::Door;
use super::{Error, Refusal};
use crate::event::Pid;
use crate::symbols::process::Mapped;
use crate::symbols::{Cache, Image, ImageError, Machine, Pattern};

/// Most bytes of code that are looked through for gadgets; glibc has 1.5 MiB.
const MAX_CODE_BYTES: u64 = 16 << 20;
/// Bytes of code that are compared before it is used.
const MARK_BYTES: usize = 16;
/// `RTLD_NOW`.
const RTLD_NOW: u64 = 2;
/// `__RTLD_DLOPEN`, without which `__libc_dlopen_mode` takes the call for one of the C library's own.
const RTLD_DLOPEN: u64 = 0x8000_0000;
/// The allocator's functions, of the C library or of one that replaces them.
const ALLOCATOR: [&str; 8] =
    ["malloc", "calloc", "realloc", "free", "memalign", "posix_memalign", "aligned_alloc", "malloc_trim"];

/// What is looked up.
const NAMES: [&str; 9] = [
    "pthread_create",
    "pthread_self",
    "pthread_detach",
    "munmap",
    "dlopen",
    "dlsym",
    "dlerror",
    "__libc_dlopen_mode",
    "__libc_dlsym",
];

/// Functions that the code in the process calls.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Functions {
    /// `dlopen`, or `__libc_dlopen_mode`.
    pub dlopen: u64,
    /// Its second argument.
    pub dlopen_flags: u64,
    /// `dlsym`, or `__libc_dlsym`.
    pub dlsym: u64,
    /// `dlerror`; 0 if there is none.
    pub dlerror: u64,
    /// `pthread_self`.
    pub pthread_self: u64,
    /// `pthread_detach`.
    pub pthread_detach: u64,
    /// `munmap`.
    pub munmap: u64,
    /// `pthread_create`, which the borrowed thread calls.
    pub pthread_create: u64,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// Functions for the code in the process.
    pub functions: Functions,
    /// How it comes back.
    pub gadgets: Gadgets,
    /// Code of the allocator and of the dynamic linker, in which no thread is borrowed.
    pub forbidden: Vec<Range<u64>>,
    /// The first bytes of all that is used: another program, after an exec, has others there.
    marks: Vec<(u64, [u8; MARK_BYTES])>,
}

/// A library, and what of it is looked up.
struct Library<'a> {
    mapped: &'a Mapped,
    image: Image,
}

impl Runtime {
    /// Looks into the libraries among `files` of `pid`.
    pub fn find<D: Door, A: Arch>(door: &D, pid: Pid, files: &[Mapped]) -> Result<Self, Error> {
        let refused = |refusal| Error::Refused { pid, refusal };
        let name = |file: &Mapped| file.shown.rsplit('/').next().unwrap_or_default().to_owned();
        if files.iter().any(|file| name(file).starts_with("ld-musl")) {
            return Err(refused(Refusal::Musl));
        }
        // Until glibc 2.34, threads and the dynamic linker's functions were in libraries of their own.
        let is_libc = |name: &str| name.starts_with("libc.so.6") || name.starts_with("libc-2.");
        let is_part = |name: &str| {
            is_libc(name)
                || name.starts_with("libpthread")
                || name.starts_with("libdl.")
                || name.starts_with("libdl-")
        };
        let libc = files.iter().find(|file| is_libc(&name(file)));
        let is_starting = files.iter().any(|file| is_linker(&name(file)));
        let libc =
            libc.ok_or_else(|| refused(if is_starting { Refusal::Starting } else { Refusal::Static }))?;
        let mut libraries = Vec::new();
        for mapped in files.iter().filter(|file| is_part(&name(file))) {
            let image = mapped.open().map_err(|source| unreadable(pid, mapped, source))?;
            libraries.push(Library { mapped, image });
        }
        if let Some(library) = libraries.iter().find(|library| library.image.machine() != native()) {
            return Err(refused(Refusal::Machine { found: named(library.image.machine()) }));
        }
        let needed = |name: &'static str, found: Option<u64>| {
            let library = libc.shown.to_string();
            found.ok_or_else(|| refused(Refusal::NoSymbol { library, symbol: name }))
        };
        let [
            pthread_create,
            pthread_self,
            pthread_detach,
            munmap,
            dlopen,
            dlsym,
            dlerror,
            old_dlopen,
            old_dlsym,
        ] = find(pid, &libraries, &NAMES)?;
        let (dlopen, dlopen_flags) = match dlopen {
            Some(address) => (address, RTLD_NOW),
            None => (needed("dlopen", old_dlopen)?, RTLD_NOW | RTLD_DLOPEN),
        };
        let functions = Functions {
            dlopen,
            dlopen_flags,
            dlsym: needed("dlsym", dlsym.or(old_dlsym))?,
            dlerror: dlerror.unwrap_or(0),
            pthread_self: needed("pthread_self", pthread_self)?,
            pthread_detach: needed("pthread_detach", pthread_detach)?,
            munmap: needed("munmap", munmap)?,
            pthread_create: needed("pthread_create", pthread_create)?,
        };
        let gadgets = gadgets::<D, A>(door, pid, libc)?;
        let marked = [gadgets.syscall, gadgets.sigreturn, functions.pthread_create, functions.dlopen];
        let mark = |address: u64| {
            let mut bytes = [0; MARK_BYTES];
            door.read(pid, address, &mut bytes).map(|_| (address, bytes))
        };
        let marks = marked
            .into_iter()
            .map(mark)
            .collect::<Result<_, _>>()
            .map_err(|source| Error::Memory { pid, what: "read the C library", source })?;
        let forbidden = forbidden(&libraries, files, &name, pid)?;
        Ok(Self { functions, gadgets, forbidden, marks })
    }

    /// Whether `pid` still runs the program that this was found in.
    pub fn is_of<D: Door>(&self, door: &D, pid: Pid) -> bool {
        self.marks.iter().all(|(address, expected)| {
            let mut bytes = [0; MARK_BYTES];
            door.read(pid, *address, &mut bytes).is_ok() && bytes == *expected
        })
    }
}

/// Addresses of functions by their names, in the first library that has each.
fn find<const N: usize>(
    pid: Pid,
    libraries: &[Library<'_>],
    names: &[&'static str; N],
) -> Result<[Option<u64>; N], Error> {
    let mut found = [None; N];
    for library in libraries {
        for (address, range) in found.iter_mut().zip(library.functions(pid, names)?) {
            *address = address.or(range.map(|range| range.start));
        }
    }
    Ok(found)
}

impl Library<'_> {
    /// Where the functions of these names lie in the process, each if there is one.
    fn functions(&self, pid: Pid, names: &[&str]) -> Result<Vec<Option<Range<u64>>>, Error> {
        let patterns: Vec<_> = names.iter().map(|name| Pattern::Exact((*name).to_owned())).collect();
        let answers = self
            .image
            .lookup(&Cache::disabled(), &patterns)
            .map_err(|source| unreadable(pid, self.mapped, source))?;
        let range = |symbol: &crate::symbols::Symbol| {
            let start = self.mapped.address_of(symbol.file_offset)?;
            Some(start..start.checked_add(symbol.size_bytes)?)
        };
        Ok(answers.into_iter().map(|answer| answer.ok()?.first().and_then(range)).collect())
    }
}

/// Whether this is glibc's dynamic linker.
fn is_linker(name: &str) -> bool {
    name.starts_with("ld-linux") || name.starts_with("ld-2.")
}

/// Whether this is an allocator that programs are run with, which `pthread_create` then asks for memory.
fn is_allocator(name: &str) -> bool {
    ["libjemalloc", "libtcmalloc", "libmimalloc", "libsnmalloc"].iter().any(|start| name.starts_with(start))
}

/// The code of the dynamic linker, of the C library's allocator, and of allocators that replace it.
fn forbidden(
    libraries: &[Library<'_>],
    files: &[Mapped],
    name: &impl Fn(&Mapped) -> String,
    pid: Pid,
) -> Result<Vec<Range<u64>>, Error> {
    let mut ranges: Vec<_> = files
        .iter()
        .filter(|file| is_linker(&name(file)) || is_allocator(&name(file)))
        .flat_map(|file| &file.ranges)
        .map(|range| range.start..range.end)
        .collect();
    for library in libraries {
        ranges.extend(library.functions(pid, &ALLOCATOR)?.into_iter().flatten());
    }
    Ok(ranges)
}

/// Looks through the C library's code as the process has it.
fn gadgets<D: Door, A: Arch>(door: &D, pid: Pid, libc: &Mapped) -> Result<Gadgets, Error> {
    let mut outcome = Err("code that can be read");
    for range in &libc.ranges {
        let mut code = vec![0; range.end.saturating_sub(range.start).min(MAX_CODE_BYTES) as usize];
        let length = door.read(pid, range.start, &mut code).map_err(|source| Error::Memory {
            pid,
            what: "read the C library",
            source,
        })?;
        code.truncate(length);
        outcome = A::gadgets(&code, range.start);
        if outcome.is_ok() {
            break;
        }
    }
    let library = || libc.shown.to_string();
    outcome.map_err(|what| Error::Refused { pid, refusal: Refusal::NoGadget { library: library(), what } })
}

fn unreadable(pid: Pid, mapped: &Mapped, source: ImageError) -> Error {
    Error::Symbols { pid, library: mapped.shown.to_string(), source }
}

/// The machine that this agent runs on.
pub(super) fn native() -> Machine {
    if cfg!(target_arch = "aarch64") { Machine::Aarch64 } else { Machine::X86_64 }
}

fn named(machine: Machine) -> &'static str {
    match machine {
        Machine::X86_64 => "x86_64",
        Machine::Aarch64 => "aarch64",
    }
}
