//! Whose calls make records. What is attached everywhere is attached to a copy of the program, which no other test runs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use gpu_agent::probes::plan::Exit;
use gpu_agent::source::ebpf::Scope;
use gpu_agent_ebpf_abi::phase::ENTRY;

use super::rig::{CALLS, Copy, Probes, Target, argument, fetch, in_each_form, probe};

#[test]
fn another_process_of_the_same_program_is_not_even_hit() {
    in_each_form(|mut probes: Probes| {
        let (mut target, mut other) = (Target::start("six"), Target::start("six"));
        let probe = probe(target.program(), "six", fetch(ENTRY, &[argument(0)]), Exit::Unseen);
        probes.attach(&target, probe);
        other.run();
        assert_eq!(probes.counters().hits, 0);
        target.run();
        other.run();
        assert_eq!((probes.counters().hits, probes.records().len() as u64), (CALLS, CALLS));
    });
}

#[test]
fn everywhere_only_the_calls_of_targets_make_records() {
    in_each_form(|mut probes: Probes| {
        let program = Copy::new();
        let [mut target, mut other] = [(); 2].map(|()| Target::of(&program.0, &["six"]));
        let probe = probe(target.program(), "six", fetch(ENTRY, &[argument(0)]), Exit::Unseen);
        let plan = target.plan(target.program(), vec![probe]);
        let attached = probes.attacher.attach(Scope::Everywhere, &plan);
        if !probes.attacher.features().cookies {
            let [refused] = &attached.refused[..] else { panic!("{:?}", attached.refused) };
            assert!(refused.why.to_string().contains("a probe is for one process"), "{}", refused.why);
            return;
        }
        assert!(attached.refused.is_empty(), "{:?}", attached.refused);
        probes.attacher.want_process(target.pid()).unwrap();
        target.run();
        other.run();
        let counters = probes.counters();
        assert_eq!((counters.hits, counters.filtered, counters.emitted), (2 * CALLS, CALLS, CALLS));
        assert!(probes.records().iter().all(|record| record.header.process == target.pid().0));

        // Wanted twice, released once: still a target.
        probes.attacher.want_process(target.pid()).unwrap();
        probes.attacher.release_process(target.pid()).unwrap();
        target.run();
        assert_eq!(probes.records().len() as u64, CALLS);
        probes.attacher.release_process(target.pid()).unwrap();
        target.run();
        assert_eq!(probes.records().len(), 0);
        assert_eq!(probes.counters().filtered, 2 * CALLS);
    });
}

#[test]
fn a_returning_call_of_a_filtered_process_is_hit_once_and_makes_no_record() {
    in_each_form(|mut probes: Probes| {
        if !probes.attacher.features().session {
            return; // Only a session decides at the entry whether the return is to be seen.
        }
        let program = Copy::new();
        let mut target = Target::of(&program.0, &["six"]);
        let exit = Exit::Trampoline(fetch(gpu_agent_ebpf_abi::phase::RETURNED, &[]));
        let probe = probe(target.program(), "six", fetch(ENTRY, &[]), exit);
        let plan = target.plan(target.program(), vec![probe]);
        probes.attacher.attach(Scope::Everywhere, &plan);
        target.run();
        let counters = probes.counters();
        assert_eq!((counters.hits, counters.filtered), (CALLS, CALLS));
    });
}

#[test]
fn processes_of_a_wanted_control_group_are_targets() {
    in_each_form(|mut probes: Probes| {
        if !probes.attacher.features().cookies {
            return; // Without them, probes are for one process, as another test shows.
        }
        let Some(group) = Group::new() else {
            println!("skipped: no writable cgroup2 file system is mounted");
            return;
        };
        let program = Copy::new();
        let [mut inside, mut outside] = [(); 2].map(|()| Target::of(&program.0, &["six"]));
        fs::write(group.0.join("cgroup.procs"), inside.pid().0.to_string()).unwrap();
        let probe = probe(inside.program(), "six", fetch(ENTRY, &[argument(0)]), Exit::Unseen);
        let plan = inside.plan(inside.program(), vec![probe]);
        probes.attacher.attach(Scope::Everywhere, &plan);
        probes.attacher.want_cgroup(group.id()).unwrap();
        inside.run();
        outside.run();
        let counters = probes.counters();
        assert_eq!((counters.filtered, counters.emitted), (CALLS, CALLS));
        assert!(probes.records().iter().all(|record| record.header.process == inside.pid().0));
        probes.attacher.release_cgroup(group.id()).unwrap();
        inside.run();
        assert_eq!(probes.records().len(), 0);
        inside.kill();
    });
}

/// A control group of our own.
struct Group(PathBuf);

impl Group {
    fn new() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let root = mounts.lines().find_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (words[2] == "cgroup2").then(|| PathBuf::from(words[1]))
        })?;
        let folder = root.join(format!("gpu-agent-test-{}", std::process::id()));
        fs::create_dir_all(&folder).ok().map(|()| Self(folder))
    }

    fn id(&self) -> u64 {
        fs::metadata(&self.0).unwrap().ino()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
