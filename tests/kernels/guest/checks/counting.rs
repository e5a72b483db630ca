//! Every call is seen once, with its values.
//!
//! Enters: `target.c`, whose calls are known. Leaves: how many events there were. Refuses: one too many, one too few, a wrong value.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use gpu_agent::source::ebpf::{Attached, Config};
use gpu_agent_ebpf_abi::{FetchProgram, phase};
use gpu_agent_tests::probed::Target;
use gpu_agent_tests::probed::pairs::{Pair, pair};
use gpu_agent_tests::probed::prober::{Probe, Prober, Way};
use gpu_agent_tests::probed::reads::{
    self, ARGUMENTS, RETURN_VALUE, constant_if_at_most, follow, numbers, register, text,
};

const TARGET: &str = "/target";
const THREADS: u64 = 4;
const CALLS: u64 = 500;
const DEPTH: u64 = 12;
/// nested() for each depth from 0 to `DEPTH`.
const NESTED: u64 = (DEPTH + 1) * (DEPTH + 2) / 2;
const ALL_CALLS: u64 = THREADS * (CALLS + NESTED);

/// Events of all checks so far.
static EVENTS: AtomicU64 = AtomicU64::new(0);

pub(super) fn events() -> u64 {
    EVENTS.load(Ordering::Relaxed)
}

fn load() -> Prober {
    loaded(Config::default())
}

fn loaded(config: Config) -> Prober {
    Prober::configured(config).unwrap_or_else(|why| panic!("{}", super::refusals::in_full(&why)))
}

/// The target of these numbers, on the guest or beside this program on a host.
pub(super) fn target() -> Target {
    let arguments = [THREADS, CALLS, DEPTH].map(|number| number.to_string());
    let beside = std::env::current_exe().expect("a path").with_file_name("target");
    let path = if Path::new(TARGET).exists() { Path::new(TARGET) } else { &beside };
    Target::start(path, &arguments.each_ref().map(String::as_str))
}

/// What is read where leaf() is entered: thread, call, then of the thing: value, name, dims, shape, next->value, and a constant in
/// the first ten calls.
fn leaf_entry() -> FetchProgram {
    let [thread, call, thing, ..] = ARGUMENTS.map(register);
    reads::program(
        phase::ENTRY,
        &[
            thread,
            call,
            follow(thing, &[0]),
            text(thing, &[8, 0], 15),
            follow(thing, &[24]),
            numbers(thing, &[16, 0], 4, 8),
            follow(thing, &[32, 0]),
            constant_if_at_most(77, 1, 9),
        ],
    )
}

fn nested_entry() -> FetchProgram {
    reads::program(phase::ENTRY, &[register(ARGUMENTS[0]), register(ARGUMENTS[1])])
}

fn exit(way: Way) -> FetchProgram {
    reads::program(way.phase(), &[register(RETURN_VALUE)])
}

/// Probes both functions.
fn attach(prober: &mut Prober, target: &Target, way: Way) -> Attached {
    let (leaf, nested, exit) = (leaf_entry(), nested_entry(), exit(way));
    prober.attach(
        target,
        &[
            Probe { function: "leaf", entry: &leaf, exit: Some((way, &exit)) },
            Probe { function: "nested", entry: &nested, exit: Some((way, &exit)) },
        ],
    )
}

/// Probes leaf() alone.
fn attach_to_leaf(prober: &mut Prober, target: &Target) {
    let (leaf, exit) = (leaf_entry(), exit(Way::Instructions));
    prober
        .attach(target, &[Probe { function: "leaf", entry: &leaf, exit: Some((Way::Instructions, &exit)) }]);
}

/// Calls of several threads, flat and recursive, their arguments and results, and the counters.
pub(super) fn exactly(config: Config, way: Way) -> String {
    let mut target = target();
    let bare = target.round();
    let mut prober = loaded(config);
    assert_eq!(prober.features(), config.features, "what was asked for is not what is used");
    attach(&mut prober, &target, way);
    let watched = prober.watch(&mut target);
    assert_eq!(watched.checksum, bare, "the target computed something else");

    let (events, counters) = (watched.records.len(), prober.counters());
    let expected = 2 * ALL_CALLS;
    assert_eq!((counters.emitted, events as u64), (expected, expected), "{counters:?}");
    assert_eq!((counters.lost, counters.unknown, counters.faulted_reads), (0, 0, 0));
    let (leafs, nested): (Vec<Pair>, Vec<Pair>) =
        pair(watched.records).into_iter().partition(|call| &*call.entry.function == "leaf");
    see_leafs(&leafs, way);
    see_nested(&nested, way);

    EVENTS.fetch_add(expected, Ordering::Relaxed);
    target.end();
    format!("{events} events, {ALL_CALLS} calls paired")
}

