//! Who fills, completes and loses buffers.

use crate::client::{
    BUFFER_BYTES, MAX_RECORDS, REQUESTS, Record, buffers, completed, dropped, flushed, forced, listen,
    records, requested, reset, returned, wait_for_buffers,
};
use crate::mock::{end, enqueue, run, run_kernels, session, work};
use crate::{KERNEL_END, KERNEL_START, KERNEL9, correlations};
use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, Ordering};
use cuda_sim_abi::activity;
use cuda_sim_cupti::entry::activity::{
    cuptiActivityEnable, cuptiActivityFlushAll, cuptiActivityFlushPeriod, cuptiActivityGetNextRecord,
    cuptiActivityRegisterCallbacks,
};
use cuda_sim_cupti::entry::attribute::{cuptiActivityGetAttribute, cuptiActivitySetAttribute};
use cuda_sim_cupti::kind;
use cuda_sim_cupti::status::Status;
use std::time::{Duration, Instant};

const KERNELS: &[u32] = &[kind::CONCURRENT_KERNEL];

fn times(record: &Record) -> (u64, u64) {
    (record.u64(KERNEL_START), record.u64(KERNEL_END))
}

#[test]
fn default_flush_keeps_a_buffer_with_unfinished_work() {
    let _turn = session("");
    listen(4096, KERNELS);
    let slow = work(activity::KERNEL, 2);
    run_kernels(1, 1);
    enqueue(&slow);
    run_kernels(3, 1);
    assert_eq!(flushed(), []);
    end(&slow);
    let records = flushed();
    assert_eq!(correlations(&records), [1, 2, 3], "in the order of the launches");
    assert!(records.iter().all(|record| times(record).1 - times(record).0 == 1000));
}

#[test]
fn forced_flush_hands_out_unfinished_work_without_times_and_its_end_is_ignored() {
    let _turn = session("");
    listen(4096, KERNELS);
    let slow = work(activity::KERNEL, 2);
    run_kernels(1, 1);
    enqueue(&slow);
    let records = forced();
    assert_eq!(correlations(&records), [1, 2]);
    assert_ne!(times(&records[0]), (0, 0));
    assert_eq!(times(&records[1]), (0, 0));
    end(&slow);
    run_kernels(3, 1);
    assert_eq!(correlations(&flushed()), [3], "delivered once, and the buffer not touched again");
    assert_eq!(dropped(), 0);
}

#[test]
fn full_buffers_come_back_from_cuptis_own_thread_without_a_flush() {
    let _turn = session("");
    listen(10 * KERNEL9 + 96, KERNELS);
    run_kernels(1, 25);
    let back = wait_for_buffers(2);
    // SAFETY: gettid has no preconditions.
    let own = unsafe { libc::gettid() };
    assert!(back.iter().all(|buffer| buffer.bytes.len() == 10 * KERNEL9 && buffer.tid != own));
    assert_eq!(flushed().len(), 5);
    assert_eq!(REQUESTS.load(Ordering::SeqCst), 3);
}

#[test]
fn full_buffers_with_unfinished_work_wait_for_it() {
    let _turn = session("");
    listen(2 * KERNEL9, KERNELS);
    let slow = work(activity::KERNEL, 1);
    enqueue(&slow);
    run_kernels(2, 3);
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(returned(), 0);
    end(&slow);
    assert_eq!(wait_for_buffers(1)[0].bytes.len(), 2 * KERNEL9);
}

#[test]
fn max_records_ends_a_buffer() {
    let _turn = session("");
    listen(1 << 16, KERNELS);
    MAX_RECORDS.store(3, Ordering::SeqCst);
    run_kernels(1, 7);
    assert!(wait_for_buffers(2).iter().all(|buffer| buffer.bytes.len() == 3 * KERNEL9));
    assert_eq!(flushed().len(), 1);
}

#[test]
fn flush_period_returns_full_buffers_at_its_ticks_only() {
    let _turn = session("");
    listen(2 * KERNEL9, KERNELS);
    assert_eq!(cuptiActivityFlushPeriod(200), Status::SUCCESS);
    std::thread::sleep(Duration::from_millis(20));
    let begun = Instant::now();
    run_kernels(1, 5);
    let back = wait_for_buffers(2);
    assert!(back[0].at.duration_since(begun) > Duration::from_millis(100), "not before the tick");
    std::thread::sleep(Duration::from_millis(450));
    assert_eq!(returned(), 0, "never a buffer that is not full");
    assert_eq!(flushed().len(), 1);
}

