//! Attaching to this very process: it writes rings with the real writer and reads them as an agent would.

use std::os::fd::AsFd;
use std::sync::Arc;

use gpu_agent_ring::control::{HandOver, ShimControl};
use gpu_agent_ring::layout::Counter;
use gpu_agent_ring::record::{self, kind};
use gpu_agent_ring::writer::Identity;
use gpu_agent_ring::{AgentControl, Geometry, LeaseError, Reader, Writer};

use super::{Fate, Item, Target};
use crate::classes::Classifier;
use crate::event::{Event, Pid};
use crate::identity::Process;
use crate::source::cupti::{AttachError, Hops, Lease, Mode, Opened};

const RING_ID: u64 = 77;

struct Shim {
    writer: Writer,
    control: ShimControl,
}

impl Shim {
    fn new(slots: u32) -> Self {
        let geometry = Geometry { slots, names_bytes: 4096 };
        let identity = Identity { ring_id: RING_ID, pid: std::process::id(), ..Identity::default() };
        Self {
            writer: Writer::create(geometry, identity).unwrap(),
            control: ShimControl::create(RING_ID).unwrap(),
        }
    }

    fn opened(&self) -> Opened {
        Opened::new(
            Process::look_up(Pid(std::process::id())).unwrap(),
            Reader::open(self.writer.file().unwrap().as_fd()).unwrap(),
            AgentControl::open(self.control.file().unwrap().as_fd(), RING_ID, 1).unwrap(),
        )
    }

    fn target(&self, from_start: bool) -> Result<Target, AttachError> {
        let classifier = Arc::new(Classifier::bundled().unwrap());
        Target::attach(self.opened(), Lease::default(), classifier, from_start)
    }

    fn kernel(&mut self, name: &str) {
        let name_id = self.writer.intern_text(name);
        self.writer.push(&record::Kernel {
            kind: kind::KERNEL,
            start_ns: 10,
            end_ns: 20,
            name_id,
            ..Default::default()
        });
        self.control.add(Counter::Seen, 1);
        self.control.add(Counter::Emitted, 1);
    }
}

#[test]
fn a_ring_that_is_found_once_more_is_known_however_it_was_found() {
    let shim = Shim::new(8);
    let target = shim.target(true).unwrap();
    // Neither of the two knows where it is mapped, as one that was announced does not.
    assert!(target.reads(&shim.opened()));
    let identity = Identity { ring_id: RING_ID + 1, pid: std::process::id(), ..Identity::default() };
    let other = Writer::create(Geometry { slots: 8, names_bytes: 4096 }, identity).unwrap();
    let mut opened = shim.opened();
    opened.reader = Reader::open(other.file().unwrap().as_fd()).unwrap();
    assert!(!target.reads(&opened), "of another program in the same process");
}

fn drained(target: &mut Target) -> Vec<String> {
    let mut seen = Vec::new();
    target.drain(u64::MAX, |item| match item {
        Item::Name(new) => seen.push(format!("{}={}", new.id, new.name.raw)),
        Item::Event(Event::Kernel(kernel)) => seen.push(format!("kernel {}", kernel.name)),
        Item::Event(other) => seen.push(format!("{other:?}")),
    });
    seen
}

#[test]
fn a_name_comes_before_the_first_event_that_means_it() {
    let mut shim = Shim::new(16);
    for name in ["a", "b", "a"] {
        shim.kernel(name);
    }
    let mut target = shim.target(true).unwrap();
    assert_eq!(drained(&mut target), ["0=a", "kernel 0", "1=b", "kernel 1", "kernel 0"]);
}

#[test]
fn an_attached_agent_sees_what_comes_and_not_what_was() {
    let mut shim = Shim::new(16);
    shim.kernel("before");
    let mut target = shim.target(false).unwrap();
    shim.kernel("after");
    assert_eq!(drained(&mut target), ["0=after", "kernel 0"]);
    let hops = target.hops();
    assert_eq!((hops.seen, hops.emitted, hops.read, hops.lost, hops.decoded), (1, 1, 1, 0, 1));
}

#[test]
fn every_record_is_passed_on_or_counted() {
    let mut shim = Shim::new(64);
    let mut target = shim.target(true).unwrap();
    for _ in 0..200 {
        shim.kernel("k");
    }
    shim.writer.push(&record::Dropped { kind: 999, ..Default::default() });
    shim.writer.push(&record::Kernel { kind: kind::KERNEL, start_ns: 9, end_ns: 3, ..Default::default() });
    drained(&mut target);
    let Hops { emitted, read, lost, decoded, unknown, malformed, .. } = target.hops();
    assert_eq!(read + lost, emitted + 2);
    assert_eq!(decoded + unknown + malformed, read);
    assert_eq!((unknown, malformed), (1, 1));
    assert!(lost > 0);
}

#[test]
fn the_second_agent_is_told_who_holds_the_lease() {
    let shim = Shim::new(16);
    let first = shim.target(true).unwrap();
    assert_eq!(shim.control.wish().kinds, Mode::default().kinds());
    let Err(AttachError::Lease { source, .. }) = shim.target(true) else { panic!("two agents hold it") };
    assert!(matches!(source, LeaseError::Held { holder_pid: 1, remaining_ms } if remaining_ms <= 3000));
    drop(first);
    assert!(shim.target(true).is_ok(), "an agent that leaves frees it");
}

#[test]
fn a_wish_to_let_go_is_taken_back_by_who_has_the_lease_only() {
    let shim = Shim::new(16);
    let attach = |opened: Opened| {
        Target::attach(opened, Lease::default(), Arc::new(Classifier::bundled().unwrap()), false)
    };
    let wish = || shim.control.wish().hand_over;
    let first = attach(shim.opened()).unwrap();
    for detached in [HandOver::Yield, HandOver::Detach, HandOver::DetachAndFinalize] {
        shim.opened().control.hand_over(detached, 0);
        assert!(matches!(attach(shim.opened().taking_back()), Err(AttachError::Lease { .. })));
        assert_eq!(wish(), detached, "the first one's shim is not armed again");
        first.take_over(&shim.opened());
        assert_eq!(wish(), detached);
        first.take_over(&shim.opened().taking_back());
        assert_eq!(wish(), HandOver::None);
    }
    drop(first);
    shim.opened().control.hand_over(HandOver::Detach, 0);
    drop(attach(shim.opened()).unwrap());
    assert_eq!(wish(), HandOver::Detach);
    drop(attach(shim.opened().taking_back()).unwrap());
    assert_eq!(wish(), HandOver::None);
}

#[test]
fn a_lost_lease_is_taken_again_once_it_is_free() {
    let shim = Shim::new(16);
    let classifier = Arc::new(Classifier::bundled().unwrap());
    let short = Lease { duration: std::time::Duration::from_millis(1), ..Lease::default() };
    let mut first = Target::attach(shim.opened(), short, classifier, true).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(5));
    let mut second = shim.target(true).unwrap();
    assert!(first.renew().is_err());
    second.release();
    assert!(first.renew().is_ok());
}

#[test]
fn this_process_runs() {
    let target = Shim::new(16).target(true).unwrap();
    assert_eq!(target.fate(), Fate::Running);
    assert!(!target.is_simulated());
}
