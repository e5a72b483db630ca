//! A stand-in for the simulated `libcuda`: its table, and functions that report work as it would.
//!
//! Enters: calls of a test. Leaves: calls of the installed hooks. Refuses, as the driver does, to report what is not
//! wanted.

use core::ffi::{c_char, c_void};
use core::ptr::{null, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use cuda_sim_abi::config::Config;
use cuda_sim_abi::{
    ABI_VERSION, Activity, ApiCall, ContextInfo, DeviceInfo, Driver, Hooks, Resource, activity, domain,
    wanted,
};
use cuda_sim_cupti::entry::callback::{cuptiEnableDomain, cuptiFinalize, cuptiSubscribe};
use cuda_sim_cupti::status::Status;
use std::sync::{Mutex, MutexGuard, PoisonError};

static HOOKS: AtomicPtr<Hooks> = AtomicPtr::new(null_mut());
static SEQUENCE: AtomicU64 = AtomicU64::new(1);
static TURN: Mutex<()> = Mutex::new(());
static FINALIZED: AtomicU32 = AtomicU32::new(0);

/// Name of the mock kernel.
pub(crate) const KERNEL_NAME: &core::ffi::CStr = c"paged_attention_v1_f16";

static DRIVER: Driver = Driver {
    abi_version: ABI_VERSION,
    driver_version: 12040,
    set_hooks,
    runtime_enter,
    runtime_exit,
    device_count,
    describe_device,
    visit_contexts,
    drain,
};

unsafe extern "C" fn set_hooks(hooks: *const Hooks) {
    HOOKS.store(hooks.cast_mut(), Ordering::SeqCst);
}

unsafe extern "C" fn runtime_enter(_cbid: u32) -> u32 {
    1
}

unsafe extern "C" fn runtime_exit(_cbid: u32, _correlation_id: u32, _start_ns: u64, _status: i32) {}

unsafe extern "C" fn device_count() -> u32 {
    2
}

unsafe extern "C" fn describe_device(ordinal: u32, out: *mut DeviceInfo) -> i32 {
    let info = DeviceInfo {
        name: c"Simulated device".as_ptr(),
        uuid: [ordinal as u8 + 1; 16],
        total_memory_bytes: 16 << 30,
        memory_bandwidth_kb_s: 2_000_000_000,
        compute_major: 8,
        compute_minor: 0,
        multiprocessors: 108,
        max_warps_per_multiprocessor: 64,
        max_blocks_per_multiprocessor: 32,
        registers_per_multiprocessor: 65_536,
        shared_bytes_per_multiprocessor: 167_936,
        max_threads_per_block: 1024,
        core_clock_khz: 1_410_000,
        l2_cache_bytes: 40 << 20,
    };
    // SAFETY: the caller passes room for one DeviceInfo.
    unsafe { out.write(info) };
    0
}

unsafe extern "C" fn visit_contexts(
    visit: unsafe extern "C" fn(data: *mut c_void, info: *const ContextInfo),
    data: *mut c_void,
) {
    for device_id in 0..2 {
        let info = ContextInfo { context_id: device_id + 1, device_id, null_stream_id: 7, reserved: 0 };
        // SAFETY: `data` is passed through; `info` is valid during the call.
        unsafe { visit(data, &raw const info) };
    }
}

unsafe extern "C" fn drain() {}

/// Starts a fresh session with `GPU_AGENT_CUDA_SIM=text` on the mock driver; tests of one process take turns.
pub(crate) fn session(text: &str) -> MutexGuard<'static, ()> {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let config: Config = text.parse().unwrap();
    cuda_sim_cupti::begin_session(&config, &DRIVER);
    turn
}

fn hooks() -> &'static Hooks {
    // SAFETY: begin_session has installed hooks that live as long as the process.
    unsafe { HOOKS.load(Ordering::SeqCst).as_ref() }.expect("hooks are installed")
}

/// What CUPTI asks the driver for.
pub(crate) fn wanted_bits() -> u64 {
    hooks().wanted.load(Ordering::SeqCst)
}

/// CLOCK_MONOTONIC, nanoseconds.
pub(crate) fn now_ns() -> u64 {
    read_clock(libc::CLOCK_MONOTONIC)
}