#[test]
fn declined_buffers_drop_records_and_count_them_exactly() {
    let _turn = session("cupti_version=28");
    listen(0, KERNELS);
    run_kernels(1, 5);
    assert_eq!(dropped(), 5);
    assert_eq!(dropped(), 0, "reset by reading");
    BUFFER_BYTES.store(4096, Ordering::SeqCst);
    run_kernels(6, 2);
    assert_eq!(correlations(&flushed()), [6, 7]);
    assert_eq!(dropped(), 0);
}

#[test]
fn buffers_too_small_for_one_record_come_back_empty_and_the_record_is_dropped() {
    let _turn = session("");
    listen(KERNEL9 - 8, KERNELS);
    run_kernels(1, 3);
    assert_eq!(dropped(), 3);
    let back = buffers();
    assert_eq!(back.len(), 3);
    assert!(back.iter().all(|buffer| buffer.bytes.is_empty()));
}

#[test]
fn records_before_callbacks_are_registered_are_dropped_and_counted() {
    let _turn = session("");
    reset(4096);
    assert_eq!(cuptiActivityEnable(kind::CONCURRENT_KERNEL), Status::SUCCESS);
    assert_eq!(cuptiActivityFlushAll(0), Status::INVALID_OPERATION);
    run_kernels(1, 4);
    assert_eq!(dropped(), 4);
    assert_eq!(cuptiActivityRegisterCallbacks(Some(requested), Some(completed)), Status::SUCCESS);
    run_kernels(5, 1);
    assert_eq!(correlations(&flushed()), [5]);
    assert_eq!(cuptiActivityRegisterCallbacks(None, Some(completed)), Status::INVALID_PARAMETER);
}

#[test]
fn a_second_registration_takes_over_silently() {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    unsafe extern "C" fn take(context: *mut c_void, stream: u32, buffer: *mut u8, size: usize, valid: usize) {
        TAKEN.fetch_add(1, Ordering::SeqCst);
        // SAFETY: passed through.
        unsafe { completed(context, stream, buffer, size, valid) }
    }
    let _turn = session("");
    listen(4096, KERNELS);
    assert_eq!(cuptiActivityRegisterCallbacks(Some(requested), Some(take)), Status::SUCCESS);
    run_kernels(1, 1);
    assert_eq!(flushed().len(), 1);
    assert_eq!(TAKEN.load(Ordering::SeqCst), 1);
}

#[test]
fn flush_from_inside_a_buffer_callback_is_refused() {
    static INSIDE: AtomicU32 = AtomicU32::new(0);
    unsafe extern "C" fn flushing(
        context: *mut c_void,
        stream: u32,
        buffer: *mut u8,
        size: usize,
        valid: usize,
    ) {
        INSIDE.store(cuptiActivityFlushAll(0).0, Ordering::SeqCst);
        // SAFETY: passed through.
        unsafe { completed(context, stream, buffer, size, valid) }
    }
    let _turn = session("");
    listen(4096, KERNELS);
    cuptiActivityRegisterCallbacks(Some(requested), Some(flushing));
    run_kernels(1, 1);
    assert_eq!(flushed().len(), 1);
    assert_eq!(INSIDE.load(Ordering::SeqCst), Status::INVALID_OPERATION.0);
}

#[test]
fn one_buffer_for_all_threads_or_one_for_each() {
    for (text, expected) in
        [("buffers=global", 1), ("buffers=thread", 4), ("cupti_gen=9", 1), ("cupti_gen=10", 4)]
    {
        let _turn = session(text);
        listen(1 << 16, KERNELS);
        let barrier = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let barrier = &barrier;
                scope.spawn(move || {
                    run_kernels(thread * 100, 10);
                    barrier.wait();
                });
            }
        });
        assert_eq!(REQUESTS.load(Ordering::SeqCst), expected, "{text}");
        let mut ids = correlations(&flushed());
        ids.sort_unstable();
        let expected: Vec<u32> = (0..4).flat_map(|thread| thread * 100..thread * 100 + 10).collect();
        assert_eq!(ids, expected, "what ended threads left is flushed too");
    }
}

