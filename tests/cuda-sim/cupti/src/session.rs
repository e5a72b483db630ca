//! One CUPTI in one process: everything that the exported functions and the driver's hooks share.
//!
//! Enters: `GPU_AGENT_CUDA_SIM`, the loaded `libcuda`. Leaves: the one [`Session`] of the process, made on first use.
//! Refuses: a malformed variable (the process ends with the reason), and, after a fork, to work in a child whose parent
//! had already attached, as CUDA itself does not work there.
//!
//! A session is never freed: threads of the program may be inside it at any time. A forked child leaves its parent's
//! behind, locks and all, and makes its own.

use crate::attributes::Attributes;
use crate::clock::Clock;
use crate::enablement::Enablement;
use crate::faults::Faults;
use crate::handles::Handles;
use crate::hooks::HOOKS;
use crate::in_flight::InFlight;
use crate::locks::{die, hold};
use crate::queues::Queues;
use crate::records::{Caller, Records};
use crate::release::Identity;
use crate::status::Status;
use crate::subscription::Subscription;
use crate::worker::Worker;
use crate::{driver, thread};
use core::ffi::{CStr, c_void};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use cuda_sim_abi::Driver;
use cuda_sim_abi::config::{Buffers, Config};
use std::sync::{Mutex, Once, OnceLock};

static CURRENT: AtomicPtr<Session> = AtomicPtr::new(core::ptr::null_mut());
static EPOCH: AtomicU64 = AtomicU64::new(0);
/// Set in a child whose parent had attached to the driver.
static PARENT_HAD_ATTACHED: AtomicBool = AtomicBool::new(false);
static AT_FORK: Once = Once::new();

/// The state of CUPTI in this process.
pub(crate) struct Session {
    /// Tells this session from those before it, in thread-local storage.
    pub(crate) epoch: u64,
    /// Which CUPTI.
    pub(crate) identity: Identity,
    /// Its record writers.
    pub(crate) records: Records,
    /// What goes wrong.
    pub(crate) faults: Faults,
    /// The clock of timestamps.
    pub(crate) clock: Clock,
    /// What is enabled.
    pub(crate) enablement: Enablement,
    /// Who subscribed.
    pub(crate) subscription: Subscription,
    /// Settings.
    pub(crate) attributes: Attributes,
    /// Buffers being filled, and full ones.
    pub(crate) queues: Queues,
    /// Held while buffers are handed out.
    pub(crate) delivery: Mutex<()>,
    /// Records that wait for their times.
    pub(crate) in_flight: InFlight,
    /// CUPTI's thread.
    pub(crate) worker: Worker,
    /// Contexts and streams by handle.
    pub(crate) handles: Handles,
    driver: OnceLock<&'static Driver>,
    orphaned: bool,
    process: u32,
    wanted_turn: Mutex<()>,
}

