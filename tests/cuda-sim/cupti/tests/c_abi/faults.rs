//! The failure modes of `GPU_AGENT_CUDA_SIM`.

use crate::client::{Returned, buffers, dropped, flushed, forced, listen, wait_for_buffers, walk};
use crate::mock::{end, enqueue, run_kernels, session, work};
use crate::{KERNEL_END, KERNEL_START, KERNEL9, correlations};
use cuda_sim_abi::activity;
use cuda_sim_cupti::entry::activity::{cuptiActivityEnable, cuptiActivityFlushAll};
use cuda_sim_cupti::kind;
use cuda_sim_cupti::status::Status;
use std::time::{Duration, Instant};

const KERNELS: &[u32] = &[kind::CONCURRENT_KERNEL];

#[test]
fn drop_every_nth_is_counted_exactly() {
    let _turn = session("drop_every=4");
    listen(1 << 16, KERNELS);
    run_kernels(1, 22);
    assert_eq!(dropped(), 5);
    let kept: Vec<u32> = (1..=22).filter(|id| id % 4 != 0).collect();
    assert_eq!(correlations(&flushed()), kept);
}

#[test]
fn reorder_shuffles_a_buffer_and_loses_nothing() {
    let _turn = session("reorder=on");
    listen(1 << 16, KERNELS);
    run_kernels(1, 100);
    let ids = correlations(&flushed());
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (1..=100).collect::<Vec<_>>());
    assert_ne!(ids, sorted);
}

#[test]
fn partial_buffers_vary_in_length_and_some_are_empty() {
    let _turn = session("partial=on");
    listen(100 * KERNEL9, KERNELS);
    run_kernels(1, 2000);
    assert_eq!(cuptiActivityFlushAll(0), Status::SUCCESS);
    let back = buffers();
    let mut lengths: Vec<_> = back.iter().map(|buffer: &Returned| buffer.bytes.len()).collect();
    lengths.sort_unstable();
    lengths.dedup();
    assert!(lengths.len() > 5 && lengths[0] == 0, "{lengths:?}");
    let mut ids: Vec<_> = back.iter().flat_map(|buffer| correlations(&walk(&buffer.bytes))).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=2000).collect::<Vec<_>>());
}

#[test]
fn late_times_keep_records_back_until_they_come() {
    let _turn = session("late_ms=150");
    listen(4096, KERNELS);
    run_kernels(1, 3);
    assert_eq!(flushed(), [], "ended, but CUPTI does not know");
    std::thread::sleep(Duration::from_millis(200));
    let records = flushed();
    assert_eq!(correlations(&records), [1, 2, 3]);
    assert!(records.iter().all(|record| record.u64(KERNEL_END) != 0));
    run_kernels(4, 1);
    let records = forced();
    assert_eq!((records[0].u64(KERNEL_START), records[0].u64(KERNEL_END)), (0, 0), "forced before they came");
}

#[test]
fn incomplete_withholds_times_of_some_records() {
    let _turn = session("incomplete=on");
    listen(1 << 20, KERNELS);
    run_kernels(1, 1600);
    let records = flushed();
    let without = records.iter().filter(|record| record.u64(KERNEL_END) == 0).count();
    assert_eq!(records.len(), 1600);
    assert!((50..150).contains(&without), "about one in 16: {without}");
}

#[test]
fn larger_records_are_walked_by_their_own_stride() {
    let _turn = session("larger=24");
    listen(1 << 16, KERNELS);
    run_kernels(1, 3);
    let records = flushed();
    assert_eq!(correlations(&records), [1, 2, 3]);
    assert!(records.iter().all(|record| record.bytes.len() == KERNEL9 + 24));
    assert_eq!(records[0].bytes[KERNEL9..], [0xA5; 24]);
}

#[test]
fn records_of_unknown_kind_stand_between_the_others() {
    let _turn = session("unknown_kind=on");
    listen(1 << 20, KERNELS);
    run_kernels(1, 1600);
    let records = flushed();
    let known: Vec<_> = records.iter().filter(|record| record.kind == 10).cloned().collect();
    assert_eq!(correlations(&known), (1..=1600).collect::<Vec<_>>());
    assert!((50..150).contains(&(records.len() - known.len())));
    assert!(records.iter().all(|record| [10, kind::UNKNOWN_TO_ALL].contains(&record.kind)));
}

#[test]
fn named_functions_fail_once_or_always() {
    let _turn = session("fail=cuptiActivityEnable:15@2;cuptiActivityFlushAll:999");
    listen(4096, &[]);
    let enable = || cuptiActivityEnable(kind::MEMCPY);
    assert_eq!([(); 3].map(|()| enable()), [Status::SUCCESS, Status::NOT_INITIALIZED, Status::SUCCESS]);
    assert_eq!([(); 2].map(|()| cuptiActivityFlushAll(0)), [Status::UNKNOWN; 2]);
}

#[test]
fn slow_completion_delays_the_buffers() {
    let _turn = session("slow_complete_us=100000");
    listen(KERNEL9, KERNELS);
    let begun = Instant::now();
    run_kernels(1, 2);
    let back = wait_for_buffers(1);
    assert!(back[0].at.duration_since(begun) >= Duration::from_millis(100));
}

#[test]
fn faults_together_still_account_for_every_record() {
    let _turn = session(
        "partial=on,reorder=on,drop_every=5,incomplete=on,larger=16,unknown_kind=on,late_ms=5,buffers=thread",
    );
    listen(20 * KERNEL9, KERNELS);
    let works: Vec<_> = (1..=1000).map(|id| work(activity::KERNEL, id)).collect();
    works.iter().for_each(|work| assert!(enqueue(work)));
    for work in &works {
        end(work);
    }
    std::thread::sleep(Duration::from_millis(50));
    let records = flushed();
    let ours = records.iter().filter(|record| record.kind == 10).count();
    assert_eq!(ours + dropped(), 1000);
}
