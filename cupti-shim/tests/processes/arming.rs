//! Leases, agents, kinds, and handing CUPTI over.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gpu_agent_ring::control::{HandOver, LeaseError, ShimState, mono_ns};
use gpu_agent_ring::layout::{Counter, kinds};
use gpu_agent_ring::record::{Api, Context, Device, Kernel, Memcpy, Session, flag};
use gpu_agent_ring::{AgentControl, Reader};

use crate::target::{KERNEL_NAME, Ring, Setup, Target, assert_kernels, wait_for};

#[test]
fn a_lease_arms_and_its_end_disarms() {
    let mut target = Setup::new("").start();
    target.tell("init");
    let mut ring = target.ring();
    assert_eq!(ring.control.report().state, Some(ShimState::Dormant));
    target.tell("launch 10");
    target.tell("sync");

    let start = Instant::now();
    ring.arm_for(kinds::KERNEL, Duration::from_millis(700));
    target.tell("launch 300");
    target.tell("sync");
    ring.read_until::<Kernel>(300);
    ring.await_state(ShimState::Dormant);
    let lasted = start.elapsed();
    assert!(lasted >= Duration::from_millis(700), "disarmed {lasted:?} after a lease of 700 ms began");
    let ended_ns = ring.control.report().counter(Counter::Flushes);
    target.tell("launch 10");
    target.tell("sync");
    std::thread::sleep(Duration::from_millis(100));
    ring.read();
    // An agent that was killed leaves the shim as this: dormant, without a flush, without a buffer at CUPTI.
    assert_eq!(ring.counter(Counter::Flushes), ended_ns);
    assert_kernels(&ring, 300);
    ring.assert_accounted();
    target.end_well();
}

#[test]
fn the_end_of_a_lease_is_noticed_within_a_flush_period() {
    let mut target = Setup::new("").start();
    target.tell("init");
    let ring = target.ring();
    let mut lease = Ring::lease(kinds::KERNEL, Duration::from_millis(300));
    lease.flush_period = Duration::from_secs(60);
    ring.control.acquire(&lease).unwrap();
    let deadline_ns = mono_ns() + 300_000_000;
    ring.await_state(ShimState::Armed);
    ring.await_state(ShimState::Dormant);
    let late = Duration::from_nanos(mono_ns().saturating_sub(deadline_ns));
    assert!(late < Duration::from_secs(5), "{late:?} after the end of the lease, with a period of 60 s");
    target.end_well();
}

#[test]
fn the_very_first_kernel_is_seen_with_everything_it_refers_to() {
    let mut target = Setup::new("").with("GPU_AGENT_ARM", "kernels,api").start();
    target.tell("init");
    target.tell("launch 1");
    target.tell("copy 2 4096");
    target.tell("sync");
    let mut ring = target.ring();
    assert!(ring.reader.writer().simulated);
    assert_eq!(ring.reader.writer().pid, target.pid());
    ring.read_until::<Memcpy>(2);
    ring.read_until::<Api>(4);
    let [kernel] = ring.of::<Kernel>()[..] else { panic!("one kernel was launched") };
    assert_eq!(ring.reader.name(kernel.name_id).as_deref(), Some(KERNEL_NAME));
    assert_eq!((kernel.grid, kernel.block, kernel.dynamic_shared_bytes), ([3, 2, 1], [32, 4, 1], 64));
    assert!(kernel.start_ns <= kernel.end_ns && kernel.start_ns > 0 && kernel.start_ns < mono_ns());
    assert!(ring.of::<Memcpy>().iter().all(|copy| copy.bytes == 4096 && copy.copy_kind == 1));

    let devices = ring.of::<Device>();
    let device = devices.iter().find(|device| device.device_id == kernel.device_id).unwrap();
    assert!(ring.reader.name(device.name_id).unwrap().contains("Simulated"));
    assert!(ring.of::<Context>().iter().any(|context| context.context_id == kernel.context_id));
    let session = ring.of::<Session>()[0];
    assert_eq!(session.state, ShimState::Armed as u32);
    assert_eq!(ring.reader.versions(), (session.cupti_version, session.driver_version));
    assert_eq!(session.driver_version, 12_040);

    let calls = ring.of::<Api>();
    let launch = calls.iter().find(|call| call.correlation_id == kernel.correlation_id).unwrap();
    // cuLaunchKernel, on the main thread.
    assert_eq!((launch.cbid, launch.thread_id, launch.return_value), (307, target.pid(), 0));
    assert_eq!(launch.flags & flag::RUNTIME, 0);
    assert!(launch.start_ns <= launch.end_ns);
    target.end_well();
}

