//! Frames that are left without a return.
//!
//! Enters: C++ exceptions, longjmp. Leaves: nothing. Refuses: a duration of what did not return, and a target that ends.

use gpu_agent_tests::probed::prober::{Probe, Way};

use super::rig::{self, Correlation, Program};

/// Of each round of throwing.cpp and jumping.c.
const TRIES: u64 = 16;
const ENTRIES: u64 = 144;
const RETURNS: u64 = 72;

const ROUNDS: u64 = 3;

fn frames_are_counted(source: &str) {
    let Some(mut prober) = rig::prober() else { return };
    let program = Program::of(source);
    let mut target = program.start();
    let bare = target.round();
    let (entry, exit) = (rig::arguments(), rig::result(Way::Instructions));
    let probe = Probe { function: "climb", entry: &entry, exit: Some((Way::Instructions, &exit)) };
    let mut correlation = Correlation::of(&prober.attach(&target, &[probe]));
    for _ in 0..ROUNDS {
        let watched = prober.watch(&mut target);
        assert_eq!(watched.checksum, bare);
        correlation.observe(&watched);
    }
    // Nothing was seen of the thread since the last frames were left, so that they may still be there.
    let open = ENTRIES / TRIES;
    let counts = correlation.settled();
    assert_eq!((counts.entries, counts.returned), (ROUNDS * ENTRIES, ROUNDS * RETURNS));
    assert_eq!(counts.unwound, ROUNDS * (ENTRIES - RETURNS) - open);
    let pid = target.pid();
    target.end();
    let counts = correlation.ended(pid);
    assert_eq!(counts.unwound, ROUNDS * (ENTRIES - RETURNS));
    assert_eq!((counts.orphans, counts.doubtful, counts.entry_only), (0, 0, 0));
}

#[test]
fn exceptions_out_of_probed_functions_are_caught_as_ever_and_their_frames_counted_as_unwound() {
    frames_are_counted("throwing.cpp");
}

#[test]
fn longjmp_out_of_probed_functions_lands_as_ever_and_its_frames_are_counted_as_unwound() {
    frames_are_counted("jumping.c");
}

/// Why returns are seen at return instructions: ADR 007.
#[test]
fn a_uretprobe_would_end_a_program_that_throws() {
    let Some(mut prober) = rig::prober() else { return };
    let program = Program::of("throwing.cpp");
    let mut target = program.start();
    let (entry, exit) = (rig::arguments(), rig::result(Way::Trampoline));
    prober
        .attach(&target, &[Probe { function: "climb", entry: &entry, exit: Some((Way::Trampoline, &exit)) }]);
    target.begin();
    let finished = target.finish();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&finished.status),
        Some(6),
        "{}",
        finished.stderr
    );
    assert!(finished.stderr.contains("terminate called"), "{}", finished.stderr);
}
