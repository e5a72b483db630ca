//! What reads give.

use gpu_agent::probes::plan::Exit;
use gpu_agent::source::ebpf::{Config, Scope};

use super::rig::{
    ARGUMENTS, ENTRY, Target, counters, fetch, load, offset, plan, probe, program, records, register,
};

#[test]
fn an_entry_probe_reads_the_arguments_of_every_call() {
    let Some((mut attacher, mut drain)) = load(Config::default()) else { return };
    let mut target = Target::start("six");
    let entry = fetch(ENTRY, &[register(ARGUMENTS[0]), register(ARGUMENTS[1])]);
    let six = probe("six", offset(program(), "six"), entry, Exit::Unseen);
    let attached = attacher.attach(Scope::Process(target.pid()), &plan(&target, vec![six]));
    assert!(attached.refused.is_empty(), "{:?}", attached.refused);
    target.run();
    let records = records(&mut drain);
    assert_eq!(records.len(), 1000);
    for (number, record) in records.iter().enumerate() {
        assert_eq!(record.header.present, 0b11);
        assert_eq!(record.header.process, target.pid().0);
        assert_eq!(record.number(0), number as u64);
        assert_eq!(record.number(8), (number as u64).wrapping_neg());
    }
    assert_eq!(counters(&drain).emitted, 1000);
    println!("{:?}", attacher.features());
}
