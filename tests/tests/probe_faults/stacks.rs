//! Calls on many stacks.
//!
//! Enters: signal handlers on stacks of their own, 64 threads. Leaves: nothing. Refuses: a pair that is none.

use gpu_agent_tests::probed::Target;
use gpu_agent_tests::probed::prober::{Probe, Way};
use gpu_agent_tests::programs;

use super::rig::{self, Correlation, Program};

#[test]
fn calls_of_signal_handlers_on_stacks_of_their_own_are_paired_wherever_those_lie() {
    let Some(mut prober) = rig::prober() else { return };
    let program = Program::of("signals.c");
    let mut target = program.start();
    let bare = target.round();
    let (entry, exit) = (rig::arguments(), rig::result(Way::Instructions));
    let probe = |function| Probe { function, entry: &entry, exit: Some((Way::Instructions, &exit)) };
    let attached = prober.attach(&target, &[probe("interrupted"), probe("handled")]);
    let mut correlation = Correlation::of(&attached);
    for round in 1..=4 {
        let watched = prober.watch(&mut target);
        assert_eq!(watched.checksum, bare);
        correlation.observe(&watched);
        let counts = correlation.settled();
        let calls = round * 48;
        assert_eq!((counts.entries, counts.returned, counts.unwound, counts.orphans), (calls, calls, 0, 0));
    }
    target.end();
}

#[test]
fn nested_calls_of_64_threads_are_all_paired() {
    const THREADS: u64 = 64;
    const CALLS: u64 = 50;
    const DEPTH: u64 = 20;
    let Some(mut prober) = rig::prober() else { return };
    let program = Program::compiled(&programs::repository().join("tests/kernels/target.c"), &[]);
    let arguments = [THREADS, CALLS, DEPTH].map(|number| number.to_string());
    let mut target = Target::start(&program.path, &arguments.each_ref().map(String::as_str));
    let bare = target.round();
    let (entry, exit) = (rig::arguments(), rig::result(Way::Instructions));
    let probe = |function| Probe { function, entry: &entry, exit: Some((Way::Instructions, &exit)) };
    let mut correlation = Correlation::of(&prober.attach(&target, &[probe("leaf"), probe("nested")]));
    let watched = prober.watch(&mut target);
    assert_eq!(watched.checksum, bare);
    correlation.observe(&watched);
    let counts = correlation.settled();
    let calls = THREADS * (CALLS + (DEPTH + 1) * (DEPTH + 2) / 2);
    assert_eq!((counts.entries, counts.returned, counts.unwound, counts.orphans), (calls, calls, 0, 0));
    target.end();
}