#[test]
fn only_calls_that_were_asked_for_are_copied_before_and_after_cupti_12_5() {
    for simulator in ["cupti_version=22", "driver=12050,cupti_version=23", "driver=13000,cupti_gen=10"] {
        let mut target = Setup::new(simulator).with("GPU_AGENT_ARM", "api").start();
        target.tell("init");
        target.tell("launch 50");
        target.tell("copy 5 64");
        target.tell("sync");
        let mut ring = target.ring();
        let asked = |ring: &Ring| {
            let mut counts = [0; 4];
            for call in ring.of::<Api>() {
                // cuLaunchKernel, cuMemcpyHtoD_v2, cuCtxSynchronize, cuMemAlloc_v2.
                let index = [307, 276, 17, 243].iter().position(|&cbid| cbid == call.cbid);
                counts[index.unwrap_or_else(|| panic!("{simulator}: {call:?} was not asked for"))] += 1;
            }
            counts
        };
        ring.read_until::<Api>(57);
        assert_eq!(asked(&ring), [50, 5, 1, 1], "{simulator}");
        target.end_well();
    }
}

#[test]
fn a_second_agent_is_refused_then_arms_again_and_is_told_the_devices() {
    let mut target = Setup::new("").start();
    target.tell("init");
    let mut first = target.ring();
    first.arm(kinds::KERNEL);
    target.tell("launch 20");
    target.tell("sync");
    first.read_until::<Kernel>(20);

    // The second finds the files as an agent does: in /proc/PID/maps.
    let (reader, control) = find_by_maps(target.pid(), first.reader.writer().ring_id);
    let refused = control.acquire(&Ring::lease(kinds::KERNEL, Duration::from_secs(600)));
    assert!(matches!(refused, Err(LeaseError::Held { .. })), "{refused:?}");
    let mut second = Ring { reader, control, records: Vec::new(), lost: 0, kept: 0 };
    second.reader.seek(second.reader.head());
    first.disarm();
    assert_kernels(&first, 20);

    second.arm(kinds::KERNEL);
    target.tell("launch 30");
    target.tell("sync");
    second.read_until::<Kernel>(30);
    assert_kernels(&second, 30);
    let kernel = second.of::<Kernel>()[0];
    assert!(second.of::<Device>().iter().any(|device| device.device_id == kernel.device_id));
    assert!(second.of::<Context>().iter().any(|context| context.context_id == kernel.context_id));
    assert_eq!(second.control.report().armed, 2);
    second.control.release();
    second.await_state(ShimState::Dormant);
    target.end_well();
}

pub fn find_by_maps(pid: u32, ring_id: u64) -> (Reader, AgentControl) {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let open = |name: &str, write| {
        let line =
            maps.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name} in {maps}"));
        let range = line.split(' ').next().unwrap();
        let path = format!("/proc/{pid}/map_files/{range}");
        std::fs::File::options()
            .read(true)
            .write(write)
            .open(&path)
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let reader = Reader::open(open("memfd:gpu-agent-ring", false)).unwrap();
    let control = AgentControl::open(open("memfd:gpu-agent-control", true), ring_id, 1).unwrap();
    (reader, control)
}

#[test]
fn other_kinds_take_effect_under_the_same_lease() {
    let mut target = Setup::new("").start();
    target.tell("init");
    let mut ring = target.ring();
    ring.arm(kinds::KERNEL);
    target.tell("launch 5");
    target.tell("copy 5 64");
    target.tell("sync");
    ring.arm(kinds::MEMCPY);
    assert_eq!(ring.control.report().kinds, kinds::MEMCPY);
    target.tell("launch 7");
    target.tell("copy 7 64");
    target.tell("sync");
    ring.disarm();
    assert_kernels(&ring, 5);
    assert_eq!(ring.of::<Memcpy>().len(), 7);
    assert_eq!(ring.control.report().kinds, 0);
    target.end_well();
}

