//! A thread of the target that works for the agent, from the moment it stops until it goes on as before.
//!
//! Enters: a thread at rest in a system call. Leaves: results of system calls and of one function, made by it; the thread,
//! as it was. Refuses: a thread that has left its call meanwhile; to let a signal run a handler before the thread is
//! itself again: all that can be are blocked, which Linux keeps for later. `SIGSTOP` cannot be and has no handler: it is
//! delivered at once, because only Linux knows whether a `SIGCONT` has come after it.
//!
//! Whatever fails, the thread is given back ([`Held::release`], or on drop), and whatever becomes of the agent, it comes back
//! by itself ([`super::arch`]).

use std::io;
use std::time::{Duration, Instant};

use zerocopy::IntoBytes;

use super::Error;
use super::arch::{Arch, Call, Frame, Gadgets, MAX_FRAME_BYTES};
use super::door::{Door, RegisterSet, Stop, Tid, Until};
use super::runtime::Runtime;
use super::seccomp::Instruction;
use super::threads::Candidate;
use crate::event::Pid;

/// Longest wait for a thread to stop.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two looks. The agent sleeps meanwhile: the thread may want the same processor.
const NAP: Duration = Duration::from_micros(5);

/// Signals that Linux sends for what an instruction does. Blocked, they would take the program's handler away with them
/// (`force_sig_info_to_task`), so they are not.
const FAULTS: [i32; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS];

/// See the module.
#[derive(Debug)]
pub struct Held<'a, D: Door, A: Arch> {
    door: &'a D,
    pid: Pid,
    tid: Tid,
    since: Instant,
    gadgets: Gadgets,
    /// What to restore; `None` as long as nothing was changed.
    saved: Option<Saved<A>>,
    /// It runs: neither can its registers be set nor can it be let go.
    runs: bool,
    /// It is inside of a function, which must end: it may hold a lock.
    inside: bool,
    released: bool,
}

#[derive(Debug)]
struct Saved<A: Arch> {
    registers: A::Registers,
    vector: Vec<u8>,
    signal_mask: u64,
    /// The way back, below the thread's own stack.
    frame: Frame,
}

