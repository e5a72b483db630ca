//! A thread of the target that works for the agent, from the moment it stops until it goes on as before.
//!
//! Enters: a thread at rest in a system call. Leaves: results of system calls, made by it, and what a piece of code has done
//! in it; the thread, as it was. Refuses: a thread that has left its call meanwhile; to let a signal run a handler of the
//! program before the thread is itself again: all that can be are blocked, which Linux keeps for later. `SIGSTOP` cannot be
//! and has no handler: it is delivered at once, because only Linux knows whether a `SIGCONT` has come after it.
//!
//! Whatever fails, the thread is given back ([`Held::release`], or on drop), and whatever becomes of the agent, it comes back
//! by itself ([`super::arch`]).

use core::ops::Range;
use std::io;
use std::time::{Duration, Instant};

use zerocopy::IntoBytes;

use super::Error;
use super::arch::{Arch, Call, Frame, Gadgets, MAX_FRAME_BYTES};
use super::checks::Status;
use super::door::{Door, FAULTS, RegisterSet, Stop, Tid, Until};
use super::mailbox::{SIGCANCEL, SIGSETXID};
use super::runtime::Runtime;
use super::seccomp::Instruction;
use super::threads::Candidate;
use crate::event::Pid;

/// Longest wait for a thread to stop, or for the code that it runs.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two looks, at first and at most. The agent sleeps meanwhile, for a quarter of what it has waited: the thread
/// may want the same processor, and the agent has the higher priority.
const NAP: Duration = Duration::from_micros(5);
const LONGEST_NAP: Duration = Duration::from_micros(500);
/// Most bytes that can be put below the frame: a handler's own frame leaves them alone, as it does every red zone.
const PUT_BYTES: usize = 112;

/// All signals whose handlers must wait.
const ALL_BUT_FAULTS: u64 = {
    let [segv, bus, ill, fpe, trap, sys] = FAULTS;
    !(bit(segv) | bit(bus) | bit(ill) | bit(fpe) | bit(trap) | bit(sys))
};
/// Those of them that a borrowed thread always blocks: two cannot be, and the first thread of a process unblocks the C
/// library's own two when it makes the second one.
const OURS: u64 = ALL_BUT_FAULTS & !(bit(libc::SIGKILL) | bit(libc::SIGSTOP) | SIGCANCEL | SIGSETXID);

/// See the module.
#[derive(Debug)]
pub struct Held<'a, D: Door, A: Arch> {
    door: &'a D,
    pid: Pid,
    tid: Tid,
    since: Instant,
    gadgets: Gadgets,
    /// The call that it was stopped in, as long as that is the agent's to start again.
    call: Option<Interrupted<A>>,
    /// What else to restore; `None` as long as nothing was changed.
    saved: Option<Saved<A>>,
    /// It has a seccomp filter.
    is_filtered: bool,
    /// It runs: neither can its registers be set nor can it be let go.
    runs: bool,
    /// It has stopped where signals are delivered, and whence Linux restarts a call.
    restarts: bool,
    /// It runs code that must come to its end: it may hold a lock.
    inside: bool,
    released: bool,
}

/// A thread as it stopped, and as it is to go on.
#[derive(Debug)]
struct Interrupted<A: Arch> {
    stopped: A::Registers,
    registers: A::Registers,
}

#[derive(Debug)]
struct Saved<A: Arch> {
    registers: A::Registers,
    vector: Vec<u8>,
    /// Its own, and the present one.
    signal_mask: u64,
    blocked: u64,
    /// The way back, below the thread's own stack.
    frame: Frame,
}

