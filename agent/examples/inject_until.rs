//! Loads a library into a process, and at a chosen request dies by SIGKILL or is refused, for tests of what the process makes
//! of that.
//!
//! Enters: a pid, the library, `kill` or `fail`, the number of the request (from 1 on; 0 for never). Leaves: exit status 0 and a
//! line of what it took if the library was loaded, 1 and an error if not. Refuses: nothing.

use std::fs::File;
use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use gpu_agent::event::Pid;
use gpu_agent::identity::Process;
use gpu_agent::inject::Options;
use gpu_agent::inject::door::{Door, Linux, RegisterSet, Stop, Tid, Until};
use gpu_agent::inject::seccomp::Instruction;
use gpu_agent::inject::steps::Steps;

/// The real door, up to one request.
struct Mortal {
    left: AtomicU64,
    dies: bool,
}

impl Mortal {
    fn tick(&self) -> io::Result<()> {
        if self.left.fetch_sub(1, Ordering::Relaxed) != 1 {
            return Ok(());
        }
        if self.dies {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
        }
        Err(io::Error::other("refused for a test"))
    }
}

impl Door for Mortal {
    fn seize(&self, tid: Tid) -> io::Result<()> {
        self.tick()?;
        Linux.seize(tid)
    }

    fn interrupt(&self, tid: Tid) -> io::Result<()> {
        self.tick()?;
        Linux.interrupt(tid)
    }

    fn resume(&self, tid: Tid, until: Until, signal: i32) -> io::Result<()> {
        self.tick()?;
        Linux.resume(tid, until, signal)
    }

    fn detach(&self, tid: Tid) -> io::Result<()> {
        self.tick()?;
        Linux.detach(tid)
    }

    fn stopped(&self, tid: Tid) -> io::Result<Option<Stop>> {
        // Only the answers count, for how often it is asked depends on chance; and none is lost by a failure, as none is by Linux.
        let stopped = Linux.stopped(tid)?;
        if stopped.is_some() && self.dies {
            self.tick()?;
        }
        Ok(stopped)
    }

    fn registers(&self, tid: Tid, set: RegisterSet, into: &mut [u8]) -> io::Result<usize> {
        self.tick()?;
        Linux.registers(tid, set, into)
    }

    fn set_registers(&self, tid: Tid, set: RegisterSet, from: &[u8]) -> io::Result<()> {
        self.tick()?;
        Linux.set_registers(tid, set, from)
    }

    fn signal_mask(&self, tid: Tid) -> io::Result<u64> {
        self.tick()?;
        Linux.signal_mask(tid)
    }

    fn set_signal_mask(&self, tid: Tid, mask: u64) -> io::Result<()> {
        self.tick()?;
        Linux.set_signal_mask(tid, mask)
    }

    fn seccomp_filter(&self, tid: Tid, index: u32) -> io::Result<Option<Vec<Instruction>>> {
        self.tick()?;
        Linux.seccomp_filter(tid, index)
    }

    fn read(&self, pid: Pid, address: u64, into: &mut [u8]) -> io::Result<usize> {
        // Looks change nothing.
        Linux.read(pid, address, into)
    }

    fn write(&self, pid: Pid, address: u64, from: &[u8]) -> io::Result<()> {
        self.tick()?;
        Linux.write(pid, address, from)
    }

    fn descriptor(&self, pid: Pid, number: u32) -> io::Result<File> {
        self.tick()?;
        Linux.descriptor(pid, number)
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [pid, library, end, request] = arguments.as_slice() else {
        return Err("arguments: PID LIBRARY kill|fail REQUEST".into());
    };
    let request: u64 = request.parse()?;
    let library = std::fs::read(library)?;
    let process = Process::look_up(Pid(pid.parse()?))?;
    let door = Mortal { left: AtomicU64::new(request), dies: end == "kill" };
    let options = Options::default();
    // What a thread traces is let go when it ends.
    let run = || Steps::new(&door, &process, &options).run(&library);
    let injected = std::thread::scope(|scope| scope.spawn(run).join()).map_err(|_panic| "a panic")??;
    println!("loaded: {injected:?}, {} requests", request.wrapping_sub(door.left.into_inner()));
    Ok(())
}