#[test]
fn a_graph_level_session_stays_one_and_says_so() {
    let mut target = Setup::new("").start();
    target.tell("init");
    let mut ring = target.ring();
    ring.arm(kinds::KERNEL);
    assert_eq!(ring.control.report().kinds, kinds::KERNEL);
    ring.arm(kinds::KERNEL | kinds::GRAPH);
    ring.disarm();
    ring.arm(kinds::KERNEL);
    assert_eq!(ring.control.report().kinds, kinds::KERNEL | kinds::GRAPH);
    target.end_well();
}

#[test]
fn cupti_is_handed_over_and_taken_back() {
    let mut target = Setup::new("").start();
    target.tell("init");
    let mut ring = target.ring();
    ring.arm(kinds::KERNEL);
    target.tell("launch 11");
    target.tell("sync");
    ring.control.hand_over(HandOver::Yield, 0);
    ring.await_answer(ShimState::Yielded);
    let buffers = ring.counter(Counter::BuffersRequested);
    target.tell("launch 100");
    target.tell("sync");
    assert_eq!(ring.counter(Counter::BuffersRequested), buffers);
    ring.control.hand_over(HandOver::None, 0);
    ring.await_answer(ShimState::Armed);
    target.tell("launch 13");
    target.tell("sync");
    ring.disarm();
    assert_kernels(&ring, 24);
    target.end_well();
}

#[test]
fn the_next_profiler_finds_the_clock_that_cupti_has_by_itself() {
    let mut target = Setup::new("").start();
    target.tell("init");
    let ring = target.ring();
    let mut cupti_time_ns = || target.tell("cupti-time").parse::<u64>().unwrap();
    for yielding in [true, false] {
        ring.control.hand_over(HandOver::None, 0);
        ring.arm(kinds::KERNEL);
        let before_ns = mono_ns();
        assert!((before_ns..=before_ns + 60_000_000_000).contains(&cupti_time_ns()));

        if yielding {
            ring.control.hand_over(HandOver::Yield, 0);
            ring.await_answer(ShimState::Yielded);
        } else {
            ring.control.release();
            ring.await_state(ShimState::Dormant);
        }
        let unix_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        assert!(cupti_time_ns().abs_diff(unix_ns) < 60_000_000_000);
    }
    target.end_well();
}

#[test]
fn the_next_profiler_finds_the_device_memory_settings_of_the_one_before() {
    // CUPTI_ACTIVITY_ATTR_DEVICE_BUFFER_SIZE, CUPTI_ACTIVITY_ATTR_DEVICE_BUFFER_POOL_LIMIT.
    const SIZE_AND_LIMIT: [u32; 2] = [0, 2];
    let mut target = Setup::new("").start();
    target.tell("init");
    let mut ring = target.ring();
    for (attribute, value) in SIZE_AND_LIMIT.into_iter().zip([5_000_000, 77]) {
        target.tell(&format!("cupti-set {attribute} {value}"));
    }
    let read =
        |target: &mut Target| SIZE_AND_LIMIT.map(|number| target.tell(&format!("cupti-attribute {number}")));
    ring.arm(kinds::KERNEL);
    assert_eq!(read(&mut target), ["1048576", "64"]);
    ring.disarm();
    assert_eq!(read(&mut target), ["5000000", "77"]);
    target.end_well();
}

#[test]
fn another_profiler_is_left_alone_until_it_goes() {
    let mut target = Setup::new("subscriber=busy:1500").start();
    target.tell("init");
    let mut ring = target.ring();
    ring.control.acquire(&Ring::lease(kinds::KERNEL, Duration::from_secs(600))).unwrap();
    let report = ring.await_state(ShimState::Busy);
    assert_eq!(report.status, 39);
    assert_eq!(ring.function().as_deref(), Some("cuptiSubscribe"));
    assert_eq!(report.counter(Counter::CuptiErrors), 0);
    target.tell("launch 10");
    ring.await_state(ShimState::Armed);
    wait_for("no fault", || (ring.control.report().status == 0).then_some(()));
    target.tell("launch 9");
    target.tell("sync");
    ring.disarm();
    assert_kernels(&ring, 9);
    target.end_well();
}
