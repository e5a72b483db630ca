//! Contexts, and which one is current on a thread. Enters: creation, retain and release, push and pop.
//! Leaves: the current context. Refuses: contexts that are destroyed or carry a sticky error.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use cuda_sim_abi::{Resource, resource};

use crate::device::Device;
use crate::error::{Error, Outcome, SUCCESS};
use crate::ffi::Handle;
use crate::memory;
use crate::stream::{self, Kind, Stream};
use crate::sync::lock;
use crate::table::Table;

/// Live contexts by handle.
pub(crate) static CONTEXTS: Table<Context> = Table::new(1);

static LIVE: Mutex<Vec<&'static Context>> = Mutex::new(Vec::new());
static NEXT_ID: AtomicU32 = AtomicU32::new(1);

thread_local! {
    static CURRENT: Cell<Option<&'static Context>> = const { Cell::new(None) };
    static STACK: RefCell<Vec<Option<&'static Context>>> = const { RefCell::new(Vec::new()) };
}

/// One context; never freed, so that threads may hold it past its destruction.
pub(crate) struct Context {
    /// From 1.
    pub(crate) id: u32,
    /// Its device.
    pub(crate) device: &'static Device,
    /// `cuCtxCreate` flags.
    pub(crate) flags: AtomicU32,
    /// `CUfunc_cache` of `cuCtxSetCacheConfig`.
    pub(crate) cache_config: AtomicU32,
    /// `cuCtxSetLimit` values by `CUlimit`; `u64::MAX` where the limit is not supported.
    pub(crate) limits: [AtomicU64; 8],
    /// Contexts whose memory this one may use.
    pub(crate) peers: Mutex<Vec<u32>>,
    /// Streams that wait for the default stream and that it waits for.
    pub(crate) blocking: Mutex<Vec<&'static Stream>>,
    /// Their number.
    pub(crate) blocking_count: AtomicU32,
    streams: Mutex<Vec<&'static Stream>>,
    handle: OnceLock<Handle>,
    default_stream: OnceLock<&'static Stream>,
    destroyed: AtomicBool,
    sticky: AtomicI32,
}

