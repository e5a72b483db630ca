//! What the simulated driver reports to the simulated CUPTI through the contract: calls, work and resources.
#![allow(unsafe_code, reason = "calls C functions found by dlsym")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod sim;

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::null_mut;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use cuda_sim_abi::{
    ABI_VERSION, Activity, ApiCall, DRIVER_SYMBOL, Driver, Hooks, Resource, activity, domain, resource,
    wanted,
};

type Handle = *mut c_void;

const PTX: &CStr = c".version 7.0\n.target sm_80\n.address_size 64\n\
    .visible .entry nobody_knows(.param .u64 a, .param .u32 b) { .shared .align 4 .b8 tile[64]; ret; }\n\
    .visible .entry sin_kernel(.param .u64 a, .param .u64 b, .param .u32 c) { ret; }\n";
/// `CUPTI_DRIVER_TRACE_CBID_cuLaunchKernel` and `_cuGraphLaunch`.
const LAUNCH_KERNEL: u32 = 307;
const GRAPH_LAUNCH: u32 = 514;

static CALLS: Mutex<Vec<ApiCall>> = Mutex::new(Vec::new());
static ENTERED: Mutex<Vec<(u32, u32, u32)>> = Mutex::new(Vec::new());
static ENQUEUED: Mutex<Vec<Record>> = Mutex::new(Vec::new());
static DONE: Mutex<Vec<Record>> = Mutex::new(Vec::new());
static RESOURCES: Mutex<Vec<(u32, u32)>> = Mutex::new(Vec::new());

#[derive(Clone, Copy)]
struct Record(Activity);
// SAFETY: the name pointer is only read while its module is loaded, which is to the end of the process.
unsafe impl Send for Record {}

static HOOKS: Hooks = Hooks {
    abi_version: ABI_VERSION,
    reserved: 0,
    wanted: AtomicU64::new(0),
    api,
    api_enter,
    activity: done,
    enqueued,
    resource: changed,
};

unsafe extern "C" fn api(call: *const ApiCall) {
    // SAFETY: valid during the call, by the contract.
    CALLS.lock().unwrap().push(unsafe { *call });
}

unsafe extern "C" fn api_enter(domain: u32, cbid: u32, correlation_id: u32) {
    ENTERED.lock().unwrap().push((domain, cbid, correlation_id));
}

unsafe extern "C" fn done(activity: *const Activity) {
    // SAFETY: valid during the call, by the contract.
    DONE.lock().unwrap().push(Record(unsafe { *activity }));
}

unsafe extern "C" fn enqueued(activity: *const Activity) {
    // SAFETY: valid during the call, by the contract.
    ENQUEUED.lock().unwrap().push(Record(unsafe { *activity }));
}

unsafe extern "C" fn changed(resource: *const Resource) {
    // SAFETY: valid during the call, by the contract.
    let resource = unsafe { *resource };
    RESOURCES.lock().unwrap().push((resource.event, resource.object_id));
}

/// Everything reported since the last time.
struct Reported {
    calls: Vec<ApiCall>,
    entered: Vec<(u32, u32, u32)>,
    enqueued: Vec<Activity>,
    done: Vec<Activity>,
    resources: Vec<(u32, u32)>,
}

fn reported() -> Reported {
    let bare = |records: Vec<Record>| records.into_iter().map(|record| record.0).collect();
    Reported {
        calls: std::mem::take(&mut CALLS.lock().unwrap()),
        entered: std::mem::take(&mut ENTERED.lock().unwrap()),
        enqueued: bare(std::mem::take(&mut ENQUEUED.lock().unwrap())),
        done: bare(std::mem::take(&mut DONE.lock().unwrap())),
        resources: std::mem::take(&mut RESOURCES.lock().unwrap()),
    }
}

fn want(bits: u64) {
    HOOKS.wanted.store(bits, Ordering::Relaxed);
}

