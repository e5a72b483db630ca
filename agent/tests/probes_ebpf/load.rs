//! Loading.

use gpu_agent::source::ebpf::{Config, Features};

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