/// The primary context of a device.
#[derive(Default)]
pub(crate) struct Primary {
    retained: Mutex<(u32, Option<&'static Context>)>,
    /// `cuDevicePrimaryCtxSetFlags`.
    pub(crate) flags: AtomicU32,
}

impl Context {
    /// Makes a context on `device`; does not make it current.
    pub(crate) fn create(device: &'static Device, flags: u32) -> Outcome<&'static Self> {
        let stack_heap_and_queues = [1024, 1 << 20, 8 << 20, 2, 2048, 64, 0, u64::MAX];
        let context: &'static Self = Box::leak(Box::new(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            device,
            flags: AtomicU32::new(flags),
            cache_config: AtomicU32::new(0),
            limits: stack_heap_and_queues.map(AtomicU64::new),
            peers: Mutex::default(),
            blocking: Mutex::default(),
            blocking_count: AtomicU32::new(0),
            streams: Mutex::default(),
            handle: OnceLock::new(),
            default_stream: OnceLock::new(),
            destroyed: AtomicBool::new(false),
            sticky: AtomicI32::new(SUCCESS),
        }));
        let handle = CONTEXTS.insert(context).ok_or(Error::OUT_OF_MEMORY)?;
        context.handle.get_or_init(|| handle);
        context.default_stream.get_or_init(|| Stream::leak(context, Kind::Default, stream::DEFAULT_ID, 0));
        lock(&LIVE).push(context);
        context.announce(resource::CONTEXT_CREATED);
        Ok(context)
    }

    /// The handle, also after destruction.
    pub(crate) fn handle(&self) -> Handle {
        self.handle.get().copied().unwrap_or_default()
    }

    /// The legacy default stream.
    #[inline]
    pub(crate) fn default_stream(&'static self) -> &'static Stream {
        self.default_stream.get_or_init(|| Stream::leak(self, Kind::Default, stream::DEFAULT_ID, 0))
    }

    /// Adds a created stream.
    pub(crate) fn adopt(&self, stream: &'static Stream) {
        lock(&self.streams).push(stream);
        if stream.is_blocking() {
            lock(&self.blocking).push(stream);
            self.blocking_count.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Forgets a destroyed stream.
    pub(crate) fn disown(&self, stream: &'static Stream) {
        lock(&self.streams).retain(|other| !std::ptr::eq(*other, stream));
        if stream.is_blocking() {
            lock(&self.blocking).retain(|other| !std::ptr::eq(*other, stream));
            self.blocking_count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// All its streams, the default one first.
    pub(crate) fn streams(&'static self) -> Vec<&'static Stream> {
        let mut streams = vec![self.default_stream()];
        streams.extend(lock(&self.streams).iter());
        streams
    }

    /// Waits until all work enqueued so far has run.
    pub(crate) fn drain(&'static self) {
        for stream in self.streams() {
            stream.drain();
        }
    }

    /// An error that all later calls return, until the context is destroyed.
    pub(crate) fn poison(&self, error: Error) {
        self.sticky.compare_exchange(SUCCESS, error.0, Ordering::Relaxed, Ordering::Relaxed).ok();
    }

    /// Refuses a destroyed or poisoned context.
    #[inline]
    pub(crate) fn check(&'static self) -> Outcome<&'static Self> {
        if self.destroyed.load(Ordering::Relaxed) {
            return Err(Error::CONTEXT_IS_DESTROYED);
        }
        match self.sticky.load(Ordering::Relaxed) {
            SUCCESS => Ok(self),
            status => Err(Error(status)),
        }
    }

    /// Drains it, frees its memory, ends its streams.
    pub(crate) fn destroy(&'static self) -> Outcome {
        if CONTEXTS.remove(self.handle()).is_none() {
            return Err(Error::INVALID_CONTEXT);
        }
        self.drain();
        self.announce(resource::CONTEXT_DESTROYED);
        self.destroyed.store(true, Ordering::Relaxed);
        lock(&LIVE).retain(|other| other.id != self.id);
        for stream in self.streams() {
            stream.retire();
        }
        memory::free_all_of(self.id);
        Ok(())
    }

    fn announce(&'static self, event: u32) {
        crate::hooks::resource(&Resource {
            event,
            device_id: self.device.ordinal,
            context_id: self.id,
            object_id: stream::DEFAULT_ID,
            context: self.handle().pointer(),
            object: std::ptr::null_mut(),
        });
    }
}

impl Primary {
    /// Makes the context if there is none, and counts its users.
    pub(crate) fn retain(&self, device: &'static Device) -> Outcome<&'static Context> {
        let mut retained = lock(&self.retained);
        let context = match retained.1 {
            Some(context) => context,
            None => Context::create(device, self.flags.load(Ordering::Relaxed))?,
        };
        *retained = (retained.0 + 1, Some(context));
        Ok(context)
    }

    /// Counts a user less; the last one destroys the context.
    pub(crate) fn release(&self) -> Outcome {
        let mut retained = lock(&self.retained);
        match *retained {
            (0, _) | (_, None) => Err(Error::INVALID_CONTEXT),
            (1, Some(context)) => {
                *retained = (0, None);
                context.destroy()
            }
            (users, context) => {
                *retained = (users - 1, context);
                Ok(())
            }
        }
    }

    /// Destroys the context whoever uses it.
    pub(crate) fn reset(&self) -> Outcome {
        match std::mem::take(&mut *lock(&self.retained)).1 {
            Some(context) => context.destroy(),
            None => Ok(()),
        }
    }

    /// The context while it exists.
    pub(crate) fn active(&self) -> Option<&'static Context> {
        lock(&self.retained).1
    }

    /// Whether `context` is this primary context.
    pub(crate) fn is(&self, context: &Context) -> bool {
        self.active().is_some_and(|active| active.id == context.id)
    }
}

/// Live contexts, oldest first.
pub(crate) fn live() -> Vec<&'static Context> {
    lock(&LIVE).clone()
}

/// The current context of this thread, usable.
#[inline]
pub(crate) fn current() -> Outcome<&'static Context> {
    CURRENT.get().ok_or(Error::INVALID_CONTEXT)?.check()
}

/// The current context of this thread, whatever its state.
pub(crate) fn current_raw() -> Option<&'static Context> {
    CURRENT.get()
}

/// `cuCtxSetCurrent`.
pub(crate) fn set_current(context: Option<&'static Context>) {
    CURRENT.set(context);
}

/// `cuCtxPushCurrent`.
pub(crate) fn push(context: &'static Context) {
    STACK.with_borrow_mut(|stack| stack.push(CURRENT.replace(Some(context))));
}

/// `cuCtxPopCurrent`.
pub(crate) fn pop() -> Outcome<&'static Context> {
    let popped = CURRENT.get().ok_or(Error::INVALID_CONTEXT)?;
    CURRENT.set(STACK.with_borrow_mut(Vec::pop).flatten());
    Ok(popped)
}
