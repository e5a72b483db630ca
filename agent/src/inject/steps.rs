//! The steps of an injection, in their order, and what undoes each.
//!
//! Enters: a process that passed the checks, the bytes of the shim. Leaves: a loaded shim. Refuses: to go on once the pid means
//! another process; to leave anything behind after a failure, as far as the process still does what it is asked for.

use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use zerocopy::{FromZeros, IntoBytes};

use super::arch::Native;
use super::cupti::{self, Cuda, Release};
use super::door::Door;
use super::held::Held;
use super::loan::Loan;
use super::mailbox::{Mailbox, Order, PAGE_BYTES, Progress, SHARED_BYTES};
use super::runtime::{Runtime, native};
use super::seccomp::{self, By};
use super::threads::{self, Candidate, Memory};
use super::way::{self, Way};
use super::{Error, Injected, Options, Refusal, checks};
use crate::event::Pid;
use crate::identity::{self, Process};
use crate::maps;
use crate::symbols::process::{self, Mapped};

/// Time between two looks for a thread at rest, or into the mailbox.
const NAP: Duration = Duration::from_micros(500);
/// The longest, once a process has kept us waiting.
const LONGEST_NAP: Duration = Duration::from_millis(8);

/// The first CUPTI that may be switched on where there are CUDA graphs already.
const GRAPHS_FROM: Release = Release { major: 12, minor: 6 };

/// How long a program may take from its exec to its dynamic linker.
const START: Duration = Duration::from_millis(20);

/// Who may look for a thread and hold it: one injection of this agent at a time. Each waits for its process at the highest
/// priority, and two would keep the processors from the threads that they wait for.
static TURN: Mutex<()> = Mutex::new(());

/// One injection under way.
#[derive(Debug)]
pub struct Steps<'a, D: Door> {
    door: &'a D,
    process: &'a Process,
    options: &'a Options,
    told: Injected,
}

/// Where in the shim's file code and mailbox lie.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// The code page.
    pub code: u64,
    /// The pages that are shared.
    pub mailbox: u64,
}

type Borrowed<'a, D> = Held<'a, D, Native>;

impl<'a, D: Door> Steps<'a, D> {
    /// Nothing is done yet.
    pub fn new(door: &'a D, process: &'a Process, options: &'a Options) -> Self {
        Self { door, process, options, told: Injected::default() }
    }

    /// All of them.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn run(mut self, library: &[u8]) -> Result<Injected, Error> {
        let pid = self.process.pid;
        let checked = checks::check(self.process)?;
        let files = process::mapped(pid).map_err(|source| Error::Mappings { pid, source })?;
        // Its memory goes before it does.
        if files.is_empty() {
            return Err(Error::Gone { pid });
        }
        let runtime = Runtime::find::<D, Native>(self.door, pid, &files);
        // What was found in a process that is no more, or in a program that was replaced meanwhile, says nothing.
        self.is_still_itself()?;
        let runtime = runtime.map_err(|error| self.unless_replaced(error, &files))?;
        let companion = self.companion(&files)?;
        let layout = Layout::after(library.len() as u64);
        let names = if companion.is_some() { [way::SHIM, way::COMPANION].as_slice() } else { &[way::SHIM] };
        let files = if checked.has_memory_files {
            match self.hand_over(&runtime, layout, names.iter().map(|name| Ok(Way::Memory(name)))) {
                Err(error) if error.forbids_memory_files() => self.hand_over_on_disk(&runtime, layout, names),
                outcome => outcome,
            }
        } else {
            self.hand_over_on_disk(&runtime, layout, names)
        }?;
        let Some(file) = files.first() else { return Err(Error::Gone { pid }) };
        let contents = [Some(library), companion.as_deref()];
        let written = files
            .iter()
            .zip(contents.into_iter().flatten())
            .try_for_each(|(file, bytes)| file.write_all_at(bytes, 0));
        if let Err(source) = written {
            layout.order(file, Order::Leave, pid)?;
            return Err(Error::Memory { pid, what: "write the shim into its file", source });
        }
        layout.order(file, Order::Load, pid)?;
        let has_companion = self.await_thread(file, layout)?;
        if companion.is_some() && !has_companion {
            tracing::warn!(pid = pid.0, "the process's dynamic linker refused the agent's copy of libcupti");
        }
        Ok(self.told)
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

    /// The libcupti that the shim is to have, where the process has none and the agent carries one. Refused is one that cannot
    /// be switched on where there are CUDA graphs already, whosever it is.
    fn companion(&self, files: &[Mapped]) -> Result<Option<Vec<u8>>, Error> {
        let cuda = Cuda::of(files);
        match (cuda.candidates(self.process.pid).into_iter().next(), &self.options.cupti_folder) {
            (Some(own), _) => self.is_safe(&own.path, own.is_before_12_6).map(|()| None),
            (None, Some(folder)) => self.carried(&cuda, folder),
            (None, None) => Ok(None),
        }
    }

    /// The agent's copy; without one the shim says that it found none, so that is no reason to stop here.
    fn carried(&self, cuda: &Cuda, folder: &Path) -> Result<Option<Vec<u8>>, Error> {
        let pid = self.process.pid.0;
        let carried = match cupti::carried(cuda, folder, native()) {
            Ok(carried) => carried,
            Err(reason) => {
                tracing::warn!(pid, %reason, "the process has no libcupti, and the agent none for it");
                return Ok(None);
            }
        };
        self.is_safe(&carried.path, Some(carried.release < GRAPHS_FROM))?;
        let path = carried.path.display();
        match std::fs::read(&carried.path) {
            Ok(bytes) => {
                tracing::info!(pid, %path, release = %carried.release, "the process has no libcupti, and gets this one");
                Ok(Some(bytes))
            }
            Err(error) => {
                tracing::warn!(pid, %path, %error, "the agent's copy of libcupti cannot be read");
                Ok(None)
            }
        }
    }

