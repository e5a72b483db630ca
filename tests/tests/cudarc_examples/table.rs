//! What each example does on the device, worked out by hand from its source and from cudarc's
//! (`src/driver/safe/core.rs`, `launch.rs`, `src/driver/result.rs` of 0.19.10).
//!
//! Enters: nothing. Leaves: one row an example. Refuses: nothing; `calls.rs` checks the rows against the driver calls.
//!
//! The device has memory pools, so `stream.alloc` is `cuMemAllocAsync` and a dropped slice `cuMemFreeAsync`.
//! `alloc_zeros` is an allocation and a memset, `clone_htod` an allocation and a copy, `slice.clone()` and `clone_dtod`
//! an allocation and a copy within the device, or from the other device where the slice is on another one.

use gpu_agent_tests::{GroundTruth, Volume};

/// An example and what it does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Example {
    /// Its name in cudarc's manifest.
    pub(crate) name: &'static str,
    /// Launches: kernel and number.
    kernel: Option<(&'static str, u64)>,
    /// Copies: number and bytes together.
    h2d: (u64, u64),
    d2h: (u64, u64),
    d2d: (u64, u64),
    p2p: (u64, u64),
    /// Memsets: number and bytes together.
    memsets: (u64, u64),
    allocations: u64,
    frees: u64,
    /// A part of what it prints if it has computed right. Most also assert their results and fail if they are wrong.
    pub(crate) prints: &'static str,
    /// Whether it compiles with libnvrtc.
    pub(crate) compiles: bool,
    /// Whether it calls CUPTI before the driver, and so needs the driver loaded before.
    pub(crate) is_profiler: bool,
}

/// Does nothing on the device.
const NOTHING: Example = Example {
    name: "",
    kernel: None,
    h2d: (0, 0),
    d2h: (0, 0),
    d2d: (0, 0),
    p2p: (0, 0),
    memsets: (0, 0),
    allocations: 0,
    frees: 0,
    prints: "",
    compiles: false,
    is_profiler: false,
};

/// All examples but [`NOT_RUN`].
pub(crate) const EXAMPLES: [Example; 13] = [
    // 10 f32 not set, 10 f64 zeroed, 10 usize and 3 u32 copied up.
    Example {
        name: "01-allocate",
        memsets: (1, 10 * 8),
        h2d: (2, 10 * 8 + 3 * 4),
        allocations: 4,
        frees: 4,
        ..NOTHING
    },
    // Two times 10 f64 zeroed; one copied to the other; that one set twice; both read, the second twice.
    Example {
        name: "02-copy",
        memsets: (2, 2 * 80),
        d2d: (1, 80),
        h2d: (2, 2 * 80),
        d2h: (3, 3 * 80),
        allocations: 2,
        frees: 2,
        ..NOTHING
    },
    // 3 f32 copied up and cloned; the kernel; both read.
    Example {
        name: "03-launch-kernel",
        kernel: Some(("sin_kernel", 1)),
        h2d: (1, 12),
        d2d: (1, 12),
        d2h: (2, 2 * 12),
        allocations: 2,
        frees: 2,
        prints: "Found [0.84147096, 0.9092974, 0.14112]\n",
        ..NOTHING
    },
    // The same on a second stream, with zeros for the clone.
    Example {
        name: "04-streams",
        kernel: Some(("sin_kernel", 1)),
        h2d: (1, 12),
        memsets: (1, 12),
        d2h: (2, 2 * 12),
        allocations: 2,
        frees: 2,
        prints: "Found [0.84147096, 0.9092974, 0.14112]\n",
        ..NOTHING
    },
    // A struct as the kernel's parameter; not waited for.
    Example { name: "05-device-repr", kernel: Some(("my_custom_kernel", 1)), compiles: true, ..NOTHING },
    // 10 threads with one context, then 10 with one each.
    Example {
        name: "06-threading",
        kernel: Some(("hello_world", 20)),
        prints: "Hello from the cuda kernel in thread 9\n",
        compiles: true,
        ..NOTHING
    },
    // Counts the devices, and records its own driver calls with CUPTI.
    Example { name: "08-cupti", prints: "cupti completed buffer", is_profiler: true, ..NOTHING },
    // 4 f32 to constant memory, 6 f32 copied up, 6 zeroed; the kernel; 6 read.
    Example {
        name: "09-constant-memory",
        kernel: Some(("polynomial_kernel", 1)),
        h2d: (2, 4 * 4 + 6 * 4),
        memsets: (1, 6 * 4),
        d2h: (1, 6 * 4),
        allocations: 2,
        frees: 2,
        prints: "All results match expected values!",
        compiles: true,
        ..NOTHING
    },
    // Asks only.
    Example { name: "10-function-attributes", prints: "Total threads per grid:", ..NOTHING },
    // Asks, and sets limits.
    Example { name: "12-context-config", prints: "Restored cache config", ..NOTHING },
    // 10 f64 zeroed on device 0, cloned to device 1, both read. Dropped last is the slice of device 0; the context of
    // device 1 is still the thread's and released already, so that free fails (CUDA_ERROR_CONTEXT_IS_DESTROYED), which
    // cudarc notes and does not report.
    Example {
        name: "13-copy-multi-gpu",
        memsets: (1, 80),
        p2p: (1, 80),
        d2h: (2, 2 * 80),
        allocations: 2,
        frees: 1,
        ..NOTHING
    },
    // Three 2 × 2 matrices of f32 copied up, one read.
    Example {
        name: "matmul-kernel",
        kernel: Some(("matmul", 1)),
        h2d: (3, 3 * 16),
        d2h: (1, 16),
        allocations: 3,
        frees: 3,
        prints: "Found [7.0, 10.0, 15.0, 22.0]",
        compiles: true,
        ..NOTHING
    },
    // Does not call the driver.
    Example { name: "nvrtc-compile", prints: "Compilation succeeded!", compiles: true, ..NOTHING },
];

/// Needs libcufile and its kernel module, for which there is no simulation.
pub(crate) const NOT_RUN: &str = "cufile-copy";

impl Example {
    /// What it does, as the agent has to report it.
    pub(crate) fn truth(&self) -> GroundTruth {
        let volume = |(count, bytes)| Volume { count, bytes };
        let copies = [("h2d", self.h2d), ("d2h", self.d2h), ("d2d", self.d2d), ("p2p", self.p2p)];
        let memory = [("alloc", self.allocations), ("free", self.frees)];
        GroundTruth {
            launches: self.kernel.into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
            copies: copies
                .into_iter()
                .filter(|(_, (count, _))| *count > 0)
                .map(|(direction, copies)| (direction.to_owned(), volume(copies)))
                .collect(),
            memsets: volume(self.memsets),
            memory: memory
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .map(|(operation, count)| (operation.to_owned(), count))
                .collect(),
            graph_launches: 0,
        }
    }
}
