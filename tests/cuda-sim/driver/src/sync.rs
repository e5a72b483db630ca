//! Waiting and waking: a counter that threads can wait on, and locks that survive a panic.
//!
//! Enters: progress made by one thread. Leaves: threads that waited for it, woken. Refuses: to wait in a system
//! call for what comes within microseconds, and to spin for longer than that.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// How long a thread spins before it blocks, in turns of `yield_now`: a few microseconds.
const TURNS: u32 = 20;

/// Locks; a panic of another thread while it held the lock leaves data that is still whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As [`lock`], shared.
pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// As [`lock`], exclusive.
pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// A number that only grows, and that threads wait for.
#[derive(Default)]
pub(crate) struct Progress {
    value: AtomicU64,
    waiters: AtomicU32,
    turn: Mutex<()>,
    changed: Condvar,
}

impl Progress {
    /// The number reached so far.
    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.value.load(Ordering::Acquire)
    }

    /// Raises the number to `value`, and wakes who waits; no system call when nobody does.
    #[inline]
    pub(crate) fn advance(&self, value: u64) {
        self.value.fetch_max(value, Ordering::Release);
        fence(Ordering::SeqCst);
        if self.waiters.load(Ordering::Relaxed) != 0 {
            let _turn = lock(&self.turn);
            self.changed.notify_all();
        }
    }

    /// Returns once the number is at least `value`.
    pub(crate) fn wait_for(&self, value: u64) {
        for _ in 0..TURNS {
            if self.get() >= value {
                return;
            }
            std::thread::yield_now();
        }
        self.waiters.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let mut turn = lock(&self.turn);
        while self.get() < value {
            turn = self.changed.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
        drop(turn);
        self.waiters.fetch_sub(1, Ordering::Relaxed);
    }
}