impl Session {
    /// The session of this process.
    pub(crate) fn current() -> &'static Self {
        if let Some(session) = Self::existing() {
            return session;
        }
        watch_forks();
        let config = Config::from_env().unwrap_or_else(|error| die(&error.to_string()));
        let session = Box::into_raw(Box::new(Self::new(&config)));
        let none = core::ptr::null_mut();
        match CURRENT.compare_exchange(none, session, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: leaked just now.
            Ok(_) => unsafe { &*session },
            Err(first) => {
                // SAFETY: made above and given to nobody; and the other, which is leaked.
                unsafe {
                    drop(Box::from_raw(session));
                    &*first
                }
            }
        }
    }

    /// The session, if anything has used CUPTI yet.
    #[inline]
    pub(crate) fn existing() -> Option<&'static Self> {
        // SAFETY: null, or leaked.
        unsafe { CURRENT.load(Ordering::Acquire).as_ref() }
    }

    fn new(config: &Config) -> Self {
        let identity = Identity::choose(config, &own_file());
        let records = Records::new(identity.release.fixture, config.larger_bytes)
            .unwrap_or_else(|error| die(&error.to_string()));
        let per_thread =
            config.buffers.map_or(identity.release.buffers_per_thread(), |kind| kind == Buffers::Thread);
        Self {
            epoch: EPOCH.fetch_add(1, Ordering::Relaxed) + 1,
            identity,
            records,
            faults: Faults::new(config),
            clock: Clock::new(),
            enablement: Enablement::default(),
            subscription: Subscription::new(config.subscriber),
            attributes: Attributes::new(per_thread),
            queues: Queues::new(),
            delivery: Mutex::new(()),
            in_flight: InFlight::new(),
            worker: Worker::default(),
            handles: Handles::default(),
            driver: OnceLock::new(),
            orphaned: PARENT_HAD_ATTACHED.load(Ordering::Relaxed),
            process: std::process::id(),
            wanted_turn: Mutex::new(()),
        }
    }

    /// The driver, once it is loaded.
    pub(crate) fn driver(&self) -> Option<&'static Driver> {
        if self.orphaned {
            return None;
        }
        if let Some(driver) = self.driver.get() {
            return Some(driver);
        }
        let found = driver::find()?;
        Some(self.driver.get_or_init(|| {
            driver::install(found, &HOOKS);
            found
        }))
    }

    /// Tells the driver what is wanted now; with nothing enabled and nothing subscribed, nothing.
    pub(crate) fn update_wanted(&self) {
        let _turn = hold(&self.wanted_turn);
        let bits = self.enablement.wanted() | self.subscription.wanted();
        HOOKS.wanted.store(bits, Ordering::SeqCst);
    }

    /// Process and calling thread, as records name them.
    #[inline]
    pub(crate) fn caller(&'static self) -> Caller {
        let thread =
            if self.attributes.system_thread_ids() { thread::system_id(self) } else { thread::pthread_id() };
        Caller { process: self.process, thread }
    }

    /// `cuptiFinalize`. With the driver attached, it ends the process where the real library may crash it.
    pub(crate) fn finalize(&'static self) -> Status {
        if thread::is_in_buffer_callback() {
            return Status::INVALID_OPERATION;
        }
        if self.driver().is_some() && !thread::is_in_exit_callback() {
            die(
                "cuptiFinalize outside a callback at the exit of an API call: the real one races with the program's calls",
            );
        }
        if self.subscription.is_changing() {
            die(
                "cuptiFinalize while another thread enables callbacks: the real one takes the subscriber away under it",
            );
        }
        if self.handles.has_graphs() && !self.identity.release.survives_finalize_with_graphs() {
            die("cuptiFinalize before CUPTI 12.6 with CUDA graphs: the real one crashes");
        }
        self.forget_everything();
        Status::SUCCESS
    }

    /// Everything off and as at the beginning, buffers that were not flushed forgotten, no thread left.
    fn forget_everything(&'static self) {
        self.enablement.clear();
        self.subscription.clear();
        self.update_wanted();
        self.worker.stop();
        let _delivery = hold(&self.delivery);
        self.in_flight.clear();
        self.queues.forget_all();
        self.clock.set_callback(None);
        self.attributes.reset();
    }
}

/// Starts a fresh session with this configuration and driver instead of those that the process would find.
///
/// For tests of this library. The session before it is left behind, its thread ended.
pub fn begin_session(config: &Config, driver: &'static Driver) {
    if let Some(before) = Session::existing() {
        before.forget_everything();
    }
    watch_forks();
    let session = Session::new(config);
    driver::install(driver, &HOOKS);
    let taken = session.driver.set(driver);
    debug_assert!(taken.is_ok(), "a new session has no driver");
    CURRENT.store(Box::into_raw(Box::new(session)), Ordering::Release);
}

fn watch_forks() {
    AT_FORK.call_once(|| {
        // SAFETY: the handler has no preconditions, and stays mapped: the library is linked with -z nodelete.
        unsafe { libc::pthread_atfork(None, None, Some(leave_behind)) };
    });
}

/// In a forked child: nothing of the parent's session is touched, for its locks may be held by threads that are gone.
unsafe extern "C" fn leave_behind() {
    if Session::existing().is_some_and(|session| session.driver.get().is_some()) {
        PARENT_HAD_ATTACHED.store(true, Ordering::Relaxed);
    }
    CURRENT.store(core::ptr::null_mut(), Ordering::Release);
    HOOKS.wanted.store(0, Ordering::SeqCst);
}

/// The file that this library was loaded from.
fn own_file() -> String {
    // SAFETY: all-zero is a valid Dl_info; dladdr only reads the address and fills in the struct.
    let name = unsafe {
        let mut info: libc::Dl_info = core::mem::zeroed();
        if libc::dladdr(own_file as *const c_void, &raw mut info) == 0 || info.dli_fname.is_null() {
            return String::new();
        }
        CStr::from_ptr(info.dli_fname)
    };
    name.to_string_lossy().into_owned()
}
