//! A process that is attached to and let go a thousand times, while its threads do everything at once.
//!
//! Enters: `tests/fixtures/bare/storm.c`, started bare. Leaves: nothing. Refuses: a launch that was not counted while the agent
//! was attached, or counted while it was not; a result of the program that came out wrong; anything that piles up in it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gpu_agent::classes::Classifier;
use gpu_agent::event::{Event, Pid};
use gpu_agent::identity::Process;
use gpu_agent::inject::{self, Options};
use gpu_agent::source::cupti::{self, Item, Lease, Mode, Target};
use gpu_agent_ring::control::ShimState;
use gpu_agent_tests::bare::{Bare, KERNEL, Program};
use gpu_agent_tests::{process, programs};
use serde_json::Value;

const SIMULATOR: &str = "compute=model,clock=virtual,kernel_us=2,quiet=on";
const CYCLES: usize = 1000;
const LAUNCHES: u64 = 40;

/// How much a process has of what an agent could leave behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Holdings {
    descriptors: usize,
    threads: usize,
    /// Mappings of files: those of memory come and go with what the program allocates.
    files: usize,
    memory_files: usize,
}

impl Holdings {
    fn of(pid: u32) -> Self {
        let entries = |folder: &str| std::fs::read_dir(format!("/proc/{pid}/{folder}")).unwrap().count();
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let count = |what: &str| maps.lines().filter(|line| line.contains(what)).count();
        Self {
            descriptors: entries("fd"),
            threads: entries("task"),
            files: count("/"),
            memory_files: count("/memfd:"),
        }
    }

    /// The same, once it does not change any more: a thread that was joined is seen for a moment longer.
    fn at_rest(pid: u32) -> Self {
        let mut last = Self::of(pid);
        loop {
            std::thread::sleep(Duration::from_millis(50));
            let now = Self::of(pid);
            if now == last {
                return now;
            }
            last = now;
        }
    }

    /// Whether that is all that `pid` has, now or after a moment.
    fn are_all_of(self, pid: u32) -> bool {
        Self::of(pid) == self || Self::at_rest(pid) == self
    }
}

/// Waits until the shim of `target` has done what it was last asked for, and is in `state`.
fn until(target: &Target, state: ShimState) {
    let started = Instant::now();
    while !(target.is_settled() && target.report().state == Some(state)) {
        let report = target.report();
        assert!(started.elapsed() < process::PATIENCE, "not {state:?}: {report:?}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Attaches, has the program launch, lets go; executions by kernel, and records that are counted as gone.
fn cycle(program: &mut Program, classifier: &Arc<Classifier>) -> (BTreeMap<String, u64>, u64) {
    let opened = cupti::find(Pid(program.pid())).unwrap();
    // Nobody renews it.
    let lease = Lease { mode: Mode::Kernels, duration: process::PATIENCE, ..Lease::default() };
    let mut target = Target::attach(opened, lease, Arc::clone(classifier), false).unwrap();
    until(&target, ShimState::Armed);
    program.launch(LAUNCHES);
    target.release();
    until(&target, ShimState::Dormant);
    let (mut names, mut executions) = (BTreeMap::new(), BTreeMap::new());
    target.drain(u64::MAX, |item| match item {
        Item::Name(new) => drop(names.insert(new.id, new.name.raw.to_string())),
        Item::Event(Event::Kernel(kernel)) => {
            *executions.entry(names[&kernel.name].clone()).or_default() += 1
        }
        Item::Event(_) => {}
    });
    let hops = target.hops();
    let gone = [hops.cupti_dropped, hops.shim_unknown, hops.shim_malformed, hops.over_budget, hops.lost];
    (executions, gone.iter().sum::<u64>() + hops.unknown + hops.malformed)
}

#[test]
fn a_busy_process_is_attached_to_and_let_go_a_thousand_times_and_notices_nothing() {
    let mut program = Program::start(&mut Bare::storm().command(SIMULATOR));
    let pid = program.pid();
    let process = Process::look_up(Pid(pid)).unwrap();
    let options = Options { timeout: process::PATIENCE, ..Options::default() };
    inject::inject(&process, &programs::program("libgpu_agent_cupti.so"), options).unwrap();
    let classifier = Arc::new(Classifier::bundled().unwrap());
    let (mut noise, mut held) = (0, None);
    for number in 0..CYCLES {
        let (executions, gone) = cycle(&mut program, &classifier);
        let ordered = executions.get(KERNEL).copied().unwrap_or(0);
        assert!(
            ordered <= LAUNCHES && LAUNCHES - ordered <= gone,
            "cycle {number}: {ordered} and {gone} gone"
        );
        noise += executions.get("noise").copied().unwrap_or(0);
        // What the first cycle leaves behind is what there may be.
        let held = *held.get_or_insert_with(|| Holdings::at_rest(pid));
        assert!(held.are_all_of(pid), "cycle {number}: {:?} after {held:?}", Holdings::of(pid));
    }
    let finished = program.end();
    let report: Value = serde_json::from_str(finished.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(report["wrong"], 0, "{report}\n{}", finished.stderr);
    assert!(report["done"].as_u64().unwrap() > 1000, "{report}");
    assert!((1..=report["noise"].as_u64().unwrap()).contains(&noise), "{noise} of {report}");
}
