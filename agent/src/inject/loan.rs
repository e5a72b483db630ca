//! What a borrowed thread opens and maps in its process, until a thread of ours owns it.
//!
//! Enters: a held thread, the way the files come. Leaves: a new thread that waits for an order and owns files and pages. Refuses:
//! to keep anything after a failure, as far as the thread still does what it is asked for.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use zerocopy::{FromZeros, IntoBytes};

use super::Error;
use super::arch::{Arch, Native};
use super::door::Door;
use super::held::Held;
use super::mailbox::{Mailbox, NONE, PAGE_BYTES, SHARED_BYTES};
use super::runtime::Runtime;
use super::steps::Layout;
use super::way::Way;
use crate::event::Pid;

/// `asm-generic/mman-common.h`.
const PROT_READ: u64 = 1;
const PROT_WRITE: u64 = 2;
const PROT_EXEC: u64 = 4;
const MAP_SHARED: u64 = 1;
const MAP_PRIVATE: u64 = 2;

/// See the module.
#[derive(Debug)]
pub struct Loan<'h, 'a, D: Door> {
    held: &'h mut Held<'a, D, Native>,
    pid: Pid,
    descriptors: Vec<u64>,
    maps: Vec<(u64, u64)>,
}

impl<'h, 'a, D: Door> Loan<'h, 'a, D> {
    /// Nothing so far.
    pub fn new(held: &'h mut Held<'a, D, Native>, pid: Pid) -> Self {
        Self { held, pid, descriptors: Vec::new(), maps: Vec::new() }
    }

    /// All of it; leaves the files, the shim's first, and perhaps its companion's.
    pub fn hand_over(
        &mut self,
        runtime: &Runtime,
        layout: Layout,
        ways: Vec<Way>,
    ) -> Result<Vec<File>, Error> {
        let pid = self.pid;
        let mut files = Vec::new();
        let mut descriptors = [NONE; 2];
        for (way, place) in ways.into_iter().zip(&mut descriptors) {
            // A name ends with this, before anything is written.
            let (descriptor, file) = way.open(self.held, pid)?;
            self.descriptors.push(descriptor.into());
            *place = descriptor;
            files.push(file);
        }
        let ([descriptor, _], Some(file)) = (descriptors, files.first()) else { return Ok(files) };
        file.set_len(layout.file_bytes())
            .and_then(|()| file.write_all_at(Native::code(), layout.code))
            .map_err(|source| Error::Memory { pid, what: "fill the shim's file", source })?;
        let code =
            self.map(PAGE_BYTES, PROT_READ | PROT_EXEC, MAP_PRIVATE, descriptor.into(), layout.code)?;
        let shared =
            self.map(SHARED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor.into(), layout.mailbox)?;
        let mailbox = Mailbox::new(descriptors, runtime.functions, code, shared);
        file.write_all_at(mailbox.as_bytes(), layout.mailbox).map_err(|source| Error::Memory {
            pid,
            what: "fill the mailbox",
            source,
        })?;
        let made =
            || {
                let mut mailbox = Mailbox::new_zeroed();
                file.read_exact_at(mailbox.as_mut_bytes(), layout.mailbox)
                    .map_err(|source| Error::Memory { pid, what: "read the mailbox", source })?;
                Ok(mailbox.made())
            };
        let ran = self.held.run(code..code + PAGE_BYTES, shared, || made().map(|made| made.is_some()));
        match made()? {
            Some(Err(error)) => {
                let source = io::Error::from_raw_os_error(error);
                Err(Error::Call { pid, call: "make a thread (pthread_create)", source })
            }
            // Until it is known that there is no thread, there may be one, and all is its to give back.
            _ => {
                self.descriptors.clear();
                self.maps.clear();
                ran.map(|()| files)
            }
        }
    }

    fn map(&mut self, length: u64, protection: u64, flags: u64, file: u64, at: u64) -> Result<u64, Error> {
        let arguments = [0, length, protection, flags, file, at];
        let address = self.held.syscall("map memory (mmap)", Native::NUMBERS.mmap, arguments)?;
        self.maps.push((address, length));
        Ok(address)
    }

    /// Unmaps and closes. It can fail only where the thread does not answer.
    pub fn undo(&mut self) {
        for (address, length) in self.maps.drain(..).rev() {
            let arguments = [address, length, 0, 0, 0, 0];
            let _ = self.held.syscall("unmap memory (munmap)", Native::NUMBERS.munmap, arguments);
        }
        for descriptor in self.descriptors.drain(..) {
            if let Err(error) =
                self.held.syscall("close a file", Native::NUMBERS.close, [descriptor, 0, 0, 0, 0, 0])
            {
                tracing::warn!(pid = self.pid.0, descriptor, %error, "a descriptor of the agent stays open in the process");
            }
        }
    }
}
