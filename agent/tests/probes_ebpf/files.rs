//! Files and processes that change or go away while probes are attached, and places that are refused.

use std::fs;
use std::path::Path;

use gpu_agent::event::Pid;
use gpu_agent::probes::plan::{Exit, Plan};
use gpu_agent::source::ebpf::{Refusal, Scope};
use gpu_agent_ebpf_abi::phase::{ENTRY, LIBRARIES, RETURN};

use super::rig::{
    CALLS, Copy, Probes, Target, argument, compiled, fetch, in_each_form, offset, probe, probe_at, returned,
};

fn six(file: &Path) -> gpu_agent::probes::plan::Planned {
    probe(file, "six", fetch(ENTRY, &[argument(0)]), Exit::Unseen)
}

#[test]
fn a_file_that_is_deleted_or_replaced_stays_probed_where_it_is_mapped() {
    in_each_form(|mut probes: Probes| {
        let copy = Copy::new();
        let program = &copy.0;
        let mut target = Target::of(program, &["six"]);
        let probe = six(program);
        let offset = probe.entry_offset;
        probes.attach(&target, probe);
        target.run();
        fs::remove_file(program).unwrap();
        target.run();
        fs::copy("/proc/self/exe", program).unwrap();
        target.run();
        assert_eq!(probes.records().len() as u64, 3 * CALLS);

        // Attached after that, through the mapping: the file that the process runs, not the one that has its name.
        let plan = target.plan(program, vec![probe_at("six", offset, fetch(ENTRY, &[]), Exit::Unseen)]);
        let attached = probes.attacher.attach(Scope::Process(target.pid()), &plan);
        target.run();
        let records = probes.records().len() as u64;
        if probes.attacher.features().cookies {
            assert!(attached.refused.is_empty(), "{:?}", attached.refused);
            assert_eq!(records, 2 * CALLS);
        } else {
            assert!(matches!(attached.refused[..], [ref one] if matches!(one.why, Refusal::Taken)));
            assert_eq!(records, CALLS, "the first probe is not disturbed");
        }
        probes.counters();
    });
}

#[test]
fn a_library_that_is_no_file_but_a_memfd_is_probed() {
    in_each_form(|mut probes: Probes| {
        let library = compiled("library.c", &["-shared", "-fPIC"]);
        let mut target = Target::with_library("memfd", &library);
        let probe = probe(&library, "probed", fetch(ENTRY, &[argument(0)]), Exit::Unseen);
        let plan = target.plan(Path::new("memfd:library"), vec![probe]);
        let attached = probes.attacher.attach(Scope::Process(target.pid()), &plan);
        assert!(attached.refused.is_empty(), "{:?}", attached.refused);
        target.run();
        let records = probes.records();
        assert_eq!(records.len() as u64, CALLS);
        assert!((0..).zip(&records).all(|(call, record)| record.number(0) == call));
    });
}

#[test]
fn what_the_dynamic_linker_loads_is_noticed() {
    in_each_form(|mut probes: Probes| {
        let library = compiled("library.c", &["-shared", "-fPIC"]);
        // The scenario loads nothing by itself; loading what is loaded already is no change, so the library is a new one.
        let mut target = Target::start("six");
        let (linker, load_bias) = target.mapping("ld-linux");
        let place = offset(&linker, "_dl_debug_state");
        let watch =
            probes.attacher.watch_libraries(Scope::Process(target.pid()), &linker, load_bias, place).unwrap();
        target.run();
        assert_eq!(probes.records().len(), 0);

        let mut late = Target::start("late");
        let (linker, load_bias) = late.mapping("ld-linux");
        let second =
            probes.attacher.watch_libraries(Scope::Process(late.pid()), &linker, load_bias, place).unwrap();
        late.say(library.to_str().unwrap());
        let records = probes.records();
        assert!(records.len() >= 2, "before the change, and after it");
        for record in &records {
            let header = &record.header;
            assert_eq!((header.phase, header.process), (LIBRARIES, late.pid().0));
            assert_eq!((header.slot, header.generation), (second.slot, second.generation));
            assert!(record.payload.is_empty());
        }
        probes.attacher.detach(watch.id).unwrap();
        probes.attacher.detach(second.id).unwrap();
    });
}