/// That clock, nanoseconds.
pub(crate) fn read_clock(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for a write.
    assert_eq!(unsafe { libc::clock_gettime(clock, &raw mut time) }, 0);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// Work of that kind with plausible values, not yet run.
pub(crate) fn work(kind: u32, correlation_id: u32) -> Activity {
    Activity {
        kind,
        correlation_id,
        sequence: SEQUENCE.fetch_add(1, Ordering::Relaxed),
        start_ns: 0,
        end_ns: 0,
        device_id: 0,
        context_id: 1,
        stream_id: 7,
        graph_id: 0,
        graph_node_id: 0,
        name: if kind == activity::KERNEL { KERNEL_NAME.as_ptr() } else { null::<c_char>() },
        grid: [10, 2, 3],
        block: [128, 1, 1],
        registers: 40,
        static_shared_bytes: 1024,
        dynamic_shared_bytes: 512,
        computed: 1,
        bytes: 4096,
        address: 0x7f00_0000_1000,
        operation: 1,
        source_kind: 3,
        destination_kind: 3,
        is_async: 1,
        peer_device_id: 0,
        peer_context_id: 1,
    }
}

fn bit(kind: u32) -> u64 {
    match kind {
        activity::KERNEL => wanted::KERNEL,
        activity::MEMCPY => wanted::MEMCPY,
        activity::MEMSET => wanted::MEMSET,
        activity::MEMORY => wanted::MEMORY,
        activity::SYNC => wanted::SYNC,
        _ => wanted::GRAPH,
    }
}

/// Enqueues work as the driver does: if it is wanted now, it is announced, and will be ended.
pub(crate) fn enqueue(work: &Activity) -> bool {
    let wanted = wanted_bits() & bit(work.kind) != 0;
    if wanted {
        // SAFETY: the hooks' own function.
        unsafe { (hooks().enqueued)(work) };
    }
    wanted
}

/// Ends work that was enqueued: it ran for 1 µs until now.
pub(crate) fn end(work: &Activity) -> Activity {
    let end_ns = now_ns();
    end_at(work, end_ns - 1000, end_ns)
}

/// Ends work that ran at that time.
pub(crate) fn end_at(work: &Activity, start_ns: u64, end_ns: u64) -> Activity {
    let ended = Activity { start_ns, end_ns, ..*work };
    // SAFETY: the hooks' own function.
    unsafe { (hooks().activity)(&raw const ended) };
    ended
}

/// Enqueues and ends one piece of work, if it is wanted.
pub(crate) fn run(work: &Activity) {
    let host_event = matches!(work.kind, activity::MEMORY | activity::SYNC);
    let traced = if host_event { wanted_bits() & bit(work.kind) != 0 } else { enqueue(work) };
    if traced {
        end(work);
    }
}

/// Runs `count` kernels with correlation ids from `first` on.
pub(crate) fn run_kernels(first: u32, count: u32) {
    (first..first + count).for_each(|id| run(&work(activity::KERNEL, id)));
}

/// Begins an API call.
pub(crate) fn enter_api(domain: u32, cbid: u32, correlation_id: u32) {
    if wanted_bits() & wanted::CALLBACKS != 0 {
        // SAFETY: the hooks' own function.
        unsafe { (hooks().api_enter)(domain, cbid, correlation_id) };
    }
}

/// Ends an API call that took 500 ns and returned `status`.
pub(crate) fn exit_api(domain: u32, cbid: u32, correlation_id: u32, status: i32) -> ApiCall {
    let end_ns = now_ns();
    let call = ApiCall { domain, cbid, correlation_id, status, start_ns: end_ns - 500, end_ns };
    if wanted_bits() & (wanted::DRIVER_API | wanted::RUNTIME_API | wanted::CALLBACKS) != 0 {
        // SAFETY: the hooks' own function.
        unsafe { (hooks().api)(&raw const call) };
    }
    call
}

/// Subscribes with a callback that calls `cuptiFinalize` at the exit of a call, where it may be called.
pub(crate) fn subscribe_to_finalize() {
    unsafe extern "C" fn at_exit(_userdata: *mut c_void, _domain: u32, _cbid: u32, data: *const c_void) {
        // SAFETY: API domains pass a CUpti_CallbackData, which begins with the site; 1 is the exit.
        if unsafe { data.cast::<u32>().read() } == 1 {
            FINALIZED.store(cuptiFinalize().0, Ordering::SeqCst);
        }
    }
    let mut handle = null_mut();
    // SAFETY: `handle` is valid for a write, the callback as long as the process.
    let status = unsafe { cuptiSubscribe(&raw mut handle, Some(at_exit), null_mut()) };
    assert_eq!(status, Status::SUCCESS);
    assert_eq!(cuptiEnableDomain(1, handle, domain::DRIVER), Status::SUCCESS);
}

/// A call that ends after [`subscribe_to_finalize`]; what `cuptiFinalize` answered in it.
pub(crate) fn finalize_at_exit() -> Status {
    FINALIZED.store(u32::MAX, Ordering::SeqCst);
    enter_api(domain::DRIVER, 307, u32::MAX);
    exit_api(domain::DRIVER, 307, u32::MAX, 0);
    Status(FINALIZED.load(Ordering::SeqCst))
}

/// Announces a resource.
pub(crate) fn announce(event: u32, object_id: u32, context: usize, object: usize) {
    let resource = Resource {
        event,
        device_id: 0,
        context_id: 1,
        object_id,
        context: core::ptr::without_provenance_mut(context),
        object: core::ptr::without_provenance_mut(object),
    };
    if wanted_bits() & wanted::RESOURCE != 0 {
        // SAFETY: the hooks' own function.
        unsafe { (hooks().resource)(&raw const resource) };
    }
}
