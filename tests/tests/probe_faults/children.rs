//! Children of a probed process.
//!
//! Enters: fork, and vfork with exec. Leaves: nothing. Refuses: a child's call among its parent's, and a child that fails.

use gpu_agent_tests::probed::prober::{Probe, Way};

use super::rig::{self, Correlation, Program};

#[test]
fn calls_of_children_are_not_their_parents_and_children_compute_as_ever() {
    let Some(mut prober) = rig::prober() else { return };
    let program = Program::of("forking.c");
    let mut target = program.start();
    let bare = target.round();
    let (entry, exit) = (rig::arguments(), rig::result(Way::Instructions));
    let probe = Probe { function: "mine", entry: &entry, exit: Some((Way::Instructions, &exit)) };
    let mut correlation = Correlation::of(&prober.attach(&target, &[probe]));
    for round in 1..=5 {
        let watched = prober.watch(&mut target);
        assert_eq!(watched.checksum, bare, "a child ended in another way");
        assert!(watched.records.iter().all(|record| record.header.process == target.pid()));
        correlation.observe(&watched);
        let counts = correlation.settled();
        assert_eq!((counts.entries, counts.returned, counts.orphans), (round * 10, round * 10, 0));
    }
    target.end();
}