/// The loaded driver and its end of the contract.
struct Library(Handle, &'static Driver);

impl Library {
    fn load() -> Self {
        let path = CString::new(sim::simulator().join("libcuda.so.1").to_str().unwrap()).unwrap();
        // SAFETY: the path is NUL-terminated; the library's constructors do nothing.
        let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        assert!(!library.is_null());
        // SAFETY: the symbol has this type by the contract.
        let contract: extern "C" fn() -> *const Driver =
            unsafe { std::mem::transmute(find(library, DRIVER_SYMBOL)) };
        // SAFETY: the table lives as long as the process.
        Self(library, unsafe { &*contract() })
    }

    fn install_hooks(&self) {
        // SAFETY: a static lives as long as the process.
        unsafe { (self.1.set_hooks)(&raw const HOOKS) };
    }

    fn devices(&self) -> u32 {
        // SAFETY: callable at any time.
        unsafe { (self.1.device_count)() }
    }

    fn drain(&self) {
        // SAFETY: callable at any time.
        unsafe { (self.1.drain)() };
    }

    /// Runs `inside` as the runtime call `cbid`; returns its correlation id.
    fn as_runtime_call(&self, cbid: u32, inside: impl FnOnce()) -> u32 {
        // SAFETY: callable at any time.
        let id = unsafe { (self.1.runtime_enter)(cbid) };
        inside();
        // SAFETY: ends the call just begun.
        unsafe { (self.1.runtime_exit)(cbid, id, 1, 0) };
        id
    }
}

fn find(library: Handle, name: &CStr) -> Handle {
    // SAFETY: the library is loaded, the name NUL-terminated.
    let address = unsafe { libc::dlsym(library, name.as_ptr()) };
    assert!(!address.is_null(), "{name:?}");
    address
}

/// Calls a driver function with arguments of the types that its prototype has, and returns its status.
macro_rules! cu {
    ($library:ident.$name:ident($($value:expr => $type:ty),* $(,)?)) => {{
        let name = CString::new(stringify!($name)).unwrap();
        let address = find($library.0, &name);
        // SAFETY: the test writes the function's prototype next to its arguments.
        let function = unsafe { std::mem::transmute::<Handle, unsafe extern "C" fn($($type),*) -> i32>(address) };
        // SAFETY: as above; pointers lead to locals of the test.
        unsafe { function($($value),*) }
    }};
}

fn launch(library: &Library, function: Handle, grid: u32, stream: Handle) -> i32 {
    let (mut address, mut number) = (0_u64, 0_u64);
    let mut parameters: [Handle; 3] =
        [(&raw mut address).cast(), (&raw mut number).cast(), (&raw mut number).cast()];
    cu!(library.cuLaunchKernel(
        function => Handle, grid => u32, 2 => u32, 1 => u32, 32 => u32, 1 => u32, 1 => u32, 16 => u32,
        stream => Handle, parameters.as_mut_ptr() => *mut Handle, null_mut() => *mut Handle,
    ))
}

#[test]
#[allow(clippy::too_many_lines, reason = "one process has one driver: the parts share its state")]
fn calls_and_work_are_reported_as_wanted() {
    let library = Library::load();
    assert_eq!((library.1.abi_version, library.1.driver_version), (ABI_VERSION, 12040));
    library.install_hooks();
    assert_eq!(cu!(library.cuInit(0 => u32)), 0);
    assert_eq!(library.devices(), 2);

    // Nothing is wanted, nothing is reported.
    let (mut context, mut module, mut stream) = (null_mut(), null_mut(), null_mut());
    let (mut unknown, mut sine) = (null_mut(), null_mut());
    assert_eq!(cu!(library.cuCtxCreate_v2(&raw mut context => *mut Handle, 0 => u32, 1 => i32)), 0);
    assert_eq!(
        cu!(library.cuModuleLoadData(&raw mut module => *mut Handle, PTX.as_ptr() => *const c_char)),
        0
    );
    for (function, name) in [(&raw mut unknown, c"nobody_knows"), (&raw mut sine, c"sin_kernel")] {
        let name = name.as_ptr();
        assert_eq!(
            cu!(library.cuModuleGetFunction(function => *mut Handle, module => Handle, name => *const c_char)),
            0
        );
    }
    assert_eq!(launch(&library, unknown, 1, null_mut()), 0);
    assert_eq!(cu!(library.cuCtxSynchronize()), 0);
    let nothing = reported();
    assert!(nothing.calls.is_empty() && nothing.done.is_empty() && nothing.enqueued.is_empty());
    assert!(nothing.resources.is_empty());

    // A stream; launches that succeed and one that fails.
    want(wanted::DRIVER_API | wanted::KERNEL | wanted::RESOURCE);
    assert_eq!(cu!(library.cuStreamCreate(&raw mut stream => *mut Handle, 1 => u32)), 0);
    for grid in 1..=100 {
        assert_eq!(launch(&library, if grid % 2 == 0 { sine } else { unknown }, grid, stream), 0);
    }
    assert_eq!(launch(&library, unknown, 0, stream), 1);
    library.drain();
    let first = reported();
    let [(resource::STREAM_CREATED, stream_id)] = first.resources[..] else {
        panic!("{:?}", first.resources)
    };
    assert!(stream_id > 7);
    let launches: Vec<_> = first.calls.iter().filter(|call| call.cbid == LAUNCH_KERNEL).collect();
    assert_eq!(launches.len(), 101);
    assert!(
        first.calls.iter().all(|c| c.domain == domain::DRIVER && 0 < c.start_ns && c.start_ns <= c.end_ns)
    );
    assert_eq!(launches.iter().map(|call| call.status).collect::<Vec<_>>(), [vec![0; 100], vec![1]].concat());
    assert_eq!(first.done.len(), 100);
    assert_eq!(first.enqueued.len(), 100);
    let mut end_ns = 0;
    for (number, (record, call)) in first.done.iter().zip(&launches).enumerate() {
        let number = number as u32 + 1;
        assert_eq!(record.correlation_id, call.correlation_id);
        assert_eq!(record.sequence, first.enqueued[number as usize - 1].sequence);
        assert_eq!((record.kind, record.device_id, record.stream_id), (activity::KERNEL, 1, stream_id));
        assert_eq!((record.grid, record.block), ([number, 2, 1], [32, 1, 1]));
        assert_eq!(record.dynamic_shared_bytes, 16);
        // SAFETY: names live as long as their module.
        let name = unsafe { CStr::from_ptr(record.name) };
        if number.is_multiple_of(2) {
            assert_eq!((name, record.computed, record.static_shared_bytes), (c"sin_kernel", 1, 0));
        } else {
            assert_eq!((name, record.computed, record.static_shared_bytes), (c"nobody_knows", 0, 64));
            assert!(record.end_ns - record.start_ns >= 5_000, "kernel_us is 5 by default");
        }
        assert!(
            call.start_ns <= record.start_ns && end_ns <= record.start_ns && record.start_ns < record.end_ns
        );
        end_ns = record.end_ns;
    }

    // Memory: an allocation, copies each way, a memset, a free, and the waiting for them.
    want(wanted::MEMORY | wanted::MEMCPY | wanted::MEMSET | wanted::SYNC);
    let (mut address, mut host) = (0_u64, [7_u8; 48]);
    assert_eq!(cu!(library.cuMemAlloc_v2(&raw mut address => *mut u64, 64 => usize)), 0);
    let bytes = host.as_mut_ptr();
    assert_eq!(cu!(library.cuMemcpyHtoD_v2(address => u64, bytes => *mut u8, 48 => usize)), 0);
    assert_eq!(cu!(library.cuMemsetD32Async(address => u64, 3 => u32, 4 => usize, stream => Handle)), 0);
    assert_eq!(cu!(library.cuStreamSynchronize(stream => Handle)), 0);
    assert_eq!(cu!(library.cuMemcpyDtoH_v2(bytes => *mut u8, address => u64, 48 => usize)), 0);
    assert_eq!(cu!(library.cuMemFree_v2(address => u64)), 0);
    assert_eq!((host[0], host[4], host[15], host[16]), (3, 3, 0, 7));
    let memory = reported();
    assert!(memory.calls.is_empty());
    let kinds: Vec<_> = memory.done.iter().map(|r| (r.kind, r.operation, r.bytes, r.is_async)).collect();
    let expected = [
        (activity::MEMORY, 1, 64, 0),
        (activity::MEMCPY, 1, 48, 0),
        (activity::MEMSET, 0, 16, 1),
        (activity::SYNC, 3, 0, 0),
        (activity::MEMCPY, 2, 48, 0),
        (activity::MEMORY, 2, 64, 0),
    ];
    assert_eq!(kinds, expected);
    let [allocated, to_device, set, _, to_host, _] = memory.done[..] else { panic!() };
    assert_eq!((allocated.address, allocated.source_kind), (address, 3));
    assert_eq!((to_device.source_kind, to_device.destination_kind, to_device.stream_id), (1, 3, 7));
    assert_eq!((set.address, set.destination_kind), (3, 3));
    assert_eq!((to_host.source_kind, to_host.destination_kind), (3, 1));

    // A graph: node ids are the same at each replay, and all nodes carry the correlation id of their launch.
    want(wanted::DRIVER_API | wanted::KERNEL | wanted::RESOURCE);
    let (mut graph, mut executable) = (null_mut(), null_mut());
    assert_eq!(cu!(library.cuStreamBeginCapture_v2(stream => Handle, 0 => u32)), 0);
    for grid in 1..=3 {
        assert_eq!(launch(&library, unknown, grid, stream), 0);
    }
    assert_eq!(cu!(library.cuStreamEndCapture(stream => Handle, &raw mut graph => *mut Handle)), 0);
    let instantiated = &raw mut executable;
    assert_eq!(
        cu!(library.cuGraphInstantiateWithFlags(instantiated => *mut Handle, graph => Handle, 0 => u64)),
        0
    );
    assert!(reported().done.is_empty(), "captured work does not run");
    for _ in 0..2 {
        assert_eq!(cu!(library.cuGraphLaunch(executable => Handle, stream => Handle)), 0);
    }
    library.drain();
    let replays = reported();
    let launches: Vec<_> = replays.calls.iter().filter(|call| call.cbid == GRAPH_LAUNCH).collect();
    assert_eq!((launches.len(), replays.done.len()), (2, 6));
    let (one, two) = replays.done.split_at(3);
    assert!(one.iter().all(|r| r.correlation_id == launches[0].correlation_id && r.graph_id != 0));
    assert!(two.iter().all(|r| r.correlation_id == launches[1].correlation_id));
    let ids = |records: &[Activity]| records.iter().map(|r| r.graph_node_id).collect::<Vec<_>>();
    assert_eq!(ids(one), ids(two));
    assert!(ids(one).is_sorted_by(|a, b| a < b) && one[0].graph_node_id != 0);

    // The same graph, recorded as a whole.
    want(wanted::KERNEL | wanted::GRAPH);
    assert_eq!(cu!(library.cuGraphLaunch(executable => Handle, stream => Handle)), 0);
    library.drain();
    let whole = reported().done;
    assert_eq!(whole.len(), 1);
    assert_eq!((whole[0].kind, whole[0].graph_id), (activity::GRAPH, one[0].graph_id));
    assert!(whole[0].end_ns - whole[0].start_ns >= 15_000);

    // A runtime call: the driver call inside and its work carry the id of the runtime call.
    want(wanted::DRIVER_API | wanted::RUNTIME_API | wanted::KERNEL | wanted::CALLBACKS);
    let id = library.as_runtime_call(211, || assert_eq!(launch(&library, sine, 1, null_mut()), 0));
    library.drain();
    let nested = reported();
    let calls: Vec<_> = nested.calls.iter().map(|c| (c.domain, c.cbid, c.correlation_id)).collect();
    assert_eq!(calls, [(domain::DRIVER, LAUNCH_KERNEL, id), (domain::RUNTIME, 211, id)]);
    assert_eq!(nested.entered, [(domain::RUNTIME, 211, id), (domain::DRIVER, LAUNCH_KERNEL, id)]);
    assert_eq!(nested.done[0].correlation_id, id);
    assert_eq!(nested.done[0].stream_id, 7);

    // No longer wanted.
    want(0);
    assert_eq!(launch(&library, sine, 1, stream), 0);
    library.drain();
    let after = reported();
    assert!(after.calls.is_empty() && after.done.is_empty() && after.enqueued.is_empty());
}
