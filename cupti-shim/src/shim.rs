//! The shim of this process: its ring, its control page, and what all its threads share.
//!
//! Enters: [`Settings`]. Leaves: one [`Shim`] a process, never freed, so that a callback of CUPTI that comes late finds
//! it. Refuses: to live on in a child made by `fork`: there the ring's mapping is gone, and the child has no shim until
//! it initialises CUDA itself.

mod file;

use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use core::time::Duration;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};

use gpu_agent_ring::control::mono_ns;
use gpu_agent_ring::layout::Counter;
use gpu_agent_ring::writer::Identity;
use gpu_agent_ring::{CreateError, ShimControl, Writer, announce};

use self::file::File;
use crate::activity::{Copier, Source};
use crate::arming::Callbacks;
use crate::buffer_pool::Pool;
use crate::env::Settings;
use crate::finalize::Finalizer;
use crate::locate::{Driver, LocateError, locate};
use crate::outlet::{Limits, Outlet, TURN, patiently};

/// All activity buffers of the process. Not in [`Shim`], because a child made by `fork` may be asked for one before it
/// has a shim.
pub static POOL: Pool = Pool::new();

/// How long records of a flush are copied whose agent has released its lease meanwhile.
const LAST_FLUSH: Duration = Duration::from_secs(1);

static CURRENT: AtomicPtr<Shim> = AtomicPtr::new(core::ptr::null_mut());

/// See the module.
#[derive(Debug)]
pub struct Shim {
    /// The control page.
    pub control: ShimControl,
    /// The way into the ring.
    pub outlet: Outlet,
    /// What CUPTI is given to call.
    pub callbacks: Callbacks,
    /// Where CUPTI is taken out of the process.
    pub finalizer: Finalizer,
    /// The files behind ring and control page.
    files: [File; 2],
    cupti_path: Option<PathBuf>,
    source: OnceLock<Source>,
    /// The session was once switched to graph level, which CUPTI cannot take back.
    graph_level: AtomicBool,
    /// When the periodic flush began that is under way, CLOCK_MONOTONIC ns; 0 if none is.
    flushing_since_ns: AtomicU64,
    exit: Exit,
}

/// The meeting of the thread that ends the process and the shim's own.
#[derive(Debug)]
struct Exit {
    requested: AtomicBool,
    /// Whether the shim's thread is through; also true while there is no such thread.
    done: Mutex<bool>,
    changed: Condvar,
}

impl Shim {
    /// Creates ring and control page, and tells whoever wants to be told.
    ///
    /// # Errors
    /// The shared memory cannot be had.
    pub fn create(settings: &Settings, callbacks: Callbacks) -> Result<Self, CreateError> {
        let identity = Identity {
            ring_id: random(),
            pid: std::process::id(),
            start_time_ticks: start_time_ticks(),
            simulated: Driver::of_this_process().is_some_and(|driver| driver.is_simulated()),
        };
        let mut writer = Writer::create(settings.geometry, identity)?;
        let mut control = ShimControl::create_granted(identity.ring_id, settings.first_lease.as_ref())?;
        writer.dont_fork()?;
        control.dont_fork()?;
        if let (Some(name), Some(ring), Some(page)) = (&settings.announce, writer.file(), control.file()) {
            // An agent that is not there, or busy, finds the ring by looking through /proc.
            let _ = announce(name, identity.ring_id, ring.as_fd(), page.as_fd());
        }
        let files = [File::keep(writer.take_file())?, File::keep(control.take_file())?];
        Ok(Self {
            control,
            outlet: Outlet::new(Copier::new(writer)),
            callbacks,
            finalizer: Finalizer::default(),
            files,
            cupti_path: settings.cupti.clone(),
            source: OnceLock::new(),
            graph_level: AtomicBool::new(false),
            flushing_since_ns: AtomicU64::new(0),
            exit: Exit { requested: AtomicBool::new(false), done: Mutex::new(true), changed: Condvar::new() },
        })
    }

