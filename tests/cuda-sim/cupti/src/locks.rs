//! Taking locks: a poisoned one is taken as it is, and one that nobody lets go of ends the process with a reason.
//!
//! Enters: mutexes. Leaves: guards. Refuses: to wait for ever where the real CUPTI would hang the program.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// How long a lock may be held against a client before the simulator calls it a deadlock.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes the lock, whatever a thread that panicked under it left behind.
pub(crate) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the lock; after 5 s prints `why` and aborts, so that a test sees the deadlock instead of hanging in it.
pub(crate) fn hold_or_abort<'a, T>(mutex: &'a Mutex<T>, why: &str) -> MutexGuard<'a, T> {
    let begun = Instant::now();
    loop {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
            Err(TryLockError::WouldBlock) if begun.elapsed() > PATIENCE => die(why),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Ends the process the way a crash of the real library would, but with its reason on stderr.
pub(crate) fn die(why: &str) -> ! {
    eprintln!("simulated CUPTI: {why}");
    std::process::abort()
}
