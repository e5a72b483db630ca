//! A few threads that do the same work for many processes, so that one that is slow or stuck delays few others.
//!
//! Enters: jobs. Leaves: whatever the work sends. Refuses: more threads than it was given; to start a job once it is over.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc as blocking};

use tokio::sync::mpsc;

/// Threads that wait for jobs. Once this is dropped, each ends after the job that it is at, and begins no other.
pub(super) struct Crew<J> {
    // Dropped first, so that no job is begun for want of a sender.
    over: Ender,
    jobs: blocking::Sender<J>,
    /// Nothing ever comes: it closes when the last thread has ended.
    threads: mpsc::Receiver<Infallible>,
}

/// Whether no more work is wanted.
#[derive(Debug, Clone, Default)]
pub(super) struct Over(Arc<AtomicBool>);

impl Over {
    pub(super) fn is_now(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Says that no more work is wanted once it is dropped.
struct Ender(Over);

impl Drop for Ender {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

impl<J: Send + 'static> Crew<J> {
    /// Starts so many `threads` that `work`.
    pub(super) fn start(threads: usize, work: impl Fn(J, &Over) + Send + Sync + 'static) -> io::Result<Self> {
        let (jobs, received) = blocking::channel();
        let (alive, ended) = mpsc::channel(1);
        let (received, work, over) = (Arc::new(Mutex::new(received)), Arc::new(work), Over::default());
        for _ in 0..threads {
            let (received, work, over) = (Arc::clone(&received), Arc::clone(&work), over.clone());
            let alive = alive.clone();
            std::thread::Builder::new().name("gpu-agent-attach".to_owned()).spawn(move || {
                let _alive = alive;
                while let Some(job) = next(&received)
                    && !over.is_now()
                {
                    work(job, &over);
                }
            })?;
        }
        Ok(Self { over: Ender(over), jobs, threads: ended })
    }

    /// Hands a job to the next thread that is free.
    pub(super) fn give(&self, job: J) {
        // Without a thread there is nobody to do it; whoever waits for an answer sees that its sender is gone.
        let _ = self.jobs.send(job);
    }

    /// Lets go of jobs that nobody has begun, and waits until those under way are done.
    pub(super) async fn end(self) {
        let Self { over, jobs, mut threads } = self;
        drop(over);
        drop(jobs);
        while threads.recv().await.is_some() {}
    }
}

/// The next job. The lock is held while waiting: the other threads wait for it.
fn next<J>(received: &Mutex<blocking::Receiver<J>>) -> Option<J> {
    received.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::Crew;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn a_job_that_is_stuck_holds_up_one_thread_only() {
        let (free, stuck) = mpsc::channel::<()>();
        let stuck = std::sync::Mutex::new(stuck);
        let (done, jobs) = mpsc::channel();
        let crew = Crew::start(2, move |job: u32, _| {
            if job == 0 {
                let _ = stuck.lock().unwrap().recv();
            }
            done.send(job).unwrap();
        })
        .unwrap();
        (0..100).for_each(|job| crew.give(job));
        for expected in 1..100 {
            assert_eq!(jobs.recv_timeout(PATIENCE).unwrap(), expected);
        }
        drop(free);
        assert_eq!(jobs.recv_timeout(PATIENCE).unwrap(), 0);
    }

    #[tokio::test]
    async fn an_end_waits_for_the_job_under_way_and_begins_no_other() {
        let (began, begun) = mpsc::channel();
        let (done, jobs) = mpsc::channel();
        let crew = Crew::start(1, move |job: u32, over| {
            began.send(()).unwrap();
            while !over.is_now() {
                std::thread::yield_now();
            }
            done.send(job).unwrap();
        })
        .unwrap();
        crew.give(1);
        crew.give(2);
        begun.recv_timeout(PATIENCE).unwrap();
        crew.end().await;
        assert_eq!(jobs.try_iter().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_crew_that_is_dropped_begins_no_job_that_waits() {
        let (began, begun) = mpsc::channel();
        let (free, stuck) = mpsc::channel::<()>();
        let stuck = std::sync::Mutex::new(stuck);
        let crew = Crew::start(1, move |job: u32, _| {
            began.send(job).unwrap();
            let _ = stuck.lock().unwrap().recv();
        })
        .unwrap();
        crew.give(1);
        crew.give(2);
        assert_eq!(begun.recv_timeout(PATIENCE).unwrap(), 1);
        drop(crew);
        drop(free);
        // The thread ends, and with it the work that holds the sender.
        assert_eq!(begun.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
    }
}