    /// Makes this the process's shim, for good.
    pub fn install(self) -> &'static Self {
        let shim: &'static Self = Box::leak(Box::new(self));
        CURRENT.store(core::ptr::from_ref(shim).cast_mut(), Ordering::Release);
        shim
    }

    /// The process's shim, if it has one.
    #[must_use]
    pub fn current() -> Option<&'static Self> {
        // SAFETY: null, or what `install` leaked.
        #[allow(unsafe_code, reason = "a leaked box behind an atomic pointer")]
        unsafe {
            CURRENT.load(Ordering::Acquire).as_ref()
        }
    }

    /// Forgets the parent's shim, in a child made by `fork`. Only does what is allowed between `fork` and `exec`.
    pub fn forget() {
        let parent = Self::current();
        CURRENT.store(core::ptr::null_mut(), Ordering::Release);
        if let Some(shim) = parent {
            shim.close_files();
        }
    }

    /// Closes the descriptors of ring and control page; both stay mapped.
    pub fn close_files(&self) {
        for file in &self.files {
            file.close();
        }
    }

    /// The CUPTI in use, once one was found.
    #[must_use]
    pub fn source(&self) -> Option<&Source> {
        self.source.get()
    }

    /// The CUPTI in use; looks for one if need be. Only the shim's own thread, or `cuInit` before it runs, may call it.
    ///
    /// # Errors
    /// None can be used.
    pub fn find_source(&self) -> Result<&Source, LocateError> {
        match self.source.get() {
            Some(source) => Ok(source),
            None => {
                let source = locate(self.cupti_path.clone())?;
                Ok(self.source.get_or_init(|| source))
            }
        }
    }

    /// Whether graph launches are recorded as wholes from now on, because somebody wished it once.
    #[must_use]
    pub fn is_graph_level(&self) -> bool {
        self.graph_level.load(Ordering::Relaxed)
    }

    /// Notes that CUPTI was switched to graph level.
    pub fn set_graph_level(&self) {
        self.graph_level.store(true, Ordering::Relaxed);
    }

    /// Runs a periodic flush. Should it hang until after the end of the lease, nobody is there to disarm; records are
    /// then no longer copied, from one flush period after that end on. After a release there is an agent that waits for
    /// the last records, so they are copied for a second more.
    pub fn while_flushing<R>(&self, flush: impl FnOnce() -> R) -> R {
        self.flushing_since_ns.store(mono_ns(), Ordering::Relaxed);
        let result = flush();
        self.flushing_since_ns.store(0, Ordering::Relaxed);
        result
    }

    fn limits(&self) -> Limits {
        let wish = self.control.wish();
        let overdue_ns = match (self.flushing_since_ns.load(Ordering::Relaxed), wish.deadline_ns) {
            (0, _) => u64::MAX,
            (since_ns, 0) => since_ns.saturating_add(LAST_FLUSH.as_nanos() as u64),
            (_, deadline_ns) => deadline_ns.saturating_add(wish.flush_period.as_nanos() as u64),
        };
        Limits { budget_ppm: wish.budget_ppm, overdue_ns }
    }

    /// Counts a completed buffer and empties what waits, unless another thread is at it.
    pub fn buffer_completed(&self) {
        self.control.add(Counter::BuffersCompleted, 1);
        if let Some(source) = self.source() {
            self.outlet.drain(&POOL, source, &self.control, self.limits(), TURN);
        }
    }

    /// Empties all that waits, after other threads have had their turn.
    pub fn empty_all(&self) {
        let Some(source) = self.source() else { return };
        patiently(|| {
            self.outlet.drain(&POOL, source, &self.control, self.limits(), usize::MAX).then_some(())
        });
    }

    /// Notes that the shim's thread runs (or, with `false`, that it has done its last work).
    pub fn set_running(&self, running: bool) {
        *self.exit.done.lock().unwrap_or_else(PoisonError::into_inner) = !running;
        self.exit.changed.notify_all();
    }

    /// Whether the process is about to end.
    #[must_use]
    pub fn is_exiting(&self) -> bool {
        self.exit.requested.load(Ordering::Acquire)
    }

    /// Has the shim's thread flush and disarm, and waits for it, but no longer than `patience`.
    pub fn finish(&self, patience: Duration) {
        self.exit.requested.store(true, Ordering::Release);
        self.control.wake();
        let done = self.exit.done.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.exit.changed.wait_timeout_while(done, patience, |done| !*done);
    }
}

/// A number that no other ring has.
fn random() -> u64 {
    let mut bytes = [0; 8];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK) {
        Ok(8) => u64::from_le_bytes(bytes),
        // Only while the system boots: unique enough, and nothing depends on its secrecy.
        _ => mono_ns() ^ (u64::from(std::process::id()) << 40),
    }
}

/// Field 22 of `/proc/self/stat`, clock ticks since boot; 0 without /proc.
fn start_time_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Field 2, the name in parentheses, may hold anything; field 3 follows the last closing one.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_ascii_whitespace().nth(19).and_then(|field| field.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use gpu_agent_ring::{AnnounceListener, Geometry, Lease};

    use super::*;
    use crate::trampolines::callbacks;

    #[test]
    fn the_start_time_lies_between_boot_and_now() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime_s: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let start_s = start_time_ticks() as f64 / rustix::param::clock_ticks_per_second() as f64;
        assert!(start_s > 0.0 && start_s <= uptime_s, "started {start_s} s after boot, {uptime_s} s ago");
    }

    #[test]
    fn an_agent_that_is_told_of_a_ring_finds_the_first_lease_there() {
        let name = format!("gpu-agent-test-{:016x}", random());
        let listener = AnnounceListener::bind(&name).unwrap();
        let lease = Lease {
            kinds: 1,
            flush_period: Duration::from_millis(10),
            budget_ppm: 0,
            duration: Duration::from_secs(60),
            ending: 0,
        };
        let settings = Settings {
            geometry: Geometry { slots: 8, names_bytes: 4096 },
            first_lease: Some(lease),
            announce: Some(name),
            cupti: None,
        };
        let shim = Shim::create(&settings, callbacks()).unwrap();
        assert!(listener.receive().unwrap().is_some());
        assert!(shim.control.wish().deadline_ns > mono_ns());
    }

    #[test]
    fn two_rings_have_two_ids() {
        assert_ne!(random(), random());
    }
}
