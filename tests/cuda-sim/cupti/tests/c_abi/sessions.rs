//! Before `libcuda`, after `cuptiFinalize`.

use crate::client::{flushed, listen, returned};
use crate::correlations;
use crate::mock::{
    end, enqueue, finalize_at_exit, run_kernels, session, subscribe_to_finalize, wanted_bits, work,
};
use cuda_sim_abi::activity;
use cuda_sim_cupti::entry::activity::{cuptiActivityEnable, cuptiActivityFlushAll};
use cuda_sim_cupti::kind;
use cuda_sim_cupti::status::Status;
use std::time::{Duration, Instant};

fn worker_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name.trim() == "cupti-worker").count()
}

/// A thread names itself a moment after it was started, and leaves /proc a moment after it was joined.
fn assert_worker_threads(expected: usize) {
    let begun = Instant::now();
    while worker_threads() != expected {
        assert!(begun.elapsed() < Duration::from_secs(5), "{} worker threads", worker_threads());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn finalize_ends_everything_and_a_new_beginning_works() {
    let _turn = session("");
    subscribe_to_finalize();
    listen(4096, &[kind::CONCURRENT_KERNEL, kind::GRAPH_TRACE, kind::DRIVER]);
    let in_flight = work(activity::KERNEL, 1);
    enqueue(&in_flight);
    assert_worker_threads(1);
    assert_eq!(finalize_at_exit(), Status::SUCCESS);
    assert_eq!(wanted_bits(), 0);
    assert_worker_threads(0);
    end(&in_flight);
    assert_eq!(cuptiActivityFlushAll(1), Status::INVALID_OPERATION, "callbacks are gone");
    assert_eq!(returned(), 0, "what was not flushed is lost");
    listen(4096, &[kind::CONCURRENT_KERNEL]);
    let mut node = work(activity::KERNEL, 2);
    node.graph_id = 3;
    enqueue(&node);
    end(&node);
    assert_eq!(correlations(&flushed()), [2], "node level again");
    assert_worker_threads(1);
}

#[test]
fn subscribing_again_returns_to_node_level() {
    let _turn = session("");
    listen(4096, &[kind::CONCURRENT_KERNEL, kind::GRAPH_TRACE]);
    use cuda_sim_cupti::entry::{activity as entry, callback};
    assert_eq!(entry::cuptiActivityDisable(kind::GRAPH_TRACE), Status::SUCCESS);
    let mut handle = core::ptr::null_mut();
    // SAFETY: `handle` is valid for a write.
    let status = unsafe { callback::cuptiSubscribe(&raw mut handle, None, core::ptr::null_mut()) };
    assert_eq!(status, Status::SUCCESS);
    let mut node = work(activity::KERNEL, 2);
    node.graph_id = 3;
    enqueue(&node);
    end(&node);
    assert_eq!(correlations(&flushed()), [2]);
}

#[test]
fn no_thread_runs_before_anything_is_enabled() {
    let _turn = session("");
    listen(4096, &[]);
    assert_eq!(worker_threads(), 0);
    assert_eq!(cuptiActivityEnable(kind::MEMCPY), Status::SUCCESS);
    assert_worker_threads(1);
    run_kernels(1, 1);
}
