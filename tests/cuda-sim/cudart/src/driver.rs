//! The driver that the runtime stands on. Enters: nothing. Leaves: its functions, found by `dlsym` in
//! `libcuda.so.1`. Refuses: a driver without the simulator's contract, or without one of the functions.
#![allow(unsafe_code, reason = "dlopen, dlsym and function pointers of C")]

use core::ffi::{CStr, c_char, c_void};
use std::sync::OnceLock;

use cuda_sim_abi::{ABI_VERSION, DRIVER_SYMBOL};

use crate::error::Status;

/// `CUcontext`, `CUstream`, `CUevent`, `CUmodule`, `CUfunction`, `CUgraph`, `CUgraphExec`.
pub(crate) type Handle = *mut c_void;

/// One pointer a kernel parameter.
pub(crate) type Parameters = *mut *mut c_void;

type Address = *mut c_void;
type Contract = extern "C" fn() -> *const cuda_sim_abi::Driver;

macro_rules! functions {
    ($($name:ident($($type:ty),*);)*) => {
        /// The driver's functions, with the prototypes of `cuda.h`.
        #[allow(non_snake_case, reason = "the C names")]
        pub(crate) struct Driver {
            /// The simulator's contract.
            pub(crate) contract: &'static cuda_sim_abi::Driver,
            $(
                #[doc = concat!("`", stringify!($name), "`")]
                pub(crate) $name: unsafe extern "C" fn($($type),*) -> Status,
            )*
        }

        impl Driver {
            fn load() -> Option<Self> {
                // SAFETY: the name is NUL-terminated; the simulated driver's constructors do nothing.
                let library = unsafe { libc::dlopen(c"libcuda.so.1".as_ptr(), libc::RTLD_NOW) };
                let contract = find(library, DRIVER_SYMBOL)?;
                // SAFETY: the symbol has this type by the contract.
                let contract = unsafe { std::mem::transmute::<Address, Contract>(contract) };
                // SAFETY: NULL, or a table that lives as long as the process.
                let contract = unsafe { contract().as_ref() }.filter(|it| it.abi_version == ABI_VERSION)?;
                Some(Self {
                    contract,
                    $($name: {
                        let name = CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()).ok()?;
                        let address = find(library, name)?;
                        // SAFETY: a simulated driver of this contract exports the function with this prototype.
                        unsafe { std::mem::transmute::<Address, unsafe extern "C" fn($($type),*) -> Status>(address) }
                    },)*
                })
            }
        }
    };
}

fn find(library: *mut c_void, name: &CStr) -> Option<*mut c_void> {
    if library.is_null() {
        return None;
    }
    // SAFETY: the handle is live, the name NUL-terminated.
    let address = unsafe { libc::dlsym(library, name.as_ptr()) };
    (!address.is_null()).then_some(address)
}

/// The driver, loaded when first asked for; `None` when there is no simulated one.
pub(crate) fn driver() -> Option<&'static Driver> {
    static DRIVER: OnceLock<Option<Driver>> = OnceLock::new();
    DRIVER.get_or_init(Driver::load).as_ref()
}

functions! {
    cuInit(u32);
    cuDriverGetVersion(*mut i32);
    cuDeviceGetCount(*mut i32);
    cuDeviceGetName(*mut c_char, i32, i32);
    cuDeviceGetUuid_v2(*mut [u8; 16], i32);
    cuDeviceTotalMem_v2(*mut usize, i32);
    cuDeviceGetAttribute(*mut i32, i32, i32);
    cuDeviceGetPCIBusId(*mut c_char, i32, i32);
    cuDeviceCanAccessPeer(*mut i32, i32, i32);
    cuDevicePrimaryCtxRetain(*mut Handle, i32);
    cuDevicePrimaryCtxReset_v2(i32);
    cuCtxSetCurrent(Handle);
    cuCtxGetCurrent(*mut Handle);
    cuCtxGetDevice(*mut i32);
    cuCtxSynchronize();
    cuCtxEnablePeerAccess(Handle, u32);
    cuCtxGetStreamPriorityRange(*mut i32, *mut i32);
    cuMemGetInfo_v2(*mut usize, *mut usize);
    cuMemAlloc_v2(*mut u64, usize);
    cuMemAllocManaged(*mut u64, usize, u32);
    cuMemFree_v2(u64);
    cuMemHostAlloc(*mut *mut c_void, usize, u32);
    cuMemFreeHost(*mut c_void);
    cuMemHostRegister_v2(*mut c_void, usize, u32);
    cuMemHostUnregister(*mut c_void);
    cuMemAllocAsync(*mut u64, usize, Handle);
    cuMemFreeAsync(u64, Handle);
    cuMemcpy(u64, u64, usize);
    cuMemcpy_ptds(u64, u64, usize);
    cuMemcpyAsync(u64, u64, usize, Handle);
    cuMemcpyHtoD_v2(u64, u64, usize);
    cuMemcpyDtoH_v2(u64, u64, usize);
    cuMemcpyDtoD_v2(u64, u64, usize);
    cuMemcpyHtoDAsync_v2(u64, u64, usize, Handle);
    cuMemcpyDtoHAsync_v2(u64, u64, usize, Handle);
    cuMemcpyDtoDAsync_v2(u64, u64, usize, Handle);
    cuMemcpyPeer(u64, Handle, u64, Handle, usize);
    cuMemcpyPeerAsync(u64, Handle, u64, Handle, usize, Handle);
    cuMemsetD8_v2(u64, u8, usize);
    cuMemsetD8Async(u64, u8, usize, Handle);
    cuPointerGetAttribute(*mut c_void, u32, u64);
    cuStreamCreateWithPriority(*mut Handle, u32, i32);
    cuStreamDestroy_v2(Handle);
    cuStreamSynchronize(Handle);
    cuStreamQuery(Handle);
    cuStreamWaitEvent(Handle, Handle, u32);
    cuStreamBeginCapture_v2(Handle, u32);
    cuStreamEndCapture(Handle, *mut Handle);
    cuStreamIsCapturing(Handle, *mut u32);
    cuLaunchHostFunc(Handle, Option<unsafe extern "C" fn(*mut c_void)>, *mut c_void);
    cuEventCreate(*mut Handle, u32);
    cuEventDestroy_v2(Handle);
    cuEventRecord(Handle, Handle);
    cuEventQuery(Handle);
    cuEventSynchronize(Handle);
    cuEventElapsedTime(*mut f32, Handle, Handle);
    cuModuleLoadData(*mut Handle, *const c_void);
    cuModuleUnload(Handle);
    cuModuleGetFunction(*mut Handle, Handle, *const c_char);
    cuModuleGetGlobal_v2(*mut u64, *mut usize, Handle, *const c_char);
    cuFuncSetAttribute(Handle, i32, i32);
    cuOccupancyMaxActiveBlocksPerMultiprocessor(*mut i32, Handle, i32, usize);
    cuLaunchKernel(Handle, u32, u32, u32, u32, u32, u32, u32, Handle, Parameters, Parameters);
    cuLaunchCooperativeKernel(Handle, u32, u32, u32, u32, u32, u32, u32, Handle, Parameters);
    cuGraphInstantiateWithFlags(*mut Handle, Handle, u64);
    cuGraphLaunch(Handle, Handle);
    cuGraphExecDestroy(Handle);
    cuGraphDestroy(Handle);
    cuGraphGetNodes(Handle, *mut Handle, *mut usize);
    cuProfilerStart();
    cuProfilerStop();
}
