//! The steps of an injection, in their order, and what undoes each.
//!
//! Enters: a process that passed the checks, the bytes of the shim. Leaves: a loaded shim. Refuses: to go on once the pid means
//! another process; to leave anything behind after a failure, as far as the process still does what it is asked for.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use zerocopy::{FromZeros, IntoBytes};

use super::arch::{Arch, Native};
use super::cupti::Cuda;
use super::door::Door;
use super::held::Held;
use super::mailbox::{Mailbox, PAGE_BYTES, Progress};
use super::runtime::Runtime;
use super::threads::{self, Candidate, Memory};
use super::{Error, Injected, Options, Refusal, checks, seccomp};
use crate::event::Pid;
use crate::identity::{self, Process};
use crate::maps;
use crate::symbols::process::{self, Mapped};

/// Name of the memory file, by which the shim is known in `/proc/PID/maps`.
pub const FILE_NAME: &str = "libgpu_agent_cupti.so";
/// Stack on which the borrowed thread calls `pthread_create`: lazy binding alone saves 11 KiB of registers there.
const STACK_BYTES: u64 = 128 << 10;
/// Time between two looks for a thread at rest, or into the mailbox.
const NAP: Duration = Duration::from_micros(500);
/// The longest, once a process has kept us waiting.
const LONGEST_NAP: Duration = Duration::from_millis(8);

/// How long a program may take from its exec to its dynamic linker.
const START: Duration = Duration::from_millis(20);

/// `linux/memfd.h`; `MFD_EXEC` is unknown before Linux 6.3, and memory files are executable there anyway.
const MFD_CLOEXEC: u64 = 1;
const MFD_EXEC: u64 = 0x10;
/// `asm-generic/mman-common.h`.
const PROT_READ: u64 = 1;
const PROT_WRITE: u64 = 2;
const PROT_EXEC: u64 = 4;
const MAP_SHARED: u64 = 1;
const MAP_PRIVATE: u64 = 2;
const MAP_ANONYMOUS: u64 = 0x20;

/// Who may look for a thread and hold it: one injection of this agent at a time. Each waits for its process at the highest
/// priority, and two would keep the processors from the threads that they wait for.
static TURN: Mutex<()> = Mutex::new(());

/// One injection under way.
#[derive(Debug)]
pub struct Steps<'a, D: Door> {
    door: &'a D,
    process: &'a Process,
    options: Options,
    has_seccomp: bool,
    /// The new thread exists, or may come to exist: descriptor and pages are its own to give back.
    handed_over: bool,
    told: Injected,
}

/// Where in the memory file code and mailbox lie.
#[derive(Debug, Clone, Copy)]
struct Layout {
    code_offset: u64,
    mailbox_offset: u64,
}

type Borrowed<'a, D> = Held<'a, D, Native>;

impl<'a, D: Door> Steps<'a, D> {
    /// Nothing is done yet.
    pub fn new(door: &'a D, process: &'a Process, options: Options) -> Self {
        Self { door, process, options, has_seccomp: false, handed_over: false, told: Injected::default() }
    }