#[test]
fn a_refused_place_costs_no_other_probe() {
    in_each_form(|mut probes: Probes| {
        let mut target = Target::start("returns");
        let file = target.program().to_owned();
        let returns = ["first_return", "second_return"].map(|name| offset(&file, name)).to_vec();
        let beyond = fs::metadata(&file).unwrap().len() + 4096;
        let exit = |offsets| Exit::Instructions { offsets, program: fetch(RETURN, &[returned()]) };
        let good = probe(&file, "two_returns", fetch(ENTRY, &[argument(0)]), exit(returns.clone()));
        let one_return = [returns[0], beyond].to_vec();
        let half = probe(&file, "two_returns", fetch(ENTRY, &[argument(0)]), exit(one_return));
        let mut probes_of_plan: Vec<_> = (0..20)
            .map(|number| {
                // Without cookies, these would all be at one place.
                let place = beyond + 16 * number;
                probe_at(&format!("beyond {number}"), place, fetch(ENTRY, &[]), Exit::Unseen)
            })
            .collect();
        probes_of_plan.insert(7, good);
        let has_cookies = probes.attacher.features().cookies;
        if has_cookies {
            probes_of_plan.insert(13, half);
        }
        let plan = target.plan(&file, probes_of_plan);
        let attached = probes.attacher.attach(Scope::Process(target.pid()), &plan);
        let names: Vec<&str> = attached.refused.iter().map(|refused| &*refused.probe).collect();
        assert_eq!(names.iter().filter(|name| name.starts_with("beyond")).count(), 20, "{names:?}");
        let halves = names.iter().filter(|name| **name == "two_returns").count();
        assert_eq!(halves, usize::from(has_cookies), "one return of one probe");
        for refused in &attached.refused {
            assert!(
                matches!(refused.why, Refusal::Place { offset, .. } if offset >= beyond),
                "{:?}",
                refused.why
            );
        }
        assert_eq!(attached.slots.len(), 2 * (1 + halves), "both ends of each probe");
        target.run();
        let records = probes.records();
        let of = |slot: usize| {
            records.iter().filter(|record| record.header.slot == attached.slots[slot].slot).count() as u64
        };
        assert_eq!((of(0), of(1)), (CALLS, CALLS));
        if has_cookies {
            assert_eq!((of(2), of(3)), (CALLS, CALLS / 2));
        }
        probes.counters();
    });
}

#[test]
fn a_process_that_is_gone_is_named_as_the_reason() {
    in_each_form(|mut probes: Probes| {
        let mut target = Target::start("six");
        let plan = target.plan(target.program(), vec![six(target.program())]);
        let by_name = Plan { file: target.program().to_owned(), ..plan.clone() };
        target.kill();
        let scope = Scope::Process(target.pid());
        let attached = probes.attacher.attach(scope, &plan);
        let [refused] = &attached.refused[..] else { panic!("{:?}", attached.refused) };
        let gone = matches!(refused.why, Refusal::FileGone(_) | Refusal::ProcessGone(_));
        assert!(gone, "its mappings are gone with it: {:?}", refused.why);
        let attached = probes.attacher.attach(scope, &by_name);
        let [refused] = &attached.refused[..] else { panic!("{:?}", attached.refused) };
        assert!(matches!(refused.why, Refusal::ProcessGone(_)), "{:?}", refused.why);
        assert!(attached.slots.is_empty());
        probes.counters();
    });
}

#[test]
fn processes_that_end_at_any_moment_of_an_attachment_leave_the_counters_whole() {
    in_each_form(|mut probes: Probes| {
        for delay_us in (0..4000).step_by(400) {
            let mut target = Target::start("six");
            let plan = target.plan(target.program(), vec![six(target.program())]);
            let attached = std::thread::scope(|scope| {
                let attacher = &mut probes.attacher;
                let pid = target.pid();
                let attaching = scope.spawn(move || attacher.attach(Scope::Process(pid), &plan));
                std::thread::sleep(std::time::Duration::from_micros(delay_us));
                target.kill();
                attaching.join().unwrap()
            });
            for refused in &attached.refused {
                assert!(
                    matches!(refused.why, Refusal::FileGone(_) | Refusal::ProcessGone(_)),
                    "{:?}",
                    refused.why
                );
            }
            probes.attacher.detach(attached.id).unwrap();
            probes.counters();
        }
    });
}

#[test]
fn after_detaching_nothing_is_hit_and_a_slot_that_is_used_again_has_another_generation() {
    in_each_form(|mut probes: Probes| {
        let mut target = Target::start("six");
        let first = probes.attach(&target, six(target.program()));
        target.run();
        probes.attacher.detach(first.id).unwrap();
        probes.attacher.detach(first.id).unwrap();
        target.run();
        assert_eq!(probes.counters().hits, CALLS);
        let second = probes.attach(&target, six(target.program()));
        target.run();
        assert_eq!(first.slots[0].slot, second.slots[0].slot);
        assert_ne!(first.slots[0].generation, second.slots[0].generation);
        let records = probes.records();
        let of = |generation| records.iter().filter(|record| record.header.generation == generation).count();
        assert_eq!((of(first.slots[0].generation), of(second.slots[0].generation)), (1000, 1000));
    });
}

#[test]
fn nobody_is_probed_by_a_pid_that_nobody_has() {
    in_each_form(|mut probes: Probes| {
        let target = Target::start("six");
        let plan = target.plan(target.program(), vec![six(target.program())]);
        let attached = probes.attacher.attach(Scope::Process(Pid(4_194_304)), &plan);
        assert!(matches!(attached.refused[..], [ref one] if matches!(one.why, Refusal::ProcessGone(_))));
    });
}