impl<'a, D: Door, A: Arch> Held<'a, D, A> {
    /// Stops the thread. `None` if it is no longer where it was seen at rest, or its process now runs another program; it
    /// then runs on.
    pub fn stop(
        door: &'a D,
        pid: Pid,
        candidate: &Candidate,
        runtime: &Runtime,
    ) -> Result<Option<Self>, Error> {
        let (tid, position) = (candidate.tid, candidate.position);
        let gadgets = runtime.gadgets;
        door.seize(tid).map_err(failed(pid, tid, "trace"))?;
        let since = Instant::now();
        let mut held = Self {
            door,
            pid,
            tid,
            since,
            gadgets,
            call: None,
            saved: None,
            is_filtered: false,
            runs: true,
            restarts: false,
            inside: false,
            released: false,
        };
        door.interrupt(tid).map_err(failed(pid, tid, "stop"))?;
        loop {
            match held.next()? {
                Stop::Interrupted => break,
                // Nothing was changed: the signal is the program's.
                Stop::Signal(signal) | Stop::Fault(signal) => held.resume(Until::Stopped, signal)?,
                Stop::Group(_) => {
                    held.release()?;
                    return Err(Error::Refused { pid, refusal: super::Refusal::Stopped });
                }
                Stop::Syscall => held.resume(Until::Stopped, 0)?,
                Stop::Gone => return Err(held.gone()),
            }
        }
        let mut stopped = A::zeroed();
        let length = door.registers(tid, RegisterSet::General, stopped.as_mut_bytes()).map_err(failed(
            pid,
            tid,
            "read the registers of",
        ))?;
        // Where it is not borrowed after all, the call is started again all the same: nothing but the agent has ended it.
        let own =
            (length == size_of::<A::Registers>()).then(|| A::resumable(&stopped, A::position(&stopped)));
        held.call = own.flatten().map(|registers| Interrupted { stopped, registers });
        // Filters and their like are a thread's own.
        let status = Status::read(Pid(tid.0))?;
        held.is_filtered = status.seccomp == 2;
        let is_where_it_was = A::resumable(&stopped, position).is_some();
        let may_call = status.seccomp != 1 && !status.shadow_stack;
        let state = held.call.as_ref().map(|call| call.registers);
        match state {
            Some(state) if is_where_it_was && may_call && runtime.is_of(door, pid) => held.borrow(state)?,
            _ => {
                held.release()?;
                return Ok(None);
            }
        }
        Ok(Some(held))
    }

    /// Saves the thread's state, prepares its way back, and blocks its signals.
    fn borrow(&mut self, registers: A::Registers) -> Result<(), Error> {
        let (door, pid, tid) = (self.door, self.pid, self.tid);
        let mut vector = vec![0; MAX_FRAME_BYTES];
        let length = door.registers(tid, RegisterSet::Other(A::VECTOR_SET), &mut vector).map_err(failed(
            pid,
            tid,
            "read the vector registers of",
        ))?;
        vector.truncate(length);
        let signal_mask = self.mask()?;
        let (stack, _) = A::position(&registers);
        let top = stack.wrapping_sub(A::RED_ZONE_BYTES);
        let frame = A::frame(&registers, &vector, signal_mask, &self.gadgets, top);
        door.write(pid, frame.address, &frame.bytes).map_err(|source| Error::Memory {
            pid,
            what: "write below the stack",
            source,
        })?;
        // From here on the registers lead back by themselves; the mask is in the frame.
        let idle = A::idle(&registers, &self.gadgets, &frame);
        self.set(RegisterSet::General, idle.as_bytes())?;
        self.saved = Some(Saved { registers, vector, signal_mask, blocked: signal_mask, frame });
        self.block(ALL_BUT_FAULTS, "block the signals of")
    }

    /// Blocks these signals, and those that the thread blocks itself.
    fn block(&mut self, signals: u64, what: &'static str) -> Result<(), Error> {
        let Some(saved) = &mut self.saved else { return Ok(()) };
        saved.blocked = signals | saved.signal_mask;
        self.door.set_signal_mask(self.tid, saved.blocked).map_err(failed(self.pid, self.tid, what))
    }

    /// Whether the thread has a seccomp filter.
    pub fn is_filtered(&self) -> bool {
        self.is_filtered
    }

    /// The thread's seccomp filters; `None` where this agent may not read them.
    pub fn seccomp_filters(&self) -> Result<Option<Vec<Vec<Instruction>>>, Error> {
        let mut filters = Vec::new();
        loop {
            match self.door.seccomp_filter(self.tid, filters.len() as u32) {
                Ok(Some(filter)) => filters.push(filter),
                Ok(None) => return Ok(Some(filters)),
                // Not without CAP_SYS_ADMIN, nor from inside a filter, nor where Linux was built without checkpoints.
                Err(error)
                    if matches!(
                        error.raw_os_error(),
                        Some(libc::EACCES | libc::EPERM | libc::EIO | libc::EINVAL)
                    ) =>
                {
                    return Ok(None);
                }
                Err(source) => return Err(failed(self.pid, self.tid, "read the seccomp filter of")(source)),
            }
        }
    }

    /// Puts a few bytes below the way back, where system calls of the thread find them; returns where.
    pub fn put(&self, bytes: &[u8]) -> Result<u64, Error> {
        let Some(saved) = self.saved.as_ref().filter(|_| bytes.len() <= PUT_BYTES) else {
            return Err(self.unresponsive());
        };
        let address = saved.frame.address.wrapping_sub(bytes.len() as u64) & !15;
        self.door.write(self.pid, address, bytes).map_err(|source| Error::Memory {
            pid: self.pid,
            what: "write below the stack",
            source,
        })?;
        Ok(address)
    }