    /// All of them.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn run(mut self, library: &[u8]) -> Result<Injected, Error> {
        let pid = self.process.pid;
        self.has_seccomp = checks::check(self.process)?;
        let files = process::mapped(pid).map_err(|source| Error::Mappings { pid, source })?;
        // Its memory goes before it does.
        if files.is_empty() {
            return Err(Error::Gone { pid });
        }
        let runtime = Runtime::find::<D, Native>(self.door, pid, &files);
        // What was found in a process that is no more, or in a program that was replaced meanwhile, says nothing.
        self.is_still_itself()?;
        let runtime = runtime.map_err(|error| self.unless_replaced(error, &files))?;
        self.cupti_is_safe(&files)?;
        let (descriptor, file) = self.memory_file(&runtime)?;
        let outcome = Layout::write(&file, library, pid)
            .and_then(|layout| Ok((layout, self.start_thread(&runtime, descriptor, &file, layout)?)));
        match outcome {
            Ok((layout, ())) => self.await_thread(&file, layout).map(|()| self.told),
            Err(error) => {
                if !self.handed_over {
                    self.close(&runtime, descriptor);
                }
                Err(error)
            }
        }
    }

    /// The error, unless the process runs another program by now. One that has just begun has no dynamic linker for a moment,
    /// and looks as if it were linked statically.
    fn unless_replaced(&self, error: Error, files: &[Mapped]) -> Error {
        let pid = self.process.pid;
        let is_static = matches!(&error, Error::Refused { refusal: Refusal::Static, .. });
        if is_static {
            std::thread::sleep(START);
        }
        match process::mapped(pid) {
            Ok(now) if now.first() != files.first() => Error::Gone { pid },
            Ok(now) if is_static && now != files => Error::Refused { pid, refusal: Refusal::Starting },
            Ok(_) => error,
            Err(_) => Error::Gone { pid },
        }
    }

    /// Whether CUPTI can be switched on in a process that may have CUDA graphs already.
    fn cupti_is_safe(&self, files: &[Mapped]) -> Result<(), Error> {
        let pid = self.process.pid;
        match Cuda::of(files).candidates(pid).into_iter().next() {
            Some(cupti) if cupti.is_before_12_6 == Some(true) && !self.options.force => {
                let refusal = Refusal::GraphsUnsafe { library: cupti.path.display().to_string() };
                Err(Error::Refused { pid, refusal })
            }
            _ => Ok(()),
        }
    }

    /// Has the process make a memory file, and opens it.
    fn memory_file(&mut self, runtime: &Runtime) -> Result<(u32, File), Error> {
        let pid = self.process.pid;
        let (has_seccomp, force) = (self.has_seccomp, self.options.force);
        let create = |held: &mut Borrowed<'a, D>| {
            if has_seccomp {
                seccomp_is_no_obstacle(held, pid, force)?;
            }
            let name = held.put(format!("{FILE_NAME}\0").as_bytes())?;
            let mut create = |flags| {
                held.syscall(
                    "make a memory file (memfd_create)",
                    Native::NUMBERS.memfd_create,
                    [name, flags, 0, 0, 0, 0],
                )
            };
            match create(MFD_CLOEXEC | MFD_EXEC) {
                Err(Error::Call { source, .. }) if source.raw_os_error() == Some(libc::EINVAL) => {
                    create(MFD_CLOEXEC)
                }
                outcome => outcome,
            }
        };
        let descriptor = self.with_thread(runtime, create)? as u32;
        let opened = self.door.descriptor(pid, descriptor);
        match opened {
            Ok(file) => Ok((descriptor, file)),
            Err(source) => {
                self.close(runtime, descriptor);
                Err(Error::Memory { pid, what: "open the memory file", source })
            }
        }
    }

    /// Has the process map code and mailbox, and make the thread that does the rest.
    fn start_thread(
        &mut self,
        runtime: &Runtime,
        descriptor: u32,
        file: &File,
        layout: Layout,
    ) -> Result<(), Error> {
        let pid = self.process.pid;
        let mut handed_over = false;
        let started = self.with_thread(runtime, |held| {
            let mut maps = Maps { held, made: Vec::new(), handed_over: &mut handed_over };
            let started = maps.start(runtime, descriptor, file, layout, pid);
            // The stack has done its duty; the rest is the new thread's to unmap, if there is one.
            let keep = if *maps.handed_over { 2 } else { 0 };
            maps.unmap(keep);
            started
        });
        self.handed_over = handed_over;
        started
    }

    /// Closes the memory file after a failure; a process that has ended or is stuck keeps it until it ends.
    fn close(&mut self, runtime: &Runtime, descriptor: u32) {
        // Another program, after an exec, may have another file there.
        let link = std::fs::read_link(self.process.path(&format!("fd/{descriptor}"))).unwrap_or_default();
        if !link.to_string_lossy().contains(FILE_NAME) {
            return;
        }
        let close = |held: &mut Borrowed<'a, D>| {
            held.syscall(
                "close the memory file",
                Native::NUMBERS.close,
                [u64::from(descriptor), 0, 0, 0, 0, 0],
            )
        };
        if let Err(error) = self.with_thread(runtime, close) {
            tracing::warn!(pid = self.process.pid.0, descriptor, %error, "a descriptor of the agent stays open in the process");
        }
    }

    /// Borrows a thread at rest for `work`, and gives it back whatever comes of that.
    fn with_thread<T>(
        &mut self,
        runtime: &Runtime,
        work: impl FnOnce(&mut Borrowed<'a, D>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (_turn, mut held) = self.borrow_thread(runtime)?;
        let outcome = self.is_still_itself().and_then(|()| work(&mut held));
        let released = held.release();
        self.told.stops += 1;
        self.told.stopped += *released.as_ref().unwrap_or(&Duration::ZERO);
        let outcome = outcome?;
        released.map(|_| outcome)
    }

    fn borrow_thread(&self, runtime: &Runtime) -> Result<(MutexGuard<'static, ()>, Borrowed<'a, D>), Error> {
        let pid = self.process.pid;
        let started = Instant::now();
        let mut nap = NAP;
        loop {
            let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
            let memory = Memory { anonymous: anonymous(pid)?, forbidden: runtime.forbidden.clone() };
            for candidate in threads::candidates::<D, Native>(self.door, pid, &memory)? {
                match self.stop(candidate, runtime) {
                    Ok(Some(held)) => return Ok((turn, held)),
                    // It has left its call, or ended; another may do.
                    Ok(None) => {}
                    Err(Error::Gone { .. }) if !self.process.has_ended() => {}
                    Err(error) => return Err(error),
                }
            }
            self.is_still_itself()?;
            let waited = started.elapsed();
            if waited > self.options.timeout {
                return Err(Error::NoThreadAtRest { pid, waited });
            }
            drop(turn);
            std::thread::sleep(nap);
            nap = (nap * 2).min(LONGEST_NAP);
        }
    }

    fn stop(&self, candidate: Candidate, runtime: &Runtime) -> Result<Option<Borrowed<'a, D>>, Error> {
        let pid = self.process.pid;
        match Held::stop(self.door, pid, candidate, runtime) {
            // Who came first is told from what else forbids it.
            Err(error @ Error::Trace { .. }) => match checks::Status::read(Pid(candidate.tid.0))?.refusal() {
                Some(refusal) => Err(Error::Refused { pid, refusal }),
                None => Err(error),
            },
            outcome => outcome,
        }
    }

    /// Waits until the new thread has done its work.
    fn await_thread(&self, file: &File, layout: Layout) -> Result<(), Error> {
        let pid = self.process.pid;
        let started = Instant::now();
        loop {
            let mut mailbox = Mailbox::new_zeroed();
            file.read_exact_at(mailbox.as_mut_bytes(), layout.mailbox_offset)
                .map_err(|source| Error::Memory { pid, what: "read the mailbox", source })?;
            match mailbox.progress() {
                Some(Progress::Done) => return Ok(()),
                Some(Progress::Refused) => return Err(Error::Linker { pid, message: mailbox.message() }),
                _ => {}
            }
            self.is_still_itself()?;
            let waited = started.elapsed();
            if waited > self.options.timeout {
                return Err(Error::Slow { pid, waited });
            }
            std::thread::sleep(NAP);
        }
    }

    /// Whether the pid still means the process that was checked.
    fn is_still_itself(&self) -> Result<(), Error> {
        let pid = self.process.pid;
        let same = identity::start_time_ticks(pid).is_ok_and(|ticks| ticks == self.process.start_time_ticks);
        if same && !self.process.has_ended() { Ok(()) } else { Err(Error::Gone { pid }) }
    }
}

