//! Buffers through all their states, alone and shared by threads.
//!
//! Enters: a pool of its own for each test. Leaves: assertions. Refuses: nothing.

use super::*;
use std::collections::HashSet;

fn pool() -> &'static Pool {
    Box::leak(Box::new(Pool::new()))
}

fn completed(pool: &Pool) -> Vec<Buffer> {
    let mut buffers = Vec::new();
    pool.take_completed(|buffer| buffers.push(buffer));
    buffers
}

#[test]
fn buffers_are_aligned_distinct_and_used_again() {
    let pool = pool();
    let taken: Vec<_> = (0..POOL).map(|_| pool.take(true).unwrap()).collect();
    assert!(taken.iter().all(|taken| taken.memory.addr().get().is_multiple_of(8) && !taken.extra));
    let addresses: HashSet<_> = taken.iter().map(|taken| taken.memory).collect();
    assert_eq!(addresses.len(), POOL);
    assert_eq!(pool.outstanding(), POOL);

    assert!(pool.complete(taken[3].memory.as_ptr(), 17));
    let [buffer] = completed(pool)[..] else { panic!("one buffer was completed") };
    assert_eq!(pool.records(buffer).len(), 17);
    pool.release(buffer);
    assert_eq!(pool.take(true).unwrap().memory, taken[3].memory);
}

#[test]
fn a_buffer_beyond_the_pool_is_extra_once() {
    let pool = pool();
    for _ in 0..POOL {
        pool.take(true).unwrap();
    }
    let extra = pool.take(true).unwrap();
    assert!(extra.extra);
    assert!(pool.complete(extra.memory.as_ptr(), 0));
    completed(pool).into_iter().for_each(|buffer| pool.release(buffer));
    assert!(!pool.take(true).unwrap().extra);
}

#[test]
fn an_old_cupti_is_not_refused_where_a_new_one_is() {
    let pool = pool();
    let taken = (0..).map_while(|_| pool.take(true)).count();
    assert_eq!(taken, BOUND);
    assert!(pool.take(true).is_none());
    let taken = (0..).map_while(|_| pool.take(false)).count();
    assert_eq!(taken, LIMIT - BOUND);
}

#[test]
fn foreign_doubled_and_inner_addresses_are_refused() {
    let pool = pool();
    let memory = pool.take(true).unwrap().memory.as_ptr();
    let foreign = [0u8; 8];
    assert!(!pool.complete(foreign.as_ptr(), 8));
    assert!(!pool.complete(ptr::null(), 8));
    assert!(!pool.complete(memory.wrapping_add(8), 8));
    // Never taken, though its chunk is mapped.
    assert!(!pool.complete(memory.wrapping_add(BUFFER_BYTES), 8));
    assert!(pool.complete(memory, 8));
    assert!(!pool.complete(memory, 8));
    assert_eq!(completed(pool).len(), 1);
}

#[test]
fn more_valid_bytes_than_a_buffer_has_are_cut() {
    let pool = pool();
    let memory = pool.take(true).unwrap().memory.as_ptr();
    pool.complete(memory, usize::MAX);
    assert_eq!(pool.records(completed(pool)[0]).len(), BUFFER_BYTES);
}

#[test]
fn trimmed_buffers_are_empty_and_usable() {
    let pool = pool();
    let memory = pool.take(true).unwrap().memory;
    // SAFETY: just taken, so ours.
    unsafe { memory.as_ptr().write(9) };
    pool.complete(memory.as_ptr(), 8);
    completed(pool).into_iter().for_each(|buffer| pool.release(buffer));
    pool.trim();
    let again = pool.take(true).unwrap().memory;
    assert_eq!(again, memory);
    // SAFETY: as above.
    assert_eq!(unsafe { again.as_ptr().read() }, 0);
}

#[test]
fn many_threads_never_share_a_buffer() {
    const THREADS: usize = 8;
    const ROUNDS: usize = 20_000;
    let pool = pool();
    let collected = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|number| {
                scope.spawn(move || {
                    let mut collected = 0;
                    for _ in 0..ROUNDS {
                        let memory = pool.take(false).unwrap().memory.cast::<usize>();
                        // SAFETY: a buffer that was taken is the taker's alone: the very claim under test.
                        unsafe { memory.as_ptr().write_volatile(number) };
                        std::hint::spin_loop();
                        // SAFETY: as above.
                        assert_eq!(unsafe { memory.as_ptr().read_volatile() }, number);
                        assert!(pool.complete(memory.as_ptr().cast(), 8));
                        pool.take_completed(|buffer| {
                            collected += 1;
                            pool.release(buffer);
                        });
                    }
                    collected
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum::<usize>()
    });
    assert_eq!(collected + completed(pool).len(), THREADS * ROUNDS);
    assert_eq!(pool.outstanding(), 0);
}