    /// A copy of a descriptor of the thread's process.
    pub fn descriptor(&self, number: u32) -> io::Result<std::fs::File> {
        self.door.descriptor(self.pid, number)
    }

    /// Has the thread make a system call; `what` is its name in an error.
    pub fn syscall(&mut self, what: &'static str, number: u64, arguments: [u64; 6]) -> Result<u64, Error> {
        if self.inside || self.saved.is_none() {
            return Err(self.unresponsive());
        }
        self.set_call(&Call { address: self.gadgets.syscall, number, arguments })?;
        // In, and out.
        for _ in 0..2 {
            self.resume(Until::Syscall, 0)?;
            self.until(Until::Syscall, |stop| stop == Stop::Syscall)?;
        }
        let outcome = A::syscall_outcome(&self.registers()?);
        match i32::try_from(outcome) {
            Ok(error @ -4095..0) => {
                let source = io::Error::from_raw_os_error(-error);
                Err(Error::Call { pid: self.pid, call: what, source })
            }
            _ => Ok(outcome.cast_unsigned()),
        }
    }

    /// Has the thread run `code`, a function of `argument` that waits at its end for the agent to fetch the thread, until
    /// `is_done` says that it waits there. The thread answers `setuid` meanwhile: who calls that may hold the lock that
    /// `pthread_create` wants, until all threads have answered.
    pub fn run(
        &mut self,
        code: Range<u64>,
        argument: u64,
        mut is_done: impl FnMut() -> Result<bool, Error>,
    ) -> Result<(), Error> {
        self.block(ALL_BUT_FAULTS & !SIGSETXID, "unblock a signal of")?;
        self.set_call(&Call { address: code.start, number: 0, arguments: [argument, 0, 0, 0, 0, 0] })?;
        self.inside = true;
        self.resume(Until::Stopped, 0)?;
        let started = Instant::now();
        while !is_done()? {
            match self.look()? {
                Some(stop) => self.pass(stop, Until::Stopped)?,
                None if started.elapsed() > PATIENCE => return Err(self.unresponsive()),
                None => nap(started),
            }
        }
        loop {
            self.fetch()?;
            if code.contains(&A::position(&self.registers()?).1) {
                self.inside = false;
                return self.block(ALL_BUT_FAULTS, "block the signals of");
            }
            // With its registers its mask came back. Where that is the same, it cannot be told, and is taken for none of ours
            // only when time is up.
            if self.mask()? & OURS != OURS {
                self.inside = false;
                (self.call, self.saved) = (None, None);
                return Ok(());
            }
            // It answers a `setuid`, or is about to be itself again.
            self.resume(Until::Stopped, 0)?;
            if started.elapsed() > PATIENCE {
                return Err(self.unresponsive());
            }
            nap(started);
        }
    }

    /// Stops the thread where signals are delivered; with its process stopped, it says so instead, and is not to run before its
    /// process does.
    fn fetch(&mut self) -> Result<(), Error> {
        self.door.interrupt(self.tid).map_err(failed(self.pid, self.tid, "stop"))?;
        if !self.runs {
            self.resume(Until::Stopped, 0)?;
        }
        self.until(Until::Stopped, |stop| matches!(stop, Stop::Interrupted | Stop::Group(_)))
    }

    /// Lets the thread go on with what it did; says how long it was kept.
    pub fn release(&mut self) -> Result<Duration, Error> {
        if self.released {
            return Ok(Duration::ZERO);
        }
        // Linux restarts a call only from a stop in which signals are delivered.
        if self.runs || (self.saved.is_some() && !self.restarts) {
            self.fetch()?;
        }
        // A thread inside of the code comes back by itself once that has ended.
        let (call, saved) = (self.call.take(), self.saved.take());
        if let Some(call) = call.filter(|_| !self.inside) {
            let mask = saved.as_ref().map_or(self.mask()?, |saved| saved.signal_mask);
            let registers = if self.must_not_restart(&call, mask) { &call.stopped } else { &call.registers };
            if let Some(saved) = saved {
                self.set(RegisterSet::Other(A::VECTOR_SET), &saved.vector)?;
                self.door.set_signal_mask(self.tid, mask).map_err(failed(
                    self.pid,
                    self.tid,
                    "restore the signal mask of",
                ))?;
            }
            self.set(RegisterSet::General, registers.as_bytes())?;
        }
        self.door.detach(self.tid).map_err(failed(self.pid, self.tid, "let go of"))?;
        self.released = true;
        Ok(self.since.elapsed())
    }

