//! The injected side: what libcuda calls at `cuInit`, what CUPTI calls for its buffers, what runs at exit.
//!
//! In: the environment ([`settings`]), CUPTI's callbacks. Out: the recording, written once, at exit. Refuses: to print,
//! to unwind into C, to do anything in a forked child, to keep CUPTI where another profiler has it.

#![allow(unsafe_code, reason = "CUPTI's callbacks are C")]

mod buffers;
mod library;
mod names;
mod settings;

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::io::Write as _;
use std::panic::catch_unwind;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use cupti_sys::{ActivityKind, CallError, CallbackDomain, ContextHandle, Cupti, Flush, Status, ThreadIdType};
use rustix::process::{Pid, getpid};
use rustix::thread::gettid;
use rustix::time::{ClockId, clock_gettime};

use crate::format::{KindAsked, RecordEntry};
use crate::recorder::{Delivery, Recorder};
use settings::{Settings, SettingsError};

/// Kinds that are switched on, in order.
const KINDS: &[ActivityKind] = &[
    ActivityKind::CONCURRENT_KERNEL,
    ActivityKind::MEMCPY,
    ActivityKind::MEMCPY2,
    ActivityKind::MEMSET,
    ActivityKind::MEMORY2,
    ActivityKind::DRIVER,
    ActivityKind::RUNTIME,
    ActivityKind::SYNCHRONIZATION,
    ActivityKind::OVERHEAD,
];

/// Kinds of things that exist before they are switched on, and are recorded nevertheless.
const DUMPED_KINDS: &[ActivityKind] = &[ActivityKind::DEVICE, ActivityKind::CONTEXT];

/// Status in the file for a failure that no CUPTI function reported.
const NO_STATUS: Status = Status(-1);

static SESSION: OnceLock<Session> = OnceLock::new();

/// One recording of this process.
struct Session {
    /// The process that records; a forked child is another one.
    process: Pid,
    /// `None` where no libcupti was found.
    cupti: Option<Cupti>,
    /// `None` once it is written.
    output: Mutex<Option<(Recorder, File)>>,
    /// CUPTI calls our functions; else it is somebody else's, and is left alone.
    recording: AtomicBool,
    /// The forced flush has begun.
    forced: AtomicBool,
}

/// What libcuda calls, in `cuInit`, in the library that `CUDA_INJECTION64_PATH` names. Returns 1, always.
#[unsafe(no_mangle)]
pub extern "C" fn InitializeInjection() -> c_int {
    // This library's own copy of the standard library: the program's panics stay audible.
    std::panic::set_hook(Box::new(|_| {}));
    quietly(|| match Settings::from_env() {
        Ok(Some(settings)) => start(settings, None),
        Ok(None) => {}
        Err(error) => {
            let (settings, error) = error.with_defaults();
            start(settings, Some(error));
        }
    });
    1
}

fn start(settings: Settings, wrong: Option<SettingsError>) {
    // Fails where the file exists: then another process, or another call, records.
    let Ok(file) = File::create_new(&settings.output) else { return };
    let found = library::find(settings.cupti.as_deref());
    let recorder = Recorder::new(&found.origin(), settings.limit_bytes);
    let session = Session {
        process: getpid(),
        cupti: found.cupti,
        output: Mutex::new(Some((recorder, file))),
        recording: AtomicBool::new(false),
        forced: AtomicBool::new(false),
    };
    if SESSION.set(session).is_err() {
        return;
    }
    let Some(session) = SESSION.get() else { return };
    match (wrong, &session.cupti) {
        (Some(error), _) => session.failed(&error.to_string(), NO_STATUS),
        (None, None) => session.failed("no libcupti was found", NO_STATUS),
        (None, Some(cupti)) => {
            if let Err(error) = session.switch_on(cupti) {
                session.note(error);
            }
        }
    }
    // SAFETY: the function never unwinds, and the library stays mapped. Registered after CUPTI, so it runs before
    // whatever CUPTI does at exit.
    unsafe { libc::atexit(at_exit) };
}

impl Session {
    /// Subscribes, and only then touches anything that another profiler may have set.
    fn switch_on(&self, cupti: &Cupti) -> Result<(), CallError> {
        // SAFETY: the callback does nothing.
        let subscriber = unsafe { cupti.subscribe(ignore, std::ptr::null_mut()) }?;
        self.noted(cupti.set_thread_id_type(ThreadIdType::SYSTEM));
        // SAFETY: the callback does not unwind, and the library stays mapped.
        self.noted(unsafe { cupti.activity_register_timestamp_callback(monotonic_ns) });
        // SAFETY: the callbacks do not unwind, the library stays mapped, and buffers live until they are completed.
        let registered = unsafe { cupti.activity_register_callbacks(buffer_requested, buffer_completed) };
        if registered.is_err() {
            self.noted(cupti.unsubscribe(subscriber));
            return registered;
        }
        self.recording.store(true, Ordering::Relaxed);
        for &kind in DUMPED_KINDS {
            if !self.asked(kind, true, cupti.activity_enable_and_dump(kind)) {
                self.asked(kind, false, cupti.activity_enable(kind));
            }
        }
        for &kind in KINDS {
            self.asked(kind, false, cupti.activity_enable(kind));
        }
        Ok(())
    }

