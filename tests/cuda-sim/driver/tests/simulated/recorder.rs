//! The simulated driver with hooks installed, as the simulated CUPTI installs them, and what they were told.
#![allow(dead_code, unused_macros, unused_imports, reason = "each test binary uses its part")]
#![allow(unsafe_code, reason = "calls C functions found by dlsym")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::null_mut;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use cuda_sim_abi::{
    ABI_VERSION, Activity, ApiCall, DRIVER_SYMBOL, Driver, Hooks, Resource, activity, domain, resource,
    wanted,
};

pub(crate) type Handle = *mut c_void;

/// A kernel that nobody knows and one that is computed.
pub(crate) const PTX: &CStr = c".version 7.0\n.target sm_80\n.address_size 64\n\
    .visible .entry nobody_knows(.param .u64 a, .param .u32 b) { .shared .align 4 .b8 tile[64]; ret; }\n\
    .visible .entry sin_kernel(.param .u64 a, .param .u64 b, .param .u32 c) { ret; }\n";

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
pub(crate) struct Reported {
    pub(crate) calls: Vec<ApiCall>,
    pub(crate) entered: Vec<(u32, u32, u32)>,
    pub(crate) enqueued: Vec<Activity>,
    pub(crate) done: Vec<Activity>,
    pub(crate) resources: Vec<(u32, u32)>,
}

pub(crate) fn reported() -> Reported {
    let bare = |records: Vec<Record>| records.into_iter().map(|record| record.0).collect();
    Reported {
        calls: std::mem::take(&mut CALLS.lock().unwrap()),
        entered: std::mem::take(&mut ENTERED.lock().unwrap()),
        enqueued: bare(std::mem::take(&mut ENQUEUED.lock().unwrap())),
        done: bare(std::mem::take(&mut DONE.lock().unwrap())),
        resources: std::mem::take(&mut RESOURCES.lock().unwrap()),
    }
}

pub(crate) fn want(bits: u64) {
    HOOKS.wanted.store(bits, Ordering::Relaxed);
}

/// The loaded driver and its end of the contract.
pub(crate) struct Library(pub(crate) Handle, pub(crate) &'static Driver);

impl Library {
    pub(crate) fn load() -> Self {
        let path = CString::new(crate::sim::simulator().join("libcuda.so.1").to_str().unwrap()).unwrap();
        // SAFETY: the path is NUL-terminated; the library's constructors do nothing.
        let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        assert!(!library.is_null());
        // SAFETY: the symbol has this type by the contract.
        let contract: extern "C" fn() -> *const Driver =
            unsafe { std::mem::transmute(find(library, DRIVER_SYMBOL)) };
        // SAFETY: the table lives as long as the process.
        Self(library, unsafe { &*contract() })
    }

    pub(crate) fn install_hooks(&self) {
        // SAFETY: a static lives as long as the process.
        unsafe { (self.1.set_hooks)(&raw const HOOKS) };
    }

    pub(crate) fn devices(&self) -> u32 {
        // SAFETY: callable at any time.
        unsafe { (self.1.device_count)() }
    }

    pub(crate) fn drain(&self) {
        // SAFETY: callable at any time.
        unsafe { (self.1.drain)() };
    }

    /// Runs `inside` as the runtime call `cbid`; returns its correlation id.
    pub(crate) fn as_runtime_call(&self, cbid: u32, inside: impl FnOnce()) -> u32 {
        // SAFETY: callable at any time.
        let id = unsafe { (self.1.runtime_enter)(cbid) };
        inside();
        // SAFETY: ends the call just begun.
        unsafe { (self.1.runtime_exit)(cbid, id, 1, 0) };
        id
    }
}

pub(crate) fn find(library: Handle, name: &CStr) -> Handle {
    // SAFETY: the library is loaded, the name NUL-terminated.
    let address = unsafe { libc::dlsym(library, name.as_ptr()) };
    assert!(!address.is_null(), "{name:?}");
    address
}

/// Calls a driver function with arguments of the types that its prototype has, and returns its status.
macro_rules! cu {
    ($library:ident.$name:ident($($value:expr => $type:ty),* $(,)?)) => {{
        let name = std::ffi::CString::new(stringify!($name)).unwrap();
        let address = $crate::recorder::find($library.0, &name);
        // SAFETY: the test writes the function's prototype next to its arguments.
        let function = unsafe { std::mem::transmute::<$crate::recorder::Handle, unsafe extern "C" fn($($type),*) -> i32>(address) };
        // SAFETY: as above; pointers lead to locals of the test.
        unsafe { function($($value),*) }
    }};
}

pub(crate) use cu;

/// Launches with 32 threads a block in `stream`.
pub(crate) fn launch(library: &Library, function: Handle, grid: u32, stream: Handle) -> i32 {
    let (mut address, mut number) = (0_u64, 0_u64);
    let mut parameters: [Handle; 3] =
        [(&raw mut address).cast(), (&raw mut number).cast(), (&raw mut number).cast()];
    cu!(library.cuLaunchKernel(
        function => Handle, grid => u32, 2 => u32, 1 => u32, 32 => u32, 1 => u32, 1 => u32, 16 => u32,
        stream => Handle, parameters.as_mut_ptr() => *mut Handle, null_mut() => *mut Handle,
    ))
}