    /// Whether a call that the agent would start again is to end with `EINTR` instead: a handler is about to run, for which the
    /// program may wait in just this call.
    fn must_not_restart(&self, call: &Interrupted<A>, signal_mask: u64) -> bool {
        call.stopped.as_bytes() != call.registers.as_bytes()
            && Status::read(Pid(self.tid.0)).is_ok_and(|status| status.handled & !signal_mask != 0)
    }

    /// Registers for a call whose return leads into the frame below the thread's own stack.
    fn set_call(&self, call: &Call) -> Result<(), Error> {
        let Some(saved) = &self.saved else { return Err(self.unresponsive()) };
        let registers = A::call(&saved.registers, call, &self.gadgets, &saved.frame);
        self.set(RegisterSet::General, registers.as_bytes())
    }

    fn registers(&self) -> Result<A::Registers, Error> {
        let mut registers = A::zeroed();
        self.door.registers(self.tid, RegisterSet::General, registers.as_mut_bytes()).map_err(failed(
            self.pid,
            self.tid,
            "read the registers of",
        ))?;
        Ok(registers)
    }

    fn mask(&self) -> Result<u64, Error> {
        self.door.signal_mask(self.tid).map_err(failed(self.pid, self.tid, "read the signal mask of"))
    }

    fn set(&self, set: RegisterSet, bytes: &[u8]) -> Result<(), Error> {
        self.door.set_registers(self.tid, set, bytes).map_err(failed(
            self.pid,
            self.tid,
            "set the registers of",
        ))
    }

    fn resume(&mut self, until: Until, signal: i32) -> Result<(), Error> {
        self.door.resume(self.tid, until, signal).map_err(failed(self.pid, self.tid, "continue"))?;
        (self.runs, self.restarts) = (true, false);
        Ok(())
    }

    /// Waits for a stop of one sort; after others the thread goes on to `again`.
    fn until(&mut self, again: Until, wanted: impl Fn(Stop) -> bool) -> Result<(), Error> {
        loop {
            match self.next()? {
                stop if wanted(stop) => return Ok(()),
                stop => self.pass(stop, again)?,
            }
        }
    }

    /// Lets the thread go on after a stop that nobody waited for.
    fn pass(&mut self, stop: Stop, again: Until) -> Result<(), Error> {
        match stop {
            Stop::Gone => Err(self.gone()),
            Stop::Fault(signal) => {
                self.inside = false;
                Err(Error::Fault { pid: self.pid, tid: self.tid.0, signal })
            }
            Stop::Signal(signal) => {
                // Sent by somebody, although it looks like a fault: blocked from now on, it is kept for later by Linux.
                if FAULTS.contains(&signal) {
                    let blocked = self.saved.as_ref().map_or(0, |saved| saved.blocked);
                    self.block(blocked | bit(signal), "block a signal of")?;
                }
                self.resume(again, signal)
            }
            // A call of ours goes on in a stopped process as well; the thread stops once it is let go.
            Stop::Group(_) | Stop::Interrupted | Stop::Syscall => self.resume(again, 0),
        }
    }

    fn next(&mut self) -> Result<Stop, Error> {
        let start = Instant::now();
        loop {
            if let Some(stop) = self.look()? {
                return Ok(stop);
            }
            if start.elapsed() > PATIENCE {
                return Err(self.unresponsive());
            }
            nap(start);
        }
    }

    /// What the thread has done since the last look, if it has stopped.
    fn look(&mut self) -> Result<Option<Stop>, Error> {
        let stopped = self.door.stopped(self.tid).map_err(failed(self.pid, self.tid, "wait for"))?;
        if let Some(stop) = stopped {
            self.runs = false;
            self.restarts = matches!(stop, Stop::Interrupted | Stop::Group(_));
        }
        Ok(stopped)
    }

    fn unresponsive(&self) -> Error {
        Error::Unresponsive { pid: self.pid, tid: self.tid.0, waited: PATIENCE }
    }

    fn gone(&mut self) -> Error {
        self.released = true;
        Error::Gone { pid: self.pid }
    }
}

impl<D: Door, A: Arch> Drop for Held<'_, D, A> {
    /// After an error that has been told already; what cannot be restored now comes back by itself.
    fn drop(&mut self) {
        if self.release().is_err() && !self.released {
            let _ = self.door.detach(self.tid);
        }
    }
}

/// For `map_err` on requests about a thread; one that has ended is no failure of the request.
fn failed(pid: Pid, tid: Tid, what: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| match source.raw_os_error() {
        Some(libc::ESRCH) => Error::Gone { pid },
        _ => Error::Trace { pid, tid: tid.0, what, source },
    }
}

fn nap(since: Instant) {
    std::thread::sleep((since.elapsed() / 4).clamp(NAP, LONGEST_NAP));
}

const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}