impl Layout {
    /// Writes the shim and the code into the memory file.
    fn write(file: &File, library: &[u8], pid: Pid) -> Result<Self, Error> {
        let code_offset = (library.len() as u64).next_multiple_of(PAGE_BYTES);
        let layout = Self { code_offset, mailbox_offset: code_offset + PAGE_BYTES };
        let write = || -> io::Result<()> {
            file.set_len(layout.mailbox_offset + PAGE_BYTES)?;
            file.write_all_at(library, 0)?;
            file.write_all_at(Native::code(), layout.code_offset)
        };
        write().map_err(|source| Error::Memory { pid, what: "fill the memory file", source })?;
        Ok(layout)
    }
}

/// Whether the filters of the process let pass what is about to be done in it.
fn seccomp_is_no_obstacle<D: Door>(held: &Borrowed<'_, D>, pid: Pid, force: bool) -> Result<(), Error> {
    let refusal = match held.seccomp_filters()? {
        Some(filters) => {
            seccomp::first_denied(&filters).map(|(call, kills)| Refusal::Seccomp { call, kills })
        }
        None if force => None,
        None => Some(Refusal::SeccompUnknown),
    };
    refusal.map_or(Ok(()), |refusal| Err(Error::Refused { pid, refusal }))
}

/// What the borrowed thread has mapped.
struct Maps<'h, 'a, D: Door> {
    held: &'h mut Borrowed<'a, D>,
    made: Vec<(u64, u64)>,
    handed_over: &'h mut bool,
}

