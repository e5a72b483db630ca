//! Keys of attributes, and the closed sets of their values.
//!
//! Enters: nothing. Leaves: constants. Refuses: values that come from a target (names, numbers); those are data.
//!
//! An attribute that is not known for a series (a device that was never described, a kernel that has no v1) is
//! left out, never filled with a guess.

/// Process id in the agent's pid namespace.
pub const PID: &str = "process.pid";
/// File name of the process's executable.
pub const EXECUTABLE: &str = "process.executable.name";
/// CUDA device ordinal within the process.
pub const GPU: &str = "gpu";
/// Device UUID, as nvidia-smi prints it.
pub const GPU_UUID: &str = "gpu.uuid";
/// Device name; contains "Simulated" for a simulated device.
pub const GPU_MODEL: &str = "gpu.model";
/// Compute capability, `major.minor`.
pub const COMPUTE_CAPABILITY: &str = "gpu.compute_capability";
/// Class of a kernel, from `agent/classes/kernels.toml`.
pub const KERNEL_CLASS: &str = "kernel.class";
/// Demangled, shortened kernel name; `_other` past the series limit.
pub const KERNEL_NAME: &str = "kernel.name";
/// `true` or `false`: whether paged attention ran as v1 (one pass) or v2 (partitioned).
pub const USE_V1: &str = "use_v1";
/// `gpu` for time on the device, `host` for time of the calling thread.
pub const TIMING: &str = "timing";
/// Inference engine: the name of the probe specification.
pub const ENGINE: &str = "engine";
/// Class of an operation: `paged_attention`, `cache_update`, `decode`, …; see [`crate::event::OpClass`].
pub const OP: &str = "op";
/// Name of a probe; `_other` past the series limit.
pub const PROBE: &str = "probe";
/// Name of a tensor among a call's arguments; `_other` past the series limit.
pub const TENSOR_NAME: &str = "tensor_name";
/// Element type of a tensor.
pub const DTYPE: &str = "dtype";
/// `hit` or `miss`.
pub const RESULT: &str = "result";
/// Direction of a copy: `h2d`, `d2h`, `d2d`, `p2p`, `h2h`, `unknown`.
pub const DIRECTION: &str = "direction";
/// `memcpy`, `memset`, `alloc` or `free`.
pub const OPERATION: &str = "operation";
/// Kind of memory: `device`, `pinned`, `managed`, `pool`, `pageable`, `array`, `static`, `unknown`.
pub const MEMORY_KIND: &str = "memory.kind";
/// CUDA API: `driver` or `runtime`.
pub const API: &str = "api";
/// Function of that API.
pub const FUNCTION: &str = "function";
/// Name of a CUDA error code.
pub const ERROR: &str = "error.type";
/// What was waited for, or what time was spent on.
pub const ACTIVITY: &str = "activity";
/// A stage of the pipeline.
pub const HOP: &str = "hop";
/// What became of the records at that stage.
pub const OUTCOME: &str = "outcome";
/// What was left without its other half.
pub const ORPHAN: &str = "orphan";
/// When a CUDA graph was made: `attached` for while an agent was attached, `before`, `unknown` where CUPTI does not tell.
pub const GRAPH_MADE: &str = "graph_made";
/// State of a target process.
pub const STATE: &str = "state";
/// Name of an exporter.
pub const EXPORTER: &str = "exporter";
/// Version of this agent.
pub const VERSION: &str = "version";

/// Values of [`TIMING`].
pub mod timing {
    /// Time on the device.
    pub const GPU: &str = "gpu";
    /// Time of the calling thread.
    pub const HOST: &str = "host";
}

/// Values of [`RESULT`].
pub mod result {
    /// It was there.
    pub const HIT: &str = "hit";
    /// It was not.
    pub const MISS: &str = "miss";
}

/// The value that stands for everything past the series limit (`kernel.name`, `function`, `gpu`, `error.type`, `probe`,
/// `tensor_name`).
pub const OTHER: &str = "_other";

/// Values of [`HOP`].
pub mod hop {
    /// CUPTI, in the target.
    pub const CUPTI: &str = "cupti";
    /// The shim, in the target.
    pub const SHIM: &str = "shim";
    /// The shared-memory ring.
    pub const RING: &str = "ring";
    /// The agent's decoder.
    pub const DECODE: &str = "decode";
    /// The BPF programs, in Linux.
    pub const BPF: &str = "bpf";
    /// The agent's decoder of probes' records.
    pub const PROBES: &str = "probes";
    /// The pairing of entries and returns.
    pub const CORRELATE: &str = "correlate";
}

/// Values of [`GRAPH_MADE`].
pub mod made {
    /// While an agent was attached.
    pub const ATTACHED: &str = "attached";
    /// While none was.
    pub const BEFORE: &str = "before";
    /// CUPTI does not tell.
    pub const UNKNOWN: &str = "unknown";
}

/// Values of [`OUTCOME`].
pub mod outcome {
    /// Went on to the next stage.
    pub const PASSED: &str = "passed";
    /// Thrown away: by CUPTI itself, or because a queue was full.
    pub const DROPPED: &str = "dropped";
    /// Overwritten in the ring before it was read.
    pub const LOST: &str = "lost";
    /// Of a kind that this stage does not know.
    pub const UNKNOWN: &str = "unknown";
    /// Too short, or contradicting itself.
    pub const MALFORMED: &str = "malformed";
    /// Left out to stay within the overhead budget.
    pub const OVER_BUDGET: &str = "over_budget";
    /// Left out by a filter, as asked for.
    pub const FILTERED: &str = "filtered";
    /// Without its other half.
    pub const ORPHANED: &str = "orphaned";
    /// An error on the way.
    pub const FAILED: &str = "failed";
    /// Arrived, and was refused by the receiver.
    pub const REJECTED: &str = "rejected";
}