    /// Notes a kind that was asked for; whether it is on.
    fn asked(&self, kind: ActivityKind, dumped: bool, result: Result<(), CallError>) -> bool {
        let status = result.map_or_else(status_of, |()| Status::SUCCESS);
        self.record(|recorder| recorder.kind(KindAsked { kind, status, dumped }));
        status.is_success()
    }

    fn noted(&self, result: Result<(), CallError>) {
        if let Err(error) = result {
            self.note(error);
        }
    }

    fn note(&self, error: CallError) {
        self.failed(&error.to_string(), status_of(error));
    }

    fn failed(&self, step: &str, status: Status) {
        self.record(|recorder| recorder.failure(step, status));
    }

    fn record(&self, note: impl FnOnce(&mut Recorder)) {
        if let Some((recorder, _)) = self.lock().as_mut() {
            note(recorder);
        }
    }

    /// Never held across a call of CUPTI.
    fn lock(&self) -> MutexGuard<'_, Option<(Recorder, File)>> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the records of a completed buffer.
    fn completed(&self, cupti: &Cupti, completion: &Completion<'_>) {
        let completed_ns = now_ns();
        let (records, walk_end) = walk(cupti, completion.valid);
        let names = names::read(completion.valid, &records);
        let delivery = Delivery {
            context: completion.context.0 as u64,
            completed_ns,
            stream_id: completion.stream_id,
            thread_id: gettid().as_raw_nonzero().get().cast_unsigned(),
            forced: self.forced.load(Ordering::Relaxed),
            size_bytes: buffers::BUFFER_BYTES as u32,
            valid: completion.valid,
            records,
            walk_end: walk_end.0,
            names,
        };
        self.record(|recorder| recorder.buffer(&delivery));
    }

    /// Collects what CUPTI still has, and writes the file.
    fn finish(&self) {
        let cupti = self.cupti.as_ref().filter(|_| self.recording.load(Ordering::Relaxed));
        let dropped = cupti.map_or(0, |cupti| self.collect(cupti));
        if let Some((recorder, mut file)) = self.lock().take() {
            // Nobody is left to be told; a file that is cut off has no end, and readers refuse it.
            let _ = file.write_all(&recorder.finish(dropped));
        }
    }

    /// Has all buffers completed; the number of records that CUPTI dropped.
    fn collect(&self, cupti: &Cupti) -> u64 {
        self.noted(cupti.activity_flush_all(Flush::COMPLETED));
        self.forced.store(true, Ordering::Relaxed);
        self.noted(cupti.activity_flush_all(Flush::FORCED));
        let dropped = cupti.activity_dropped_records(ContextHandle(0), 0);
        dropped.map_or_else(
            |error| {
                self.note(error);
                0
            },
            |dropped| dropped as u64,
        )
    }
}

/// A completed buffer, while it is handed over.
struct Completion<'a> {
    context: ContextHandle,
    stream_id: u32,
    valid: &'a [u8],
}

/// What CUPTI's own iterator finds, and how it ends.
fn walk(cupti: &Cupti, valid: &[u8]) -> (Vec<RecordEntry>, Status) {
    let mut entries = Vec::new();
    let records = match cupti.records(valid) {
        Ok(records) => records,
        Err(error) => return (entries, status_of(error)),
    };
    for record in records {
        match record {
            Ok(record) => entries.push(RecordEntry::new(record.offset as u32, record.kind.0)),
            Err(error) => return (entries, status_of(error)),
        }
    }
    (entries, Status::MAX_LIMIT_REACHED)
}

fn status_of(error: CallError) -> Status {
    error.status().unwrap_or(NO_STATUS)
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// Runs `work`; a panic ends here.
fn quietly(work: impl FnOnce() + std::panic::UnwindSafe) {
    let _ = catch_unwind(work);
}

extern "C" fn at_exit() {
    quietly(|| {
        if let Some(session) = SESSION.get().filter(|session| session.process == getpid()) {
            session.finish();
        }
    });
}

/// The subscriber's callback; nothing is enabled for it.
extern "C" fn ignore(_: *mut c_void, _: CallbackDomain, _: u32, _: *const c_void) {}

extern "C" fn monotonic_ns() -> u64 {
    now_ns()
}

unsafe extern "C" fn buffer_requested(buffer: *mut *mut u8, size: *mut usize, max_records: *mut usize) {
    let (memory, bytes) = catch_unwind(buffers::lend)
        .ok()
        .flatten()
        .map_or((std::ptr::null_mut(), 0), |memory| (memory.as_ptr(), buffers::BUFFER_BYTES));
    // SAFETY: CUPTI passes three places to write to.
    unsafe {
        buffer.write(memory);
        size.write(bytes);
        max_records.write(0);
    }
}

unsafe extern "C" fn buffer_completed(
    context: ContextHandle,
    stream_id: u32,
    buffer: *mut u8,
    _size: usize,
    valid_bytes: usize,
) {
    quietly(move || {
        let Some(memory) = NonNull::new(buffer).and_then(buffers::take_back) else { return };
        let completion = Completion { context, stream_id, valid: memory.valid(valid_bytes) };
        if let Some((session, cupti)) =
            SESSION.get().and_then(|session| Some((session, session.cupti.as_ref()?)))
        {
            session.completed(cupti, &completion);
        }
    });
}
