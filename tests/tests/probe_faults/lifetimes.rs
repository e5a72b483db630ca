//! Processes and agents that end while probes are attached.
//!
//! Enters: processes that live for a moment. Leaves: nothing. Refuses: a panic, and anything that stays behind.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use gpu_agent_tests::probed::prober::{Probe, Way, plan};

use rustix::process::Signal;

use super::rig::{self, Agent, CLIMB, Program};

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn processes_that_end_while_probes_are_attached_leave_nothing_behind() {
    const PROCESSES: usize = 100;
    let Some(mut prober) = rig::prober() else { return };
    let (brief, steady) = (Program::of("brief.c"), Program::of("jumping.c"));
    let (entry, exit) = (rig::arguments(), rig::result(Way::Instructions));
    let probe = |function| Probe { function, entry: &entry, exit: Some((Way::Instructions, &exit)) };
    let plan = plan(&brief.path, 0, &[probe("brief")]);
    let before = open_files();
    let (mut whole, mut refused) = (0, 0);
    for number in 0..PROCESSES {
        let mut child = Command::new(&brief.path).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        // Later and later in its life, and every fourth time after its end.
        std::thread::sleep(Duration::from_micros(20 * number as u64));
        if number % 4 == 3 {
            child.wait().unwrap();
        }
        let attached = prober.try_attach(child.id(), &plan);
        if attached.refused.is_empty() {
            whole += 1
        } else {
            refused += 1
        }
        assert!(child.wait().unwrap().success(), "the probes ended it");
        prober.detach(attached.id);
        for record in prober.records() {
            assert_eq!(record.header.process, child.id());
        }
    }
    // Tests beside this one in the same process open some, too.
    assert!(open_files() < before + PROCESSES / 2, "descriptors of processes that are gone");
    assert!(whole > 0 && refused > 0, "{whole} attached, {refused} refused: no race was seen");

    let mut target = steady.start();
    let bare = target.round();
    prober.attach(&target, &[probe("climb")]);
    let watched = prober.watch(&mut target);
    assert_eq!((watched.checksum, watched.records.len()), (bare, 144 + 72));
    target.end();
}

#[test]
fn an_agent_that_is_killed_leaves_no_breakpoints_in_its_target_which_computes_on() {
    if rig::prober().is_none() {
        return;
    }
    let program = Program::of("throwing.cpp");
    let mut target = program.start();
    let (bare, text) = (target.round(), target.text("climb"));
    for _ in 0..5 {
        let mut agent = Agent::start(&target, CLIMB);
        agent.until_probed(&target, "climb", &text);
        // In the middle of a round.
        target.begin();
        agent.process.signal(Signal::KILL);
        drop(agent);
        assert_eq!(target.await_answer(), bare);
        rig::until_bare(&target, "climb", &text);
        assert_eq!(target.round(), bare);
    }
    target.end();
}

#[test]
fn an_agent_that_is_killed_at_any_time_while_it_attaches_leaves_its_target_as_it_was() {
    const TIMES: u32 = 20;
    if rig::prober().is_none() {
        return;
    }
    let program = Program::of("throwing.cpp");
    let mut target = program.start();
    let (bare, text) = (target.round(), target.text("climb"));
    // How long the whole takes here and now.
    let started = std::time::Instant::now();
    let mut agent = Agent::start(&target, CLIMB);
    agent.until_probed(&target, "climb", &text);
    let whole = started.elapsed();
    drop(agent.stop());

    let mut probed = 0;
    for time in 0..TIMES {
        let agent = Agent::start(&target, CLIMB);
        std::thread::sleep(whole * time / TIMES * 3 / 2);
        agent.process.signal(Signal::KILL);
        probed += u32::from(target.text("climb") != text);
        drop(agent);
        rig::until_bare(&target, "climb", &text);
        assert_eq!(target.round(), bare);
    }
    assert!(0 < probed && probed < TIMES, "no death was in the middle: {probed} of {TIMES} had probes");
    target.end();
}