impl<D: Door> Maps<'_, '_, D> {
    fn start(
        &mut self,
        runtime: &Runtime,
        descriptor: u32,
        file: &File,
        layout: Layout,
        pid: Pid,
    ) -> Result<(), Error> {
        let Layout { code_offset, mailbox_offset } = layout;
        let code =
            self.map(PAGE_BYTES, PROT_READ | PROT_EXEC, MAP_PRIVATE, descriptor.into(), code_offset)?;
        let page =
            self.map(PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor.into(), mailbox_offset)?;
        let no_file = u64::MAX;
        let stack = self.map(STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, no_file, 0)?;
        let mailbox = Mailbox::new(descriptor, runtime.functions, code, page);
        file.write_all_at(mailbox.as_bytes(), mailbox_offset).map_err(|source| Error::Memory {
            pid,
            what: "fill the mailbox",
            source,
        })?;
        let mut made = None;
        let note = |number: i64, outcome: i64| {
            if Native::NUMBERS.clone.contains(&number.cast_unsigned()) {
                made = Some(outcome);
            }
        };
        // Until it is known that there is no thread, there may be one.
        *self.handed_over = true;
        // Its id goes to the lowest word of the stack.
        self.held.function(
            runtime.pthread_create,
            [stack, 0, code, page, 0, 0],
            stack + STACK_BYTES,
            note,
        )?;
        match made {
            Some(1..) => Ok(()),
            outcome => {
                *self.handed_over = false;
                let error = outcome.and_then(|outcome| i32::try_from(-outcome).ok()).unwrap_or(libc::ENOMEM);
                let source = io::Error::from_raw_os_error(error);
                Err(Error::Call { pid, call: "make a thread (pthread_create)", source })
            }
        }
    }

    fn map(
        &mut self,
        length: u64,
        protection: u64,
        flags: u64,
        descriptor: u64,
        offset: u64,
    ) -> Result<u64, Error> {
        let arguments = [0, length, protection, flags, descriptor, offset];
        let address = self.held.syscall("map memory (mmap)", Native::NUMBERS.mmap, arguments)?;
        self.made.push((address, length));
        Ok(address)
    }

    /// Unmaps all but the first `keep`, latest first.
    fn unmap(&mut self, keep: usize) {
        while self.made.len() > keep
            && let Some((address, length)) = self.made.pop()
        {
            // It can fail only where the thread is gone, or inside of a function and so on this very stack.
            let _ = self.held.syscall("unmap memory", Native::NUMBERS.munmap, [address, length, 0, 0, 0, 0]);
        }
    }
}

/// Where in the process memory without a file lies.
fn anonymous(pid: Pid) -> Result<Vec<core::ops::Range<u64>>, Error> {
    let path = format!("/proc/{pid}/maps");
    let mut ranges = Vec::new();
    let read = File::open(&path).and_then(|file| {
        maps::for_each(io::BufReader::new(file), |mapping| {
            if mapping.inode == 0 && mapping.path != b"[heap]" {
                ranges.push(mapping.start..mapping.end);
            }
        })
    });
    match read {
        Ok(()) => Ok(ranges),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::Gone { pid }),
        Err(source) => Err(Error::Proc { path, source }),
    }
}
