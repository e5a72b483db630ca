//! The symbol by which the simulated CUPTI and runtime find this driver. Enters: nothing. Leaves: the table of
//! [`cuda_sim_abi::Driver`]. Refuses: ordinals out of range.
#![allow(unsafe_code, reason = "the C contract between the simulated libraries")]

use core::ffi::c_void;
use std::sync::OnceLock;

use cuda_sim_abi::{ABI_VERSION, ContextInfo, DeviceInfo, Driver};

use crate::error::{Error, SUCCESS};
use crate::{call, context, device, hooks, state, stream};

/// [`cuda_sim_abi::DRIVER_SYMBOL`].
#[unsafe(no_mangle)]
extern "C" fn gpu_agent_cuda_sim_driver() -> *const Driver {
    static DRIVER: OnceLock<Driver> = OnceLock::new();
    DRIVER.get_or_init(|| Driver {
        abi_version: ABI_VERSION,
        driver_version: state::configure().map_or(0, |config| config.driver_version),
        set_hooks: hooks::install,
        runtime_enter: call::runtime_enter,
        runtime_exit: call::runtime_exit,
        device_count,
        describe_device,
        visit_contexts,
        drain,
    })
}

unsafe extern "C" fn device_count() -> u32 {
    device::all().len() as u32
}

unsafe extern "C" fn describe_device(ordinal: u32, out: *mut DeviceInfo) -> i32 {
    let found = i32::try_from(ordinal).ok().and_then(|ordinal| device::by_ordinal(ordinal).ok());
    match found {
        Some(device) if !out.is_null() => {
            // SAFETY: not NULL, and by the contract valid for a write.
            unsafe { out.write(device.describe()) };
            SUCCESS
        }
        Some(_) => Error::INVALID_VALUE.0,
        None => Error::INVALID_DEVICE.0,
    }
}

unsafe extern "C" fn visit_contexts(
    visit: unsafe extern "C" fn(data: *mut c_void, info: *const ContextInfo),
    data: *mut c_void,
) {
    for context in context::live() {
        let info = ContextInfo {
            context_id: context.id,
            device_id: context.device.ordinal,
            null_stream_id: stream::DEFAULT_ID,
            reserved: 0,
        };
        // SAFETY: by the contract, `visit` takes `data` and an info that is valid during the call.
        unsafe { visit(data, &raw const info) };
    }
}

unsafe extern "C" fn drain() {
    if !matches!(state::phase(), state::Phase::Forked) {
        context::live().into_iter().for_each(context::Context::drain);
    }
}