    fn is_safe(&self, cupti: &Path, is_before_12_6: Option<bool>) -> Result<(), Error> {
        if is_before_12_6 != Some(true) || self.options.force {
            return Ok(());
        }
        let refusal = Refusal::GraphsUnsafe { library: cupti.display().to_string() };
        Err(Error::Refused { pid: self.process.pid, refusal })
    }

    /// The same with files in the process's root, where it may not execute memory files.
    fn hand_over_on_disk(
        &mut self,
        runtime: &Runtime,
        layout: Layout,
        names: &[&'static str],
    ) -> Result<Vec<File>, Error> {
        let process = self.process;
        self.hand_over(runtime, layout, names.iter().map(|name| Way::on_disk(process, name)))
    }

    /// Has the process open the files and make the thread that does the rest: the only moment at which a thread is stopped.
    fn hand_over(
        &mut self,
        runtime: &Runtime,
        layout: Layout,
        ways: impl Iterator<Item = Result<Way, Error>>,
    ) -> Result<Vec<File>, Error> {
        let pid = self.process.pid;
        let force = self.options.force;
        let ways: Vec<Way> = ways.collect::<Result<_, _>>()?;
        let by = if matches!(ways.first(), Some(Way::Disk(_))) { By::File } else { By::MemoryFile };
        self.with_thread(runtime, |held| {
            if held.is_filtered() {
                seccomp_is_no_obstacle(held, pid, by, force)?;
            }
            let mut loan = Loan::new(held, pid);
            let outcome = loan.hand_over(runtime, layout, ways);
            if outcome.is_err() {
                loan.undo();
            }
            outcome
        })
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
            let memory = memory(pid, runtime)?;
            for candidate in threads::candidates::<D, Native>(self.door, pid, &memory)? {
                match self.stop(&candidate, runtime) {
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

    fn stop(&self, candidate: &Candidate, runtime: &Runtime) -> Result<Option<Borrowed<'a, D>>, Error> {
        let pid = self.process.pid;
        if !candidate.is_still_there(pid) {
            return Ok(None);
        }
        match Held::stop(self.door, pid, candidate, runtime) {
            // Who came first is told from what else forbids it.
            Err(error @ Error::Trace { .. }) => match checks::Status::read(Pid(candidate.tid.0))?.refusal() {
                Some(refusal) => Err(Error::Refused { pid, refusal }),
                None => Err(error),
            },
            outcome => outcome,
        }
    }

    /// Waits until the new thread has done its work; says whether the companion is loaded.
    fn await_thread(&self, file: &File, layout: Layout) -> Result<bool, Error> {
        let pid = self.process.pid;
        let started = Instant::now();
        loop {
            let mut mailbox = Mailbox::new_zeroed();
            file.read_exact_at(mailbox.as_mut_bytes(), layout.mailbox).map_err(|source| Error::Memory {
                pid,
                what: "read the mailbox",
                source,
            })?;
            match mailbox.progress() {
                Some(Progress::Done) => return Ok(mailbox.has_companion != 0),
                Some(Progress::Refused) => return Err(Error::Linker { pid, message: mailbox.message() }),
                Some(Progress::Left) => return Err(Error::Late { pid }),
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
    /// Behind a library of this length.
    fn after(library_bytes: u64) -> Self {
        let code = library_bytes.next_multiple_of(PAGE_BYTES);
        Self { code, mailbox: code + PAGE_BYTES }
    }

    /// Length of the whole file.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.mailbox + SHARED_BYTES
    }

    /// Tells the new thread what to do, now that the borrowed one is where it was.
    fn order(&self, file: &File, order: Order, pid: Pid) -> Result<(), Error> {
        let at = self.mailbox + offset_of!(Mailbox, order) as u64;
        file.write_all_at(&(order as u32).to_ne_bytes(), at).map_err(|source| Error::Memory {
            pid,
            what: "write into the mailbox",
            source,
        })
    }
}

/// Whether the filters of the process let pass what is about to be done in it.
fn seccomp_is_no_obstacle<D: Door>(
    held: &Borrowed<'_, D>,
    pid: Pid,
    by: By,
    force: bool,
) -> Result<(), Error> {
    let refusal = match held.seccomp_filters()? {
        Some(filters) => seccomp::first_denied(&filters, by, force).map(Refusal::from),
        None if force => None,
        None => Some(Refusal::SeccompUnknown),
    };
    refusal.map_or(Ok(()), |refusal| Err(Error::Refused { pid, refusal }))
}

/// What of the process's memory matters to the choice of a thread.
fn memory(pid: Pid, runtime: &Runtime) -> Result<Memory, Error> {
    let path = format!("/proc/{pid}/maps");
    let (mut anonymous, mut vdso) = (Vec::new(), 0..0);
    let read = File::open(&path).and_then(|file| {
        maps::for_each(io::BufReader::new(file), |mapping| {
            let range = mapping.start..mapping.end;
            match mapping.path {
                b"[vdso]" => vdso = range,
                b"[heap]" => {}
                _ if mapping.inode == 0 => anonymous.push(range),
                _ => {}
            }
        })
    });
    match read {
        Ok(()) => {
            Ok(Memory { anonymous, forbidden: runtime.forbidden.clone(), gadgets: runtime.gadgets, vdso })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::Gone { pid }),
        Err(source) => Err(Error::Proc { path, source }),
    }
}
