//! Processes that end, start other programs, or are wanted by two agents, while they are entered.

use std::process::Command;
use std::time::Duration;

use gpu_agent::identity::Process;
use gpu_agent::inject::{self, Error, Options};
use rustix::process::{Pid, Signal, kill_process};

use super::rig::{Busy, QUIET, library, program};

/// Whether an error says that the process went away or did something else meanwhile, and nothing worse.
fn is_about_the_process(error: &Error) -> bool {
    error.may_pass()
        || matches!(
            error,
            Error::Gone { .. }
                | Error::Identity(_)
                | Error::Linker { .. }
                | Error::Memory { .. }
                | Error::Mappings { .. }
                | Error::Symbols { .. }
        )
}

#[test]
fn a_process_that_keeps_starting_other_programs_lives_on() {
    let mut busy = Busy::from(Command::new(program()).args(["exec", "200"]));
    let mut outcomes = Vec::new();
    for _ in 0..40 {
        match busy.inject_within(Duration::from_millis(200)) {
            Ok(_) => outcomes.push("loaded".to_owned()),
            Err(error) => {
                assert!(is_about_the_process(&error), "{error}");
                outcomes.push(error.to_string());
            }
        }
        assert!(busy.is_alive(), "{outcomes:#?}");
    }
    // It is another program by now, and has come to an end of that.
    std::thread::sleep(Duration::from_secs(2));
    busy.inject().unwrap();
    assert!(busy.end().injections >= 1);
}

#[test]
fn a_process_that_is_killed_meanwhile_is_an_error_by_name() {
    for delay_us in (0..8_000).step_by(400) {
        let busy = Busy::start(&QUIET);
        let pid = Pid::from_raw(busy.pid().0.cast_signed()).unwrap();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(delay_us));
            kill_process(pid, Signal::KILL).unwrap();
        });
        if let Err(error) = busy.inject() {
            assert!(is_about_the_process(&error), "after {delay_us} µs: {error}");
        }
        killer.join().unwrap();
    }
}

#[test]
fn of_two_agents_one_waits_or_is_told_of_the_other() {
    let busy = Busy::start(&QUIET);
    let process = Process::look_up(busy.pid()).unwrap();
    let library = library();
    let mut loaded = 0;
    for _ in 0..10 {
        let outcomes = std::thread::scope(|scope| {
            let agent = || scope.spawn(|| inject::inject(&process, &library, Options::default()));
            [agent(), agent()].map(|agent| agent.join().unwrap())
        });
        for outcome in outcomes {
            match outcome {
                Ok(_) => loaded += 1,
                Err(error) => assert!(matches!(error, Error::Contended { .. }), "{error}"),
            }
        }
    }
    assert!(loaded >= 10, "at least one of each two");
    assert_eq!(busy.end().injections, loaded);
}

#[test]
fn a_process_that_is_stopped_and_continued_meanwhile_is_neither_lost_nor_left_stopped() {
    let busy = Busy::start(&QUIET);
    let pid = Pid::from_raw(busy.pid().0.cast_signed()).unwrap();
    let mut loaded = 0;
    for round in 0..20 {
        let stopper = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(round * 300));
            kill_process(pid, Signal::STOP).unwrap();
            std::thread::sleep(Duration::from_millis(5));
            kill_process(pid, Signal::CONT).unwrap();
        });
        match busy.inject() {
            Ok(_) => loaded += 1,
            Err(error) => assert!(error.may_pass(), "{error}"),
        }
        stopper.join().unwrap();
    }
    let noticed = busy.end();
    assert_eq!(noticed.injections, loaded);
}