/// Each thread calls leaf() with each number once.
fn see_leafs(calls: &[Pair], way: Way) {
    let (entry, exit) = (leaf_entry(), exit(way));
    let mut seen: BTreeMap<(u64, u64), u32> = BTreeMap::new();
    for Pair { entry: at, exit: left, depth } in calls {
        let number = |read| at.number(&entry, read).unwrap_or_else(|| panic!("read {read} of {at:?}"));
        let (thread, call) = (number(0), number(1));
        *seen.entry((thread, call)).or_default() += 1;
        assert_eq!(number(2), call * call);
        assert_eq!(at.text(&entry, 3).as_deref(), Some("key_cache"));
        assert_eq!(number(4), 3);
        let shape = at.numbers(&entry, 5).expect("a shape");
        assert_eq!(shape[..3], [i64::try_from(thread).expect("a few") + 1, 128, -1]);
        assert_eq!(number(6), 4242);
        assert_eq!(at.number(&entry, 7), (call <= 9).then_some(77));
        assert_eq!(left.number(&exit, 0), Some(thread * 1_000_003 + call * 7 + call * call));
        assert_eq!(*depth, 0);
    }
    let expected = (0..THREADS).flat_map(|thread| (0..CALLS).map(move |call| ((thread, call), 1)));
    assert!(seen.into_iter().eq(expected), "not each call of leaf() once");
}

/// Each thread calls nested() with each depth, and each call calls itself down to 0.
fn see_nested(calls: &[Pair], way: Way) {
    let (entry, exit) = (nested_entry(), exit(way));
    let mut seen: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for Pair { entry: at, exit: left, depth } in calls {
        let (thread, level) =
            (at.number(&entry, 0).expect("a thread"), at.number(&entry, 1).expect("a depth"));
        *seen.entry((thread, level)).or_default() += 1;
        assert!(level + *depth as u64 <= DEPTH, "{depth} calls around level {level}");
        let result = (1..=level).fold(thread, |below, depth| below.wrapping_mul(31).wrapping_add(depth));
        assert_eq!(left.number(&exit, 0), Some(result));
    }
    let expected = (0..THREADS).flat_map(|thread| (0..=DEPTH).map(move |at| ((thread, at), DEPTH + 1 - at)));
    assert!(seen.into_iter().eq(expected), "not each call of nested() as often as it was made");
}

/// Calls of a process that nobody asked for.
pub(super) fn only_of_targets() -> String {
    let (mut watched, mut other) = (target(), target());
    let mut prober = load();
    attach_to_leaf(&mut prober, &watched);
    other.round();
    let records = prober.watch(&mut watched).records;
    assert_eq!(records.len() as u64, 2 * THREADS * CALLS, "{:?}", prober.counters());
    assert!(records.iter().all(|record| record.header.process == watched.pid()));
    format!("{} events of one of two processes", records.len())
}

/// A ring that nobody empties.
pub(super) fn what_is_lost() -> String {
    let mut target = target();
    let mut prober = loaded(Config { ring_bytes: 4096, ..Config::default() });
    attach_to_leaf(&mut prober, &target);
    target.round();
    let counters = prober.counters();
    let records = prober.records().len() as u64;
    assert!(counters.lost > 0, "{counters:?}");
    assert_eq!(counters.emitted, records);
    assert_eq!(counters.emitted + counters.lost, 2 * THREADS * CALLS);
    format!("{} in the ring, {} lost, none missing", counters.emitted, counters.lost)
}

/// After the probes are gone.
pub(super) fn nothing_remains() -> String {
    const FUNCTIONS: [&str; 2] = ["leaf", "nested"];
    let mut target = target();
    let before = FUNCTIONS.map(|name| target.text(name));
    let mut prober = load();
    let attached = attach(&mut prober, &target, Way::Instructions);
    prober.watch(&mut target);
    assert!(FUNCTIONS.map(|name| target.text(name)) != before, "no breakpoints while the probes are there");
    prober.detach(attached.id);
    assert!(FUNCTIONS.map(|name| target.text(name)) == before, "breakpoints remain");
    let hits = prober.counters().hits;
    target.round();
    assert_eq!(prober.counters().hits, hits);
    target.end();
    format!("{} bytes of code are as they were", before.iter().map(Vec::len).sum::<usize>())
}
