//! The lease: one holder, an end, and no way to keep a dead agent's grip.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gpu_agent_ring::control::mono_ns;
use gpu_agent_ring::layout::kinds;
use gpu_agent_ring::{AgentControl, Lease, LeaseError, ShimControl};

use crate::control::LEASE;
use crate::forked::{Child, SharedWords};

fn page() -> (ShimControl, AgentControl, AgentControl) {
    let shim = ShimControl::create(1).unwrap();
    let first = AgentControl::open(shim.file().unwrap(), 1, 11).unwrap();
    let second = AgentControl::open(shim.file().unwrap(), 1, 22).unwrap();
    (shim, first, second)
}

fn short(duration: Duration) -> Lease {
    Lease { duration, ..LEASE }
}

#[test]
fn a_second_agent_is_told_who_holds_the_lease_and_for_how_long() {
    let (_shim, first, second) = page();
    first.acquire(&LEASE).unwrap();
    let held = second.acquire(&LEASE).unwrap_err();
    assert!(
        matches!(held, LeaseError::Held { holder_pid: 11, remaining_ms } if (4_000..=5_000).contains(&remaining_ms)),
        "{held}"
    );
    assert!(held.to_string().contains("pid 11"));
    assert_eq!(second.renew(LEASE.duration), Err(LeaseError::Lost { holder_pid: 11 }));
    second.release();
    first.renew(LEASE.duration).unwrap();
    first.acquire(&Lease { kinds: kinds::API, ..LEASE }).unwrap();
}

#[test]
fn a_released_lease_is_free_and_the_shim_knows() {
    let (shim, first, second) = page();
    first.acquire(&LEASE).unwrap();
    let generation = shim.wish().generation;
    first.release();
    assert_eq!(shim.wish().deadline_ns, 0);
    assert_ne!(shim.wish().generation, generation);
    second.acquire(&LEASE).unwrap();
    assert_eq!(first.renew(LEASE.duration), Err(LeaseError::Lost { holder_pid: 22 }));
    first.release();
    assert!(shim.wish().deadline_ns > mono_ns());
}

#[test]
fn a_lease_ends_by_itself_and_another_agent_takes_it() {
    let (shim, first, second) = page();
    first.acquire(&short(Duration::from_millis(20))).unwrap();
    assert!(second.acquire(&LEASE).is_err());
    std::thread::sleep(Duration::from_millis(25));
    assert!(shim.wish().deadline_ns < mono_ns());
    second.acquire(&LEASE).unwrap();
    assert_eq!(first.renew(LEASE.duration), Err(LeaseError::Lost { holder_pid: 22 }));
    assert!(matches!(first.acquire(&LEASE), Err(LeaseError::Held { holder_pid: 22, .. })));
    second.renew(LEASE.duration).unwrap();
}

#[test]
fn a_late_renewal_wakes_a_shim_that_went_dormant() {
    let (shim, first, _second) = page();
    first.acquire(&short(Duration::ZERO)).unwrap();
    std::thread::sleep(Duration::from_millis(1));
    let generation = shim.wish().generation;
    first.renew(LEASE.duration).unwrap();
    assert_ne!(shim.wish().generation, generation);
    let generation = shim.wish().generation;
    first.renew(LEASE.duration).unwrap();
    assert_eq!(shim.wish().generation, generation, "a renewal in time disturbs nobody");
}

#[test]
fn a_lease_that_the_shim_granted_itself_goes_to_the_first_agent_that_comes() {
    let shim = ShimControl::create_granted(1, Some(&LEASE)).unwrap();
    let [first, second] = [11, 22].map(|pid| AgentControl::open(shim.file().unwrap(), 1, pid).unwrap());
    assert!(shim.wish().deadline_ns > mono_ns());
    assert_eq!(shim.wish().kinds, LEASE.kinds);
    first.acquire(&LEASE).unwrap();
    assert!(matches!(second.acquire(&LEASE), Err(LeaseError::Held { holder_pid: 11, .. })));
    first.renew(LEASE.duration).unwrap();
}

#[test]
fn the_longest_lease_is_no_overflow() {
    let (shim, first, second) = page();
    first.acquire(&short(Duration::MAX)).unwrap();
    assert!(shim.wish().deadline_ns > u64::MAX - 2);
    assert!(second.acquire(&LEASE).is_err());
    first.renew(LEASE.duration).unwrap();
}

