//! Processes that get signals between any two requests about the borrowed thread.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use gpu_agent::event::Pid;
use gpu_agent::identity::Process;
use gpu_agent::inject::door::{Door, Linux, RegisterSet, Stop, Tid, Until};
use gpu_agent::inject::seccomp::Instruction;
use gpu_agent::inject::steps::Steps;
use gpu_agent::inject::{Error, Injected, Options};
use rustix::process::{Signal, kill_process};

use super::rig::Busy;

/// A request before which something may happen to the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// The thread is about to be stopped.
    Interrupt,
    /// The thread is about to be let run, for the so-manieth time.
    Resume(u32),
}

/// The real door, and who is told before it is gone through.
struct Watched<F> {
    before: F,
    resumed: Cell<u32>,
}

impl<F: Fn(Moment)> Door for Watched<F> {
    fn seize(&self, tid: Tid) -> io::Result<()> {
        Linux.seize(tid)
    }
    fn interrupt(&self, tid: Tid) -> io::Result<()> {
        (self.before)(Moment::Interrupt);
        Linux.interrupt(tid)
    }
    fn resume(&self, tid: Tid, until: Until, signal: i32) -> io::Result<()> {
        let resumed = self.resumed.replace(self.resumed.get() + 1);
        (self.before)(Moment::Resume(resumed));
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

/// Loads the library with `before` called at each moment; says whether it is loaded, and how often the thread was let run.
fn load(busy: &Busy, before: impl Fn(Moment)) -> (bool, u32) {
    let (outcome, resumed) = try_to_load(busy, before);
    if let Err(error) = &outcome {
        assert!(error.may_pass(), "{error}");
    }
    (outcome.is_ok(), resumed)
}

fn try_to_load(busy: &Busy, before: impl Fn(Moment)) -> (Result<Injected, Error>, u32) {
    let process = Process::look_up(busy.pid()).unwrap();
    let door = Watched { before, resumed: Cell::new(0) };
    let options = Options { timeout: Duration::from_millis(100), ..Options::default() };
    let library = std::fs::read(super::rig::library()).unwrap();
    (Steps::new(&door, &process, &options).run(&library), door.resumed.get())
}

fn send(busy: &Busy, signal: Signal) {
    kill_process(rustix::process::Pid::from_raw(busy.pid().0.cast_signed()).unwrap(), signal).unwrap();
}

/// Loads the library while the process is stopped and continued so, and checks that it is stopped afterwards, in all its
/// threads, unless it was continued in time; then lets it go on to its end.
fn check(stop_at: u32, continue_at: Option<u32>) {
    let busy = Busy::start(&["read", "nanosleep", "condition"]);
    let (_, resumed) = load(&busy, |moment| {
        if moment == Moment::Resume(stop_at) {
            send(&busy, Signal::STOP);
        }
        if continue_at.is_some_and(|continue_at| moment == Moment::Resume(continue_at)) {
            send(&busy, Signal::CONT);
        }
    });
    assert!(resumed > stop_at, "{stop_at} is no time that it ran");
    let was_continued = continue_at.is_some_and(|continue_at| resumed > continue_at);
    let started = Instant::now();
    // On a busy host it takes its time until each thread has stopped.
    while !are_all(&busy, !was_continued) {
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "stopped at {stop_at}, continued at {continue_at:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    send(&busy, Signal::CONT);
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

#[test]
fn a_fault_that_somebody_sends_reaches_the_handler_once_the_thread_is_itself_again() {
    for moment in 0..7 {
        let busy = Busy::start(&["faults"]);
        let (loaded, _) = load(&busy, |now| {
            if now == Moment::Resume(moment) {
                send(&busy, Signal::SEGV);
            }
        });
        assert!(loaded, "sent at {moment}");
        let noticed = busy.end();
        assert_eq!((noticed.injections, noticed.signals), (1, 1), "sent at {moment}: {noticed:?}");
    }
}

#[test]
fn a_call_that_a_handler_is_to_end_ends_although_the_agent_would_start_it_again() {
    let busy = Busy::start(&["epoll-alone"]);
    let sent = Cell::new(false);
    let (loaded, _) = load(&busy, |now| {
        if now == Moment::Interrupt && !sent.replace(true) {
            send(&busy, Signal::USR1);
        }
    });
    assert!(loaded);
    let noticed = busy.end();
    assert_eq!((noticed.signals, noticed.interrupted), (1, 1), "{noticed:?}");
}

/// Loads the library with an agent that is held up when it is to fetch the thread.
fn load_late(busy: &Busy, late: Duration) -> Result<Injected, Error> {
    let interrupts = Cell::new(0);
    let (outcome, _) = try_to_load(busy, |now| {
        if now == Moment::Interrupt && interrupts.replace(interrupts.get() + 1) == 1 {
            std::thread::sleep(late);
        }
    });
    assert!(interrupts.get() >= 2);
    outcome
}

#[test]
fn a_thread_that_is_not_fetched_goes_on_by_itself_and_the_other_still_waits_for_its_order() {
    for work in [["read"], ["setuid"]] {
        let busy = Busy::start(&work);
        load_late(&busy, Duration::from_millis(400)).unwrap_or_else(|error| panic!("{work:?}: {error}"));
        assert_eq!(busy.end().injections, 1);
    }
}

#[test]
fn a_thread_that_gets_no_order_leaves_and_nothing_is_loaded() {
    let busy = Busy::start(&["read"]);
    let descriptors = busy.descriptors();
    let error = load_late(&busy, Duration::from_secs(6)).unwrap_err();
    assert!(matches!(error, Error::Late { .. }), "{error}");
    assert_eq!(busy.descriptors(), descriptors);
    busy.inject().unwrap();
    assert_eq!(busy.end().injections, 1);
}
