//! Streams: work in order, on a thread of their own. Enters: work, from any thread. Leaves: work done, in order, and
//! who waited for it woken. Refuses: work that a capturing stream cannot take.
//!
//! ```text
//!  launching threads ──push──► queue ──batch──► the stream's thread (started by the first work)
//!                                                 idle: spins, then naps, then parks
//! ```
//! Enqueueing makes a system call only when the thread is parked, after some ms without work; threads that wait for
//! work wake it from a nap too.
//!
//! At most [`DEPTH`] pieces of work wait in a stream; a thread that enqueues more blocks, as on a device. The default
//! stream waits for the blocking streams of its context and they for it, as `cuda.h` says of the legacy default
//! stream. With `clock=virtual`, work that takes no time runs on the enqueuing thread when the stream is idle.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use cuda_sim_abi::config::Clock;
use cuda_sim_abi::{Resource, resource};

use crate::capture::Capture;
use crate::clock::now_ns;
use crate::context::{self, Context};
use crate::error::{Error, Outcome};
use crate::ffi::Handle;
use crate::state::config;
use crate::sync::{Progress, lock};
use crate::table::Table;
use crate::work::{Item, Trace, Work};

/// Live created streams by handle.
pub(crate) static STREAMS: Table<Stream> = Table::new(2);

/// Id of the legacy default stream, as CUPTI numbers it.
pub(crate) const DEFAULT_ID: u32 = 7;
/// `CU_STREAM_LEGACY`.
const LEGACY: usize = 1;
/// `CU_STREAM_PER_THREAD`.
const PER_THREAD: usize = 2;
/// Pieces of work that wait in a stream at most.
const DEPTH: u64 = 1024;
/// How long an idle stream's thread spins before it naps, ns. One thread spins at a time.
const SPIN_NS: u64 = 10_000;
/// Length and number of the naps of an idle stream's thread before it parks. Work enqueued during a nap waits for its
/// end, unless somebody waits for the work.
const NAP: Duration = Duration::from_micros(50);
const NAPS: u32 = 20;

/// Values of `Stream::rest`.
const AWAKE: u8 = 0;
const NAPPING: u8 = 1;
const PARKED: u8 = 2;

static NEXT_ID: AtomicU32 = AtomicU32::new(DEFAULT_ID + 6);
static SPINNING: AtomicBool = AtomicBool::new(false);

/// What a stream is to the default stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The legacy default stream itself.
    Default,
    /// Waits for the default stream, and it for this one.
    Blocking,
    /// `CU_STREAM_NON_BLOCKING`.
    NonBlocking,
}

/// One stream; never freed.
pub(crate) struct Stream {
    /// As in CUPTI's records.
    pub(crate) id: u32,
    /// Its context.
    pub(crate) context: &'static Context,
    /// Its priority, as created.
    pub(crate) priority: i32,
    /// Pieces of work that have run.
    pub(crate) completed: Progress,
    /// The capture in progress.
    pub(crate) capture: Mutex<Option<Arc<Capture>>>,
    /// Whether `capture` holds one; read without the lock by every enqueue.
    pub(crate) capturing: AtomicBool,
    kind: Kind,
    handle: OnceLock<Handle>,
    queue: Mutex<Queue>,
    enqueued: AtomicU64,
    /// What the stream's thread does: `AWAKE`, `NAPPING` or `PARKED`.
    rest: AtomicU8,
    /// End of the last work, ns; only the executing thread writes it.
    timeline_ns: AtomicU64,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    running: bool,
    retired: bool,
    thread: Option<Thread>,
}

thread_local! {
    static OWN: RefCell<OwnStreams> = const { RefCell::new(OwnStreams(Vec::new())) };
}

/// The per-thread default streams of one thread, ended with it.
struct OwnStreams(Vec<&'static Stream>);

impl Drop for OwnStreams {
    fn drop(&mut self) {
        for stream in &self.0 {
            stream.context.disown(stream);
            stream.retire();
        }
    }
}

/// The stream that a handle means on this thread; `own`: NULL is the per-thread default stream.
#[inline]
pub(crate) fn resolve(handle: Handle, own: bool) -> Outcome<&'static Stream> {
    let context = context::current()?;
    match handle.0 {
        0 if own => own_stream(context),
        0 | LEGACY => Ok(context.default_stream()),
        PER_THREAD => own_stream(context),
        _ => STREAMS.get(handle).ok_or(Error::INVALID_HANDLE),
    }
}