#[test]
fn the_per_thread_attribute_decides() {
    let _turn = session("cupti_version=22");
    let (mut size, mut value) = (1_usize, 9_u8);
    // SAFETY: pointers to one byte and its size.
    unsafe {
        let value = (&raw mut value).cast();
        assert_eq!(cuptiActivityGetAttribute(9, &raw mut size, value), Status::SUCCESS);
    }
    assert_eq!((size, value), (1, 0), "the default below 13.0");
    value = 1;
    // SAFETY: as above.
    unsafe {
        let value = (&raw mut value).cast();
        assert_eq!(cuptiActivitySetAttribute(9, &raw mut size, value), Status::SUCCESS);
    }
    listen(4096, KERNELS);
    run_kernels(1, 1);
    std::thread::scope(|scope| {
        scope.spawn(|| run_kernels(2, 1));
    });
    assert_eq!(REQUESTS.load(Ordering::SeqCst), 2);
}

struct Sent(cuda_sim_abi::Activity);

// SAFETY: the name is a static string; everything else is plain numbers.
unsafe impl Send for Sent {}

#[test]
fn many_threads_account_for_every_record() {
    const THREADS: u32 = 8;
    const EACH: u32 = 3000;
    for text in
        ["buffers=global", "buffers=thread", "buffers=thread,partial=on,reorder=on,drop_every=7,late_ms=1"]
    {
        let _turn = session(text);
        listen(16 * 1024, KERNELS);
        let (sender, receiver) = std::sync::mpsc::sync_channel::<Sent>(512);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let sender = sender.clone();
                scope.spawn(move || {
                    for index in 0..EACH {
                        let kernel = work(activity::KERNEL, thread * EACH + index);
                        enqueue(&kernel);
                        sender.send(Sent(kernel)).unwrap();
                    }
                });
            }
            drop(sender);
            scope.spawn(move || {
                while let Ok(Sent(kernel)) = receiver.recv() {
                    end(&kernel);
                }
            });
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(cuptiActivityFlushAll(0), Status::SUCCESS);
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        });
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(cuptiActivityFlushAll(0), Status::SUCCESS);
        let lost = dropped();
        let records = records();
        let mut ids = correlations(&records);
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len() + lost, (THREADS * EACH) as usize, "{text}: each once, or counted");
        assert_eq!(ids.len(), records.len(), "{text}: none twice");
        assert_eq!(lost, if text.contains("drop") { (THREADS * EACH / 7) as usize } else { 0 }, "{text}");
        assert!(records.iter().all(|record| times(record).0 != 0), "{text}");
    }
}

#[test]
fn walking_ends_as_in_the_real_library() {
    let _turn = session("");
    let mut words = [0_u64; 64];
    let mut next = |kind: u32, valid: usize| {
        words[0] = u64::from(kind);
        let mut record = core::ptr::null_mut();
        // SAFETY: `valid` bytes of `words`; `record` is NULL at the start.
        unsafe { cuptiActivityGetNextRecord(words.as_mut_ptr().cast(), valid, &raw mut record) }
    };
    assert_eq!(next(0, 512), Status::INVALID_KIND);
    assert_eq!(next(99, 512), Status::INVALID_KIND);
    assert_eq!(next(10, 0), Status::MAX_LIMIT_REACHED);
    assert_eq!(next(10, KERNEL9 - 8), Status::MAX_LIMIT_REACHED);
    assert_eq!(next(10, KERNEL9), Status::SUCCESS);
    let null = core::ptr::null_mut();
    // SAFETY: NULL is refused.
    unsafe {
        assert_eq!(
            cuptiActivityGetNextRecord(words.as_mut_ptr().cast(), 512, null),
            Status::INVALID_PARAMETER
        );
    }
}

#[test]
fn empty_buffers_stay_until_something_is_in_them() {
    let _turn = session("");
    listen(4096, KERNELS);
    run(&work(activity::KERNEL, 1));
    assert_eq!(flushed().len(), 1);
    assert_eq!(forced(), []);
    assert_eq!(returned(), 0);
}