fn wait_for(word: &AtomicU64, value: u64) {
    while word.load(Ordering::Acquire) != value {
        std::thread::yield_now();
    }
}

/// Two processes run at the lease at the same moment, again and again: free, ended, and granted by the shim.
#[test]
fn of_two_agents_that_race_exactly_one_gets_the_lease() {
    const ROUNDS: u64 = 3_000;
    let (shim, first, second) = page();
    let words = SharedWords::new();
    let (start, acquired, renewed) = (words.get(0), words.get(8), words.get(16));
    let racer = |agent: &AgentControl| {
        for round in 1..=ROUNDS {
            wait_for(start, round);
            let held = agent.acquire(&LEASE).is_ok();
            acquired.fetch_add(1 + (u64::from(held) << 32), Ordering::AcqRel);
            while acquired.load(Ordering::Acquire) & 0xFFFF_FFFF != 2 * round {
                std::thread::yield_now();
            }
            let kept = agent.renew(LEASE.duration).is_ok();
            if kept != held {
                return 1;
            }
            renewed.fetch_add(1 + (u64::from(kept) << 32), Ordering::AcqRel);
        }
        0
    };
    let children = [Child::spawn(|| racer(&first)), Child::spawn(|| racer(&second))];
    let third = AgentControl::open(shim.file().unwrap(), 1, 33).unwrap();
    for round in 1..=ROUNDS {
        // The state that they find: ended, or granted. Nobody else looks at the page between two rounds.
        shim.grant(&short(if round % 2 == 0 { Duration::ZERO } else { LEASE.duration }));
        if round % 3 == 0 {
            third.acquire(&LEASE).unwrap();
            third.release();
        }
        start.store(round, Ordering::Release);
        while renewed.load(Ordering::Acquire) & 0xFFFF_FFFF != 2 * round {
            std::thread::yield_now();
        }
        assert_eq!(acquired.load(Ordering::Acquire) >> 32, round, "round {round}: acquired by one");
        assert_eq!(renewed.load(Ordering::Acquire) >> 32, round, "round {round}: renewed by one");
    }
    for child in children {
        assert_eq!(child.join(), 0);
    }
}

/// Two processes with leases of a few microseconds: whoever gets one must find the other's ended.
#[test]
fn leases_that_end_while_others_take_them_never_overlap() {
    const TAKEN: u64 = 4_000;
    let (_shim, first, second) = page();
    let words = SharedWords::new();
    // Until when each agent holds the lease at least, by its own clock reading before it asked.
    let (ends, stop) = ([words.get(0), words.get(8)], words.get(24));
    let taken = [words.get(32), words.get(40)];
    let agent_loop = |me: usize, agent: &AgentControl| {
        let lease = short(Duration::from_micros(20));
        while stop.load(Ordering::Acquire) == 0 {
            let asked = mono_ns();
            if agent.acquire(&lease).is_ok() {
                // What is published is a lower bound of a deadline: two of them must not lie ahead at one moment. (Ours
                // may have passed by now, and the other agent's lease be a later one.)
                let other = ends[1 - me].load(Ordering::Acquire);
                let now = mono_ns();
                if other > now && asked + 20_000 > now {
                    return 1;
                }
                ends[me].store(asked + 20_000, Ordering::Release);
                taken[me].fetch_add(1, Ordering::Relaxed);
                while !mono_ns().is_multiple_of(8) {
                    let asked = mono_ns();
                    if agent.renew(lease.duration).is_err() {
                        break;
                    }
                    ends[me].store(asked + 20_000, Ordering::Release);
                }
                ends[me].store(0, Ordering::Release);
                agent.release();
            }
        }
        0
    };
    let children = [Child::spawn(|| agent_loop(0, &first)), Child::spawn(|| agent_loop(1, &second))];
    while taken.iter().any(|count| count.load(Ordering::Relaxed) < TAKEN) {
        std::thread::yield_now();
    }
    stop.store(1, Ordering::Release);
    for child in children {
        assert_eq!(child.join(), 0, "two agents held the lease at the same time");
    }
}
