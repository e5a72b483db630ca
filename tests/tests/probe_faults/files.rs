//! What becomes of a program's file while the program runs.
//!
//! Enters: files that are deleted, replaced, stripped. Leaves: nothing. Refuses: a probe in a file that is not the process's.

use std::fs;

use gpu_agent_tests::probed::Target;
use gpu_agent_tests::probed::prober::{Probe, Prober, Way};

use super::rig::{self, Program};

/// Probes climb() of jumping.c.
fn attach(prober: &mut Prober, target: &Target) {
    let (entry, exit) = (rig::arguments(), rig::result(Way::Instructions));
    prober.attach(
        target,
        &[Probe { function: "climb", entry: &entry, exit: Some((Way::Instructions, &exit)) }],
    );
}

/// The calls of a round of jumping.c: entries and returns.
const RECORDS: usize = 144 + 72;

#[test]
fn a_file_that_is_deleted_while_probes_are_in_it_is_probed_on_and_left_clean() {
    let Some(mut prober) = rig::prober() else { return };
    let program = Program::of("jumping.c");
    let mut target = program.start();
    let (bare, text) = (target.round(), target.text("climb"));
    attach(&mut prober, &target);
    fs::remove_file(&program.path).unwrap();
    let watched = prober.watch(&mut target);
    assert_eq!((watched.checksum, watched.records.len()), (bare.clone(), RECORDS));
    drop(prober);
    assert_eq!(target.text("climb"), text);
    assert_eq!(target.round(), bare);
    target.end();
}

#[test]
fn a_process_whose_file_was_deleted_or_replaced_before_is_probed_through_the_very_file() {
    for replaced in [false, true] {
        let Some(mut prober) = rig::prober() else { return };
        let program = Program::of("jumping.c");
        let mut target = program.start();
        let bare = target.round();
        fs::remove_file(&program.path).unwrap();
        if replaced {
            // Another program, whose bytes at the same place are no instructions of climb().
            fs::copy("/bin/true", &program.path).unwrap();
        }
        attach(&mut prober, &target);
        let watched = prober.watch(&mut target);
        assert_eq!((watched.checksum, watched.records.len()), (bare, RECORDS));
        target.end();
    }
}

#[test]
fn a_file_that_is_replaced_while_probes_are_in_it_goes_on_for_those_who_have_it_and_not_for_others() {
    let Some(mut prober) = rig::prober() else { return };
    let (program, next) = (Program::of("jumping.c"), Program::of("jumping.c"));
    let mut target = program.start();
    let bare = target.round();
    attach(&mut prober, &target);
    fs::rename(&next.path, &program.path).unwrap();
    let mut other = program.start();
    assert_eq!(other.round(), bare);
    let watched = prober.watch(&mut target);
    assert_eq!((watched.checksum, watched.records.len()), (bare, RECORDS));
    assert!(watched.records.iter().all(|record| record.header.process == target.pid()));
    target.end();
    other.end();
}
