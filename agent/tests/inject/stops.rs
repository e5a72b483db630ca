//! Processes that somebody stops, or stops and continues, between any two requests about the borrowed thread.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use gpu_agent::event::Pid;
use gpu_agent::identity::Process;
use gpu_agent::inject::Options;
use gpu_agent::inject::door::{Door, Linux, RegisterSet, Stop, Tid, Until};
use gpu_agent::inject::seccomp::Instruction;
use gpu_agent::inject::steps::Steps;
use rustix::process::{Signal, kill_process};

use super::rig::Busy;

/// Stops the borrowed thread's process before one time that the thread is let run, and perhaps continues it before a later one.
struct Stopper {
    pid: rustix::process::Pid,
    stop_at: u32,
    continue_at: Option<u32>,
    resumed: Cell<u32>,
}

impl Door for Stopper {
    fn seize(&self, tid: Tid) -> io::Result<()> {
        Linux.seize(tid)
    }
    fn interrupt(&self, tid: Tid) -> io::Result<()> {
        Linux.interrupt(tid)
    }
    fn resume(&self, tid: Tid, until: Until, signal: i32) -> io::Result<()> {
        let resumed = self.resumed.get();
        self.resumed.set(resumed + 1);
        if resumed == self.stop_at {
            kill_process(self.pid, Signal::STOP)?;
        }
        if Some(resumed) == self.continue_at {
            kill_process(self.pid, Signal::CONT)?;
        }
        Linux.resume(tid, until, signal)
    }
    fn detach(&self, tid: Tid) -> io::Result<()> {
        Linux.detach(tid)
    }
    fn stopped(&self, tid: Tid) -> io::Result<Option<Stop>> {
        Linux.stopped(tid)
    }
    fn registers(&self, tid: Tid, set: RegisterSet, into: &mut [u8]) -> io::Result<usize> {
        Linux.registers(tid, set, into)
    }
    fn set_registers(&self, tid: Tid, set: RegisterSet, from: &[u8]) -> io::Result<()> {
        Linux.set_registers(tid, set, from)
    }
    fn signal_mask(&self, tid: Tid) -> io::Result<u64> {
        Linux.signal_mask(tid)
    }
    fn set_signal_mask(&self, tid: Tid, mask: u64) -> io::Result<()> {
        Linux.set_signal_mask(tid, mask)
    }
    fn seccomp_filter(&self, tid: Tid, index: u32) -> io::Result<Option<Vec<Instruction>>> {
        Linux.seccomp_filter(tid, index)
    }
    fn read(&self, pid: Pid, address: u64, into: &mut [u8]) -> io::Result<usize> {
        Linux.read(pid, address, into)
    }
    fn write(&self, pid: Pid, address: u64, from: &[u8]) -> io::Result<()> {
        Linux.write(pid, address, from)
    }
    fn descriptor(&self, pid: Pid, number: u32) -> io::Result<File> {
        Linux.descriptor(pid, number)
    }
}

/// Whether each thread of it is stopped, or none.
fn are_all(busy: &Busy, stopped: bool) -> bool {
    let mut tasks = std::fs::read_dir(format!("/proc/{}/task", busy.pid())).unwrap();
    tasks.all(|task| {
        // A thread may end between two looks.
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default();
        status.is_empty() || status.contains("State:\tT") == stopped
    })
}

/// Loads the library while the process is stopped and continued so, and checks that it is stopped afterwards, in all its
/// threads, unless it was continued in time; then lets it go on to its end.
fn check(stop_at: u32, continue_at: Option<u32>) {
    let busy = Busy::start(&["read", "nanosleep", "condition"]);
    let process = Process::look_up(busy.pid()).unwrap();
    let pid = rustix::process::Pid::from_raw(busy.pid().0.cast_signed()).unwrap();
    let door = Stopper { pid, stop_at, continue_at, resumed: Cell::new(0) };
    let options = Options { timeout: Duration::from_millis(100), ..Options::default() };
    let library = std::fs::read(super::rig::library()).unwrap();
    if let Err(error) = Steps::new(&door, &process, &options).run(&library) {
        assert!(error.may_pass(), "stopped at {stop_at}, continued at {continue_at:?}: {error}");
    }
    assert!(door.resumed.get() > stop_at, "{stop_at} is no time that it ran");
    let was_continued = continue_at.is_some_and(|continue_at| door.resumed.get() > continue_at);
    let started = Instant::now();
    // On a busy host it takes its time until each thread has stopped.
    while !are_all(&busy, !was_continued) {
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "stopped at {stop_at}, continued at {continue_at:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    kill_process(pid, Signal::CONT).unwrap();
    busy.end();
}

#[test]
fn a_process_that_is_stopped_meanwhile_is_stopped_afterwards_and_goes_on_when_continued() {
    for stop_at in 0..7 {
        check(stop_at, None);
    }
}

#[test]
fn a_process_that_is_stopped_and_then_continued_meanwhile_runs_afterwards() {
    for stop_at in 0..7 {
        for later in 0..3 {
            check(stop_at, Some(stop_at + later));
        }
    }
}
