//! Initialisation, versions, errors, look-up of functions, profiler switches.

use core::ffi::{c_char, c_void};

use crate::call::exports;
use crate::error::{Error, Status, describe};
use crate::export;
use crate::ffi::{In, Out, Text};
use crate::state;

/// `CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM`.
const PER_THREAD: u64 = 2;
/// `CU_GET_PROC_ADDRESS_SUCCESS` and `CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND`.
const FOUND: u32 = 0;
const SYMBOL_NOT_FOUND: u32 = 1;

exports! {
    any fn cuInit(flags: u32) {
        if flags != 0 {
            return Err(Error::INVALID_VALUE);
        }
        state::initialize()
    }

    any fn cuDriverGetVersion(version: Out<i32>) {
        version.check()?;
        version.put(state::configure()?.driver_version)
    }

    any fn cuGetErrorName(error: Status, name: Out<*const c_char>) {
        name.check()?;
        let found = describe(error);
        name.put_if_asked(found.map_or(std::ptr::null(), |(name, _)| name.as_ptr()));
        found.map(|_| ()).ok_or(Error::INVALID_VALUE)
    }

    any fn cuGetErrorString(error: Status, sentence: Out<*const c_char>) {
        sentence.check()?;
        let found = describe(error);
        sentence.put_if_asked(found.map_or(std::ptr::null(), |(_, sentence)| sentence.as_ptr()));
        found.map(|_| ()).ok_or(Error::INVALID_VALUE)
    }

    any fn cuGetProcAddress(symbol: Text, address: Out<*const c_void>, version: i32, flags: u64) {
        address.check()?;
        let found = export::address(&symbol.get()?.to_string_lossy(), version, flags & PER_THREAD != 0);
        address.put_if_asked(found.unwrap_or_default());
        found.map(|_| ()).ok_or(Error::NOT_FOUND)
    }

    any fn cuGetProcAddress_v2(
        symbol: Text, address: Out<*const c_void>, version: i32, flags: u64, status: Out<u32>,
    ) {
        address.check()?;
        let found = export::address(&symbol.get()?.to_string_lossy(), version, flags & PER_THREAD != 0);
        address.put_if_asked(found.unwrap_or_default());
        status.put_if_asked(if found.is_some() { FOUND } else { SYMBOL_NOT_FOUND });
        found.map(|_| ()).ok_or(Error::NOT_FOUND)
    }

    any fn cuGetExportTable(table: Out<*const c_void>, identifier: In<[u8; 16]>) {
        // NVIDIA's private tables are not imitated.
        identifier.get()?;
        table.put(std::ptr::null())?;
        Err(Error::NOT_FOUND)
    }

    ready fn cuProfilerInitialize(_configuration: *const c_char, _output: *const c_char, _mode: i32) {
        Err(Error::NOT_SUPPORTED)
    }

    ready fn cuProfilerStart() {
        Ok(())
    }

    ready fn cuProfilerStop() {
        Ok(())
    }
}
