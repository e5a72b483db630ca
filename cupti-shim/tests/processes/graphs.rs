//! CUDA graphs: those that were made before the shim was armed, and those that were not.

use gpu_agent_ring::layout::kinds;
use gpu_agent_ring::record::{GraphTrace, Kernel, flag};

use crate::target::{Ring, Setup};

/// CUPTI 12.4, on a driver that has it.
const TELLS: &str = "driver=12040,cupti_version=22";

/// Kernels outside graphs, in graphs that were seen in the making, in earlier ones, and in those of which nobody can tell.
fn kernels(ring: &Ring) -> [usize; 4] {
    let mut counts = [0; 4];
    for kernel in ring.of::<Kernel>() {
        let index = match (kernel.graph_id, kernel.flags & (flag::EARLIER_GRAPH | flag::UNDATED_GRAPH)) {
            (0, 0) => 0,
            (1.., 0) => 1,
            (1.., flag::EARLIER_GRAPH) => 2,
            (1.., flag::UNDATED_GRAPH) => 3,
            other => panic!("{other:?} contradicts itself"),
        };
        counts[index] += 1;
    }
    counts
}

#[test]
fn work_of_a_graph_from_before_is_told_from_that_of_later_ones() {
    let mut target = Setup::new(TELLS).start();
    target.tell("init");
    let mut ring = target.ring();
    target.tell("graph 3");
    target.tell("replay 0 2");
    ring.arm(kinds::KERNEL);
    target.tell("graph 5");
    target.tell("replay 0 4");
    target.tell("replay 1 10");
    target.tell("launch 7");
    target.tell("sync");
    ring.disarm();
    assert_eq!(kernels(&ring), [7, 50, 12, 0]);
    target.end_well();
}

#[test]
fn a_process_that_was_armed_from_the_start_has_no_earlier_graphs() {
    let mut target = Setup::new(TELLS).with("GPU_AGENT_ARM", "kernels").start();
    target.tell("init");
    let mut ring = target.ring();
    target.tell("graph 4");
    target.tell("replay 0 5");
    target.tell("sync");
    ring.read_until::<Kernel>(20);
    assert_eq!(kernels(&ring), [0, 20, 0, 0]);
    target.end_well();
}

#[test]
fn a_graph_that_was_made_between_two_leases_is_earlier_than_the_second() {
    let mut target = Setup::new(TELLS).start();
    target.tell("init");
    let mut ring = target.ring();
    ring.arm(kinds::KERNEL);
    target.tell("graph 1");
    ring.disarm();
    target.tell("graph 1");
    ring.arm(kinds::KERNEL);
    target.tell("replay 0 3");
    target.tell("replay 1 9");
    target.tell("sync");
    ring.disarm();
    assert_eq!(kernels(&ring), [0, 3, 9, 0]);
    target.end_well();
}

#[test]
fn whole_launches_are_told_apart_as_well() {
    let mut target = Setup::new(TELLS).start();
    target.tell("init");
    let mut ring = target.ring();
    target.tell("graph 1");
    ring.arm(kinds::KERNEL | kinds::GRAPH);
    target.tell("graph 1");
    target.tell("replay 0 4");
    target.tell("replay 1 6");
    target.tell("sync");
    ring.disarm();
    let wholes = ring.of::<GraphTrace>();
    let earlier = wholes.iter().filter(|whole| whole.flags & flag::EARLIER_GRAPH != 0).count();
    assert_eq!((wholes.len(), earlier), (10, 4));
    target.end_well();
}

#[test]
fn where_cupti_cannot_tell_nothing_is_called_earlier() {
    // Before 12.3; and one that does not know the callback, or does not number a graph.
    for simulator in [
        "cupti_version=20",
        "cupti_version=22,fail=cuptiEnableCallback:27",
        "cupti_version=22,fail=cuptiGetGraphExecId:999",
    ] {
        let mut target = Setup::new(&format!("driver=12040,{simulator}")).start();
        target.tell("init");
        let mut ring = target.ring();
        target.tell("graph 2");
        ring.arm(kinds::KERNEL);
        target.tell("graph 2");
        target.tell("replay 0 3");
        target.tell("replay 1 4");
        target.tell("sync");
        ring.disarm();
        assert_eq!(kernels(&ring), [0, 0, 0, 14], "{simulator}");
        target.end_well();
    }
}