impl<'a, D: Door, A: Arch> Held<'a, D, A> {
    /// Stops the thread. `None` if it is no longer where it was seen at rest, or its process now runs another program; it
    /// then runs on.
    pub fn stop(
        door: &'a D,
        pid: Pid,
        candidate: Candidate,
        runtime: &Runtime,
    ) -> Result<Option<Self>, Error> {
        let Candidate { tid, position, .. } = candidate;
        let gadgets = runtime.gadgets;
        door.seize(tid).map_err(failed(pid, tid, "trace"))?;
        let since = Instant::now();
        let mut held =
            Self { door, pid, tid, since, gadgets, saved: None, runs: true, inside: false, released: false };
        door.interrupt(tid).map_err(failed(pid, tid, "stop"))?;
        loop {
            match held.next()? {
                Stop::Interrupted => break,
                // Nothing was changed: the signal is the program's.
                Stop::Signal(signal) => held.resume(Until::Stopped, signal)?,
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
        let is_known = length == size_of::<A::Registers>() && runtime.is_of(door, pid);
        let resumable = is_known.then(|| A::resumable(&stopped, position)).flatten();
        let Some(registers) = resumable else {
            held.release()?;
            return Ok(None);
        };
        held.borrow(registers)?;
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
        let signal_mask = door.signal_mask(tid).map_err(failed(pid, tid, "read the signal mask of"))?;
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
        self.saved = Some(Saved { registers, vector, signal_mask, frame });
        let blocked = FAULTS.iter().fold(u64::MAX, |mask, signal| mask & !bit(*signal)) | signal_mask;
        door.set_signal_mask(tid, blocked).map_err(failed(pid, tid, "block the signals of"))
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

    /// Puts bytes below the way back, where system calls of the thread find them; returns where.
    pub fn put(&self, bytes: &[u8]) -> Result<u64, Error> {
        let Some(saved) = &self.saved else { return Ok(0) };
        let address = saved.frame.address.wrapping_sub(bytes.len() as u64) & !15;
        self.door.write(self.pid, address, bytes).map_err(|source| Error::Memory {
            pid: self.pid,
            what: "write below the stack",
            source,
        })?;
        Ok(address)
    }

    /// Has the thread make a system call; `what` is its name in an error.
    pub fn syscall(&mut self, what: &'static str, number: u64, arguments: [u64; 6]) -> Result<u64, Error> {
        if self.inside {
            return Err(Error::Unresponsive { pid: self.pid, tid: self.tid.0, waited: PATIENCE });
        }
        let call = Call { address: self.gadgets.syscall, number, arguments };
        self.set_call(&call, None)?;
        // In, and out.
        for _ in 0..2 {
            self.resume(Until::Syscall, 0)?;
            self.border()?;
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

    /// Has the thread call a function on a stack whose first byte above is at `top`, and hands every system call that it
    /// makes there to `look`, with its number and its outcome.
    pub fn function(
        &mut self,
        address: u64,
        arguments: [u64; 6],
        top: u64,
        mut look: impl FnMut(i64, i64),
    ) -> Result<(), Error> {
        let Some(saved) = &self.saved else { return Ok(()) };
        let frame = A::frame(&saved.registers, &saved.vector, saved.signal_mask, &self.gadgets, top);
        self.door.write(self.pid, frame.address, &frame.bytes).map_err(|source| Error::Memory {
            pid: self.pid,
            what: "write to the new stack",
            source,
        })?;
        self.set_call(&Call { address, number: 0, arguments }, Some(&frame))?;
        let started = Instant::now();
        self.inside = true;
        loop {
            self.resume(Until::Syscall, 0)?;
            self.border()?;
            let registers = self.registers()?;
            if A::syscall_number(&registers) == A::NUMBERS.rt_sigreturn.cast_signed() {
                self.inside = false;
                let back = A::before_sigreturn(&registers, &self.gadgets);
                self.set(RegisterSet::General, back.as_bytes())?;
                if let Some(set) = A::SYSCALL_SET {
                    self.set(RegisterSet::Other(set), &(-1_i32).to_ne_bytes())?;
                }
                // Out of the call that it was about to make.
                self.resume(Until::Syscall, 0)?;
                return self.border();
            }
            self.resume(Until::Syscall, 0)?;
            self.border()?;
            let registers = self.registers()?;
            look(A::syscall_number(&registers), A::syscall_outcome(&registers));
            if started.elapsed() > PATIENCE {
                return Err(Error::Unresponsive { pid: self.pid, tid: self.tid.0, waited: PATIENCE });
            }
        }
    }

    /// Lets the thread go on with what it did; says how long it was kept.
    pub fn release(&mut self) -> Result<Duration, Error> {
        if self.released {
            return Ok(Duration::ZERO);
        }
        let saved = self.saved.take();
        if saved.is_some() || self.runs {
            // Linux restarts a call only from a stop in which signals are delivered.
            self.door.interrupt(self.tid).map_err(failed(self.pid, self.tid, "stop"))?;
            if !self.runs {
                self.resume(Until::Stopped, 0)?;
            }
            // With its process stopped, it says so instead, and is not to run before its process does.
            self.until(|stop| matches!(stop, Stop::Interrupted | Stop::Group(_)))?;
        }
        // A thread inside of a function comes back by itself once that has ended.
        if let Some(saved) = saved.filter(|_| !self.inside) {
            self.set(RegisterSet::Other(A::VECTOR_SET), &saved.vector)?;
            self.door.set_signal_mask(self.tid, saved.signal_mask).map_err(failed(
                self.pid,
                self.tid,
                "restore the signal mask of",
            ))?;
            self.set(RegisterSet::General, saved.registers.as_bytes())?;
        }
        self.door.detach(self.tid).map_err(failed(self.pid, self.tid, "let go of"))?;
        self.released = true;
        Ok(self.since.elapsed())
    }

    /// Registers for a call whose return leads into `frame`, or into the frame below the thread's own stack.
    fn set_call(&self, call: &Call, frame: Option<&Frame>) -> Result<(), Error> {
        let Some(saved) = &self.saved else { return Ok(()) };
        let registers = A::call(&saved.registers, call, &self.gadgets, frame.unwrap_or(&saved.frame));
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

    fn set(&self, set: RegisterSet, bytes: &[u8]) -> Result<(), Error> {
        self.door.set_registers(self.tid, set, bytes).map_err(failed(
            self.pid,
            self.tid,
            "set the registers of",
        ))
    }

    fn resume(&mut self, until: Until, signal: i32) -> Result<(), Error> {
        self.door.resume(self.tid, until, signal).map_err(failed(self.pid, self.tid, "continue"))?;
        self.runs = true;
        Ok(())
    }

    /// Waits for the next border of a system call.
    fn border(&mut self) -> Result<(), Error> {
        self.until(|stop| stop == Stop::Syscall)
    }

    /// Waits for a stop of one sort. Signals that come meanwhile are delivered, but for the thread's own faults.
    fn until(&mut self, wanted: impl Fn(Stop) -> bool) -> Result<(), Error> {
        let again = if wanted(Stop::Syscall) { Until::Syscall } else { Until::Stopped };
        loop {
            match self.next()? {
                stop if wanted(stop) => return Ok(()),
                Stop::Gone => return Err(self.gone()),
                Stop::Signal(signal) if FAULTS.contains(&signal) => {
                    let (pid, tid) = (self.pid, self.tid.0);
                    self.inside = false;
                    return Err(Error::Fault { pid, tid, signal });
                }
                // None that has a handler, unless the thread was not changed yet.
                Stop::Signal(signal) => self.resume(again, signal)?,
                // A call of ours goes on in a stopped process as well; the thread stops once it is let go.
                Stop::Group(_) | Stop::Interrupted | Stop::Syscall => self.resume(again, 0)?,
            }
        }
    }

    fn next(&mut self) -> Result<Stop, Error> {
        let start = Instant::now();
        loop {
            let stopped = self.door.stopped(self.tid).map_err(failed(self.pid, self.tid, "wait for"))?;
            if let Some(stop) = stopped {
                self.runs = false;
                return Ok(stop);
            }
            let waited = start.elapsed();
            if waited > PATIENCE {
                return Err(Error::Unresponsive { pid: self.pid, tid: self.tid.0, waited });
            }
            std::thread::sleep(NAP);
        }
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

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}
