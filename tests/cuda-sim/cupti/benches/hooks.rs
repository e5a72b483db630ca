//! Cost of the simulated CUPTI on the threads that call it, nanoseconds a record.
//!
//! Enters: a mock of the simulated `libcuda`. Leaves: criterion's estimates. Refuses nothing. Buffers are 256 KiB and
//! recycled, so that no allocation is measured.

#![allow(unsafe_code, reason = "calls C functions as a client does")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark fails by panicking")]
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

#[allow(dead_code, reason = "shared with the tests")]
#[path = "../tests/c_abi/mock.rs"]
mod mock;

use core::ffi::c_void;
use core::hint::black_box;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use cuda_sim_abi::{Activity, activity, domain};
use cuda_sim_cupti::entry::activity::{
    cuptiActivityEnable, cuptiActivityGetNextRecord, cuptiActivityRegisterCallbacks,
};
use cuda_sim_cupti::kind;
use cuda_sim_cupti::status::Status;
use std::sync::Mutex;

const BUFFER_BYTES: usize = 256 * 1024;

struct Memory(*mut u8);

// SAFETY: plain memory, owned by whoever took it from the pool.
unsafe impl Send for Memory {}

static POOL: Mutex<Vec<Memory>> = Mutex::new(Vec::new());

unsafe extern "C" fn requested(buffer: *mut *mut u8, size: *mut usize, max_records: *mut usize) {
    let recycled = POOL.lock().unwrap().pop();
    let memory = recycled.unwrap_or_else(|| {
        Memory(Box::leak(vec![0_u64; BUFFER_BYTES / 8].into_boxed_slice()).as_mut_ptr().cast())
    });
    // SAFETY: CUPTI passes valid pointers.
    unsafe {
        *buffer = memory.0;
        *size = BUFFER_BYTES;
        *max_records = 0;
    }
}

unsafe extern "C" fn completed(_: *mut c_void, _: u32, buffer: *mut u8, _: usize, _: usize) {
    POOL.lock().unwrap().push(Memory(buffer));
}

fn listen(kinds: &[u32]) {
    assert_eq!(cuptiActivityRegisterCallbacks(Some(requested), Some(completed)), Status::SUCCESS);
    for &kind in kinds {
        assert_eq!(cuptiActivityEnable(kind), Status::SUCCESS);
    }
}

/// As on a launching thread and a device's thread, one after the other.
fn kernel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("simulated CUPTI");
    group.throughput(Throughput::Elements(1));
    for text in ["buffers=global", "buffers=thread", "cupti_gen=13"] {
        let _turn = mock::session(text);
        listen(&[kind::CONCURRENT_KERNEL]);
        let mut work = mock::work(activity::KERNEL, 1);
        group.bench_function(format!("kernel, enqueue and end, {text}"), |bencher| {
            bencher.iter(|| {
                work.sequence += 1;
                mock::enqueue(black_box(&work));
                mock::end_at(black_box(&work), 1_000, 2_000);
            });
        });
        group.bench_function(format!("kernel, end alone, {text}"), |bencher| {
            bencher.iter(|| {
                work.sequence += 1;
                mock::end_at(black_box(&work), 1_000, 2_000);
            });
        });
    }
    let _turn = mock::session("");
    listen(&[kind::DRIVER]);
    group.bench_function("API call", |bencher| {
        bencher.iter(|| mock::exit_api(domain::DRIVER, black_box(307), 1, 0));
    });
    group.finish();
}

/// Two launching threads, two devices' threads: what they hold each other up.
fn contended(criterion: &mut Criterion) {
    const RECORDS: u64 = 100_000;
    let mut group = criterion.benchmark_group("simulated CUPTI, 2 launching and 2 device threads");
    group.throughput(Throughput::Elements(2 * RECORDS));
    group.sample_size(10);
    for text in ["buffers=global", "buffers=thread"] {
        let _turn = mock::session(text);
        listen(&[kind::CONCURRENT_KERNEL]);
        group.bench_function(format!("kernels, {text}"), |bencher| {
            bencher.iter(|| std::thread::scope(|scope| (0..2).for_each(|_| launch_and_run(scope, RECORDS))));
        });
    }
    group.finish();
}

struct Sent(Vec<Activity>);

// SAFETY: the name is a static string; everything else is plain numbers.
unsafe impl Send for Sent {}

fn launch_and_run<'scope>(scope: &'scope std::thread::Scope<'scope, '_>, records: u64) {
    let (sender, receiver) = std::sync::mpsc::channel::<Sent>();
    scope.spawn(move || {
        for _ in 0..records / 100 {
            let works: Vec<_> = (0..100).map(|id| mock::work(activity::KERNEL, id)).collect();
            for work in &works {
                mock::enqueue(work);
            }
            sender.send(Sent(works)).unwrap();
        }
    });
    scope.spawn(move || {
        while let Ok(Sent(works)) = receiver.recv() {
            for work in &works {
                mock::end_at(work, 1_000, 2_000);
            }
        }
    });
}

/// A client that walks a buffer of 1,000 kernel records.
fn walk(criterion: &mut Criterion) {
    const RECORDS: usize = 1_000;
    let _turn = mock::session("");
    let mut words = [0_u64; RECORDS * 26];
    words.iter_mut().step_by(26).for_each(|word| *word = u64::from(kind::CONCURRENT_KERNEL));
    let mut group = criterion.benchmark_group("simulated CUPTI");
    group.throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function("cuptiActivityGetNextRecord", |bencher| {
        bencher.iter(|| {
            let mut record = core::ptr::null_mut();
            let start = words.as_mut_ptr().cast();
            let mut found = 0;
            // SAFETY: the words are valid, and `record` is what the function returned.
            while unsafe { cuptiActivityGetNextRecord(start, size_of_val(&words), &raw mut record) }
                == Status::SUCCESS
            {
                found += 1;
            }
            assert_eq!(found, RECORDS);
        });
    });
    group.finish();
}

criterion_group!(hooks, kernel, contended, walk);
criterion_main!(hooks);
