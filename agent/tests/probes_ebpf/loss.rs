//! What does not fit into the ring buffer is counted.

use gpu_agent::probes::plan::Exit;
use gpu_agent::source::ebpf::Config;
use gpu_agent_ebpf_abi::{FIXED, Header, Read, phase::ENTRY};

use super::rig::{Build, CALLS, FORMS, Target, argument, fetch, load, probe};

/// Fills a ring of 4096 bytes with records of which each takes `bytes`.
fn overflow(reads: &[Read], bytes: u64) {
    for features in FORMS {
        let Some(mut probes) = load(Config { ring_bytes: 4096, features }) else { return };
        let mut target = Target::start("memory");
        let probe = probe(target.program(), "memory", fetch(ENTRY, reads), Exit::Unseen);
        probes.attach(&target, probe);
        for round in 1..=3 {
            target.run();
            let counters = probes.counters();
            // The last byte of the ring is never used.
            let fit = 4095 / bytes;
            assert_eq!(counters.emitted, round * fit);
            assert_eq!(counters.lost, round * (CALLS - fit));
            let records = probes.records();
            assert_eq!(records.len() as u64, fit, "what was emitted is what comes out");
            assert!(records.iter().all(|record| record.number(0) == record.number(8)), "and it is whole");
        }
        let by_cpu = probes.drain.counters_by_cpu().unwrap();
        assert_eq!(by_cpu.iter().map(|one| one.lost).sum::<u64>(), probes.counters().lost);
        assert!(by_cpu.iter().all(|one| one.hits == one.emitted + one.lost));
    }
}

/// Before each record, the ring has 8 bytes of its own.
const FRAME: u64 = 8 + size_of::<Header>() as u64;

#[test]
fn small_records_are_lost_exactly_where_the_ring_is_full() {
    overflow(&[argument(3), argument(3)], FRAME + 64);
}

#[test]
fn large_records_are_lost_exactly_where_the_ring_is_full() {
    overflow(&[argument(3), argument(3), argument(1).at(8).array(4, 8, FIXED)], FRAME + 1024 + 72);
}