fn own_stream(context: &'static Context) -> Outcome<&'static Stream> {
    OWN.with_borrow_mut(|own| {
        if let Some(stream) = own.0.iter().find(|stream| stream.context.id == context.id) {
            return Ok(*stream);
        }
        let stream = Stream::leak(context, Kind::Blocking, NEXT_ID.fetch_add(1, Ordering::Relaxed), 0);
        stream.handle.get_or_init(|| Handle(PER_THREAD));
        context.adopt(stream);
        own.0.push(stream);
        Ok(stream)
    })
}

impl Stream {
    /// `cuStreamCreate`.
    pub(crate) fn create(context: &'static Context, kind: Kind, priority: i32) -> Outcome<Handle> {
        let stream = Self::leak(context, kind, NEXT_ID.fetch_add(1, Ordering::Relaxed), priority);
        let handle = STREAMS.insert(stream).ok_or(Error::OUT_OF_MEMORY)?;
        stream.handle.get_or_init(|| handle);
        context.adopt(stream);
        stream.announce(resource::STREAM_CREATED);
        Ok(handle)
    }

    /// A stream without a handle: the default streams.
    pub(crate) fn leak(context: &'static Context, kind: Kind, id: u32, priority: i32) -> &'static Self {
        Box::leak(Box::new(Self {
            id,
            context,
            priority,
            completed: Progress::default(),
            capture: Mutex::default(),
            capturing: AtomicBool::new(false),
            kind,
            handle: OnceLock::new(),
            queue: Mutex::default(),
            enqueued: AtomicU64::new(0),
            rest: AtomicU8::new(AWAKE),
            timeline_ns: AtomicU64::new(0),
        }))
    }

    /// `cuStreamDestroy`: returns at once; work enqueued before still runs.
    pub(crate) fn destroy(handle: Handle) -> Outcome {
        let stream = STREAMS.remove(handle).ok_or(Error::INVALID_HANDLE)?;
        stream.announce(resource::STREAM_DESTROYED);
        stream.context.disown(stream);
        stream.retire();
        Ok(())
    }

    /// Lets the stream's thread end once its work is done.
    pub(crate) fn retire(&'static self) {
        let mut queue = lock(&self.queue);
        queue.retired = true;
        if let Some(thread) = &queue.thread {
            thread.unpark();
        }
    }

    /// The handle, also after destruction; 0 for the legacy default stream.
    pub(crate) fn handle(&self) -> Handle {
        self.handle.get().copied().unwrap_or_default()
    }

    /// Whether it and the default stream wait for each other.
    pub(crate) fn is_blocking(&self) -> bool {
        self.kind == Kind::Blocking
    }

    /// Whether it is the legacy default stream of its context.
    pub(crate) fn is_default(&self) -> bool {
        self.kind == Kind::Default
    }

    /// `cuStreamGetFlags`.
    pub(crate) fn flags(&self) -> u32 {
        u32::from(self.kind == Kind::NonBlocking)
    }

    /// Whether all work has run.
    pub(crate) fn is_idle(&self) -> bool {
        self.completed.get() >= self.enqueued.load(Ordering::Acquire)
    }

    /// Waits until the work enqueued so far has run.
    pub(crate) fn drain(&self) {
        self.wait_for(self.enqueued.load(Ordering::Acquire));
    }

    /// Waits until `ticket` pieces of work have run.
    pub(crate) fn wait_for(&self, ticket: u64) {
        if self.completed.get() < ticket {
            self.wake(NAPPING);
            self.completed.wait_for(ticket);
        }
    }

    /// Enqueues work of an API call, or adds it to the capture in progress.
    #[inline]
    pub(crate) fn submit(&'static self, work: Work) -> Outcome {
        if self.capturing.load(Ordering::Relaxed) {
            return crate::capture::add(self, work);
        }
        let trace = work.trace(self);
        self.submit_traced(Item { trace, work });
        Ok(())
    }

    /// Enqueues work that all earlier work of these devices precedes, and all later work follows.
    pub(crate) fn submit_between(&'static self, work: Work, ordinals: [u32; 2]) -> Outcome {
        let contexts =
            context::live().into_iter().filter(|context| ordinals.contains(&context.device.ordinal));
        let others: Vec<_> = contexts.flat_map(Context::streams).collect();
        others.iter().for_each(|other| self.follow_all(other));
        self.submit(work)?;
        others.iter().for_each(|other| other.follow_all(self));
        Ok(())
    }

    /// Enqueues work whose record is decided, outside captures; returns its number in the stream.
    pub(crate) fn submit_traced(&'static self, item: Item) -> u64 {
        self.follow_legacy_order();
        let enqueued = self.push(item);
        if enqueued > self.completed.get() + DEPTH {
            self.wait_for(enqueued - DEPTH / 2);
        }
        enqueued
    }

    /// Start and end of work that begins now and takes `duration_ns`, after all work before it.
    pub(crate) fn lay_out(&self, duration_ns: u64) -> (u64, u64) {
        let start = now_ns().max(self.timeline_ns.load(Ordering::Relaxed));
        (start, start + duration_ns)
    }

    /// The time at which the work executed so far has ended.
    pub(crate) fn time_ns(&self) -> u64 {
        self.lay_out(0).0
    }

    /// Remembers the end of work, so that what follows begins later.
    pub(crate) fn ended_at(&self, end_ns: u64) {
        self.timeline_ns.store(end_ns, Ordering::Relaxed);
    }

    /// Number of the work in progress: the seed of its jitter.
    pub(crate) fn turn(&self) -> u64 {
        self.completed.get()
    }

    fn follow_legacy_order(&'static self) {
        match self.kind {
            Kind::NonBlocking => {}
            Kind::Blocking => self.follow_all(self.context.default_stream()),
            Kind::Default => {
                if self.context.blocking_count.load(Ordering::SeqCst) != 0 {
                    let blocking = lock(&self.context.blocking).clone();
                    blocking.into_iter().for_each(|other| self.follow_all(other));
                }
            }
        }
    }

    /// Has later work of this stream wait for the work that `other` has now.
    fn follow_all(&'static self, other: &'static Self) {
        self.follow(other, other.enqueued.load(Ordering::Acquire));
    }

    /// Has later work of this stream wait for the first `ticket` pieces of work of `other`.
    pub(crate) fn follow(&'static self, other: &'static Self, ticket: u64) {
        if other.completed.get() < ticket && !std::ptr::eq(self, other) {
            self.push(Item { trace: Trace::default(), work: Work::WaitStream { stream: other, ticket } });
        }
    }

    fn push(&'static self, item: Item) -> u64 {
        let mut queue = lock(&self.queue);
        let enqueued = self.enqueued.load(Ordering::Relaxed) + 1;
        self.enqueued.store(enqueued, Ordering::Release);
        let idle = queue.items.is_empty() && !queue.running;
        if idle && config().clock == Clock::Virtual && item.work.is_instant() {
            self.execute(item);
            return enqueued;
        }
        queue.items.push_back(item);
        if queue.thread.is_none() {
            queue.thread = self.start_thread();
            if queue.thread.is_none() {
                self.run_here(&mut queue.items);
            }
            return enqueued;
        }
        drop(queue);
        self.wake(PARKED);
        enqueued
    }

    fn start_thread(&'static self) -> Option<Thread> {
        let name = format!("cuda-sim-{}", self.id);
        let spawned = std::thread::Builder::new().name(name).stack_size(1 << 20).spawn(|| self.work());
        spawned.ok().map(|handle| handle.thread().clone())
    }

    /// Where the process has no thread left to give: the work runs on the caller's.
    fn run_here(&'static self, items: &mut VecDeque<Item>) {
        items.drain(..).for_each(|item| self.execute(item));
    }

    /// The life of the stream's thread.
    fn work(&'static self) {
        let mut batch = VecDeque::new();
        loop {
            let mut queue = lock(&self.queue);
            std::mem::swap(&mut queue.items, &mut batch);
            queue.running = !batch.is_empty();
            if batch.is_empty() && queue.retired {
                queue.thread = None;
                return;
            }
            drop(queue);
            if batch.is_empty() {
                self.idle();
            }
            batch.drain(..).for_each(|item| self.execute(item));
        }
    }

    fn execute(&'static self, item: Item) {
        let turn = self.completed.get();
        // A kernel or a callback that panics poisons its context; the process goes on.
        if catch_unwind(AssertUnwindSafe(|| item.work.run(self, item.trace))).is_err() {
            self.context.poison(Error::LAUNCH_FAILED);
        }
        drop(item);
        self.completed.advance(turn + 1);
    }

    fn idle(&self) {
        if !SPINNING.swap(true, Ordering::Relaxed) {
            let until = now_ns() + SPIN_NS;
            while self.is_idle() && now_ns() < until {
                std::thread::yield_now();
            }
            SPINNING.store(false, Ordering::Relaxed);
        }
        for nap in 0..=NAPS {
            self.rest.store(if nap < NAPS { NAPPING } else { PARKED }, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            let is_needed = || !self.is_idle() || lock(&self.queue).retired;
            if !is_needed() && nap < NAPS {
                std::thread::park_timeout(NAP);
            }
            while nap == NAPS && self.rest.load(Ordering::Relaxed) == PARKED && !is_needed() {
                std::thread::park();
            }
            if is_needed() {
                break;
            }
        }
        self.rest.store(AWAKE, Ordering::Relaxed);
    }

    /// Wakes the stream's thread if it rests at least as deeply as `depth`.
    #[inline]
    fn wake(&self, depth: u8) {
        fence(Ordering::SeqCst);
        if self.rest.load(Ordering::Relaxed) >= depth
            && self.rest.swap(AWAKE, Ordering::Relaxed) >= depth
            && let Some(thread) = &lock(&self.queue).thread
        {
            thread.unpark();
        }
    }

    fn announce(&'static self, event: u32) {
        crate::hooks::resource(&Resource {
            event,
            device_id: self.context.device.ordinal,
            context_id: self.context.id,
            object_id: self.id,
            context: self.context.handle().pointer(),
            object: self.handle().pointer(),
        });
    }
}
