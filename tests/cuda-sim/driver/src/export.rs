//! The exported C functions, a file for each part of `cuda.h`. Enters: calls of a C program. Leaves: `CUresult`.
//! Refuses: NULL where a pointer is needed, handles that are not live, and to be unwound through.

use core::ffi::c_void;

mod context;
mod copy;
mod device;
mod event;
mod general;
mod graph;
mod launch;
mod memory;
mod module;
mod occupancy;
mod pool;
mod set;
mod stream;

/// Name and address of an exported function, for `cuGetProcAddress`.
pub(crate) struct Export {
    /// Symbol name.
    pub(crate) name: &'static str,
    address: *const c_void,
}

#[allow(unsafe_code, reason = "the address of a function is the same for all threads")]
// SAFETY: as the reason says; it is never written.
unsafe impl Sync for Export {}

impl Export {
    /// For the `exports` macro.
    pub(crate) const fn new(name: &'static str, address: *const c_void) -> Self {
        Self { name, address }
    }
}

static TABLES: [&[Export]; 13] = [
    context::EXPORTS,
    copy::EXPORTS,
    device::EXPORTS,
    event::EXPORTS,
    general::EXPORTS,
    graph::EXPORTS,
    launch::EXPORTS,
    memory::EXPORTS,
    module::EXPORTS,
    occupancy::EXPORTS,
    pool::EXPORTS,
    set::EXPORTS,
    stream::EXPORTS,
];

/// Versions of functions that are newer than the plain name's newest otherwise: symbol and first CUDA version.
/// From the version history in the `PFN_*` names of `cudaTypedefs.h`, CUDA 12.9.
const SINCE: [(&str, i32); 9] = [
    ("cuCtxCreate_v3", 11040),
    ("cuCtxCreate_v4", 12050),
    ("cuGetProcAddress_v2", 12000),
    ("cuEventElapsedTime_v2", 12080),
    ("cuDeviceGetUuid_v2", 11040),
    ("cuMemAdvise_v2", 12020),
    ("cuMemPrefetchAsync_v2", 12020),
    ("cuGraphAddKernelNode_v2", 12000),
    ("cuStreamGetCaptureInfo_v3", 12030),
];

/// The newest function of this name that a program of CUDA `version` knows; `per_thread` prefers the variants for
/// per-thread default streams.
pub(crate) fn address(name: &str, version: i32, per_thread: bool) -> Option<*const c_void> {
    let of = |symbol: &str| TABLES.iter().flat_map(|table| table.iter()).find(|export| export.name == symbol);
    let known = |symbol: &str| SINCE.iter().all(|(newer, since)| *newer != symbol || version >= *since);
    let endings: &[&str] = if per_thread { &["_ptsz", "_ptds", ""] } else { &[""] };
    for ending in endings {
        for revision in ["_v4", "_v3", "_v2", ""] {
            let symbol = format!("{name}{revision}");
            if let Some(export) = known(&symbol).then(|| of(&format!("{symbol}{ending}"))).flatten() {
                return Some(export.address);
            }
        }
    }
    None
}
