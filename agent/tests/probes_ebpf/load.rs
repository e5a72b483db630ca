//! Loading.

use gpu_agent::source::ebpf::{self, Config, Features, Unsupported};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::rig::{FORMS, load};

/// Linux verifies a million instructions at most, and older ones prune less: a quarter of that leaves room.
const MOST_VERIFIED: u64 = 250_000;

#[test]
fn what_is_forbidden_is_not_used_and_the_verifier_has_little_to_do() {
    for features in FORMS {
        let Some(probes) = load(Config { features, ..Config::default() }) else { return };
        assert_eq!(probes.attacher.features(), Features::of_this_linux().and(features));
        for verified in verified() {
            assert!(verified < MOST_VERIFIED, "{verified} instructions, with {features:?}");
        }
    }
}

#[test]
fn without_a_capability_the_refusal_names_it() {
    let Some(_probes) = load(Config::default()) else { return };
    let without = |dropped: CapabilitySet| {
        // Capabilities are a thread's own, and this one ends with what it gave away.
        let thread = std::thread::spawn(move || {
            let mut sets = capabilities(None).unwrap();
            sets.effective &= !dropped;
            set_capabilities(None, sets).unwrap();
            ebpf::load(Config::default()).err()
        });
        thread.join().unwrap()
    };
    let both = CapabilitySet::BPF | CapabilitySet::PERFMON;
    let cases = [
        (CapabilitySet::SYS_ADMIN | both, "CAP_BPF and CAP_PERFMON"),
        (CapabilitySet::SYS_ADMIN | CapabilitySet::PERFMON, "CAP_PERFMON"),
        (CapabilitySet::SYS_ADMIN | CapabilitySet::BPF, "CAP_BPF"),
    ];
    for (dropped, name) in cases {
        match without(dropped) {
            Some(Unsupported::Permission { missing, .. }) => assert_eq!(missing, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    assert!(without(CapabilitySet::SYS_ADMIN).is_none(), "the two are enough");
}

/// How many instructions the verifier went through for each program that this process holds (Linux 5.16).
fn verified() -> Vec<u64> {
    let descriptors = std::fs::read_dir("/proc/self/fdinfo").unwrap();
    let texts = descriptors.filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok());
    texts
        .filter_map(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("verified_insns:"))?;
            Some(line.trim().parse().unwrap())
        })
        .collect()
}
