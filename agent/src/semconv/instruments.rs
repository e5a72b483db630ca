//! The instruments themselves: each a constant, and all of them in [`INSTRUMENTS`].
//!
//! Enters: nothing. Leaves: constants. Refuses: instruments that nothing feeds.

use super::attribute as a;
use super::bounds::{CALL_MILLISECONDS, GPU_SECONDS, HOST_SECONDS, TENSOR_BYTES};
use super::{Instrument, InstrumentKind};

/// Declares instruments; the doc comment is the public description too.
macro_rules! instruments {
    ($($(#[doc = $doc:literal])+ $ident:ident: $kind:ident $name:literal [$unit:literal]
        [$($attribute:expr),*] $($bounds:expr)?;)*) => {
        $($(#[doc = $doc])+
        pub static $ident: Instrument = Instrument {
            name: $name,
            kind: InstrumentKind::$kind,
            unit: $unit,
            description: concat!($($doc),+).trim_ascii(),
            attributes: &[$($attribute),*],
            bounds: instruments!(@bounds $($bounds)?),
        };)*

        /// Every instrument, in the order in which snapshots and docs/metrics.md list them.
        pub static INSTRUMENTS: &[&Instrument] = &[$(&$ident),*];
    };
    (@bounds) => { &[] };
    (@bounds $bounds:expr) => { $bounds };
}

instruments! {
    /// Executions of paged attention on the GPU, where CUPTI's records show them; a v2 call (main and reduce kernel) counts
    /// once. Elsewhere calls of the probed entry points, which have no `gpu`.
    PAGED_ATTENTION_CALLS: Counter "paged_attention_calls" [""]
        [a::PID, a::EXECUTABLE, a::GPU, a::GPU_UUID, a::GPU_MODEL, a::USE_V1];
    /// Time of one paged-attention call: `timing="gpu"` is that of its kernels (the reduce kernel of a v2 call is part of it),
    /// `timing="host"` that of the calling thread in the probed entry point.
    PAGED_ATTENTION_DURATION: Histogram "paged_attention_duration_ms" ["ms"]
        [a::PID, a::EXECUTABLE, a::GPU, a::GPU_UUID, a::GPU_MODEL, a::USE_V1, a::TIMING] CALL_MILLISECONDS;
    /// Executions of kernels that write new keys and values into the KV cache, where CUPTI's records show them; elsewhere
    /// calls of the probed entry points, which have no `gpu`.
    CACHE_UPDATE_CALLS: Counter "cache_update_calls" [""]
        [a::PID, a::EXECUTABLE, a::GPU, a::GPU_UUID, a::GPU_MODEL];
    /// Time of one KV-cache update, on the GPU or of the calling thread.
    CACHE_UPDATE_DURATION: Histogram "cache_update_duration_ms" ["ms"]
        [a::PID, a::EXECUTABLE, a::GPU, a::GPU_UUID, a::GPU_MODEL, a::TIMING] CALL_MILLISECONDS;

    /// Size of a tensor among the arguments of a probed call, counted once a call. Views share storage, so sums may count bytes
    /// more than once.
    TENSOR_SIZE: Histogram "tensor_size_bytes" ["By"]
        [a::PID, a::EXECUTABLE, a::TENSOR_NAME, a::DTYPE, a::OP] TENSOR_BYTES;

    /// Calls of probed entry points of inference engines.
    OP_CALLS: Counter "engine.op.calls" [""] [a::PID, a::EXECUTABLE, a::ENGINE, a::OP, a::PROBE];
    /// Host time of one such call, from its entry to its return.
    OP_DURATION: Histogram "engine.op.duration" ["s"]
        [a::PID, a::EXECUTABLE, a::ENGINE, a::OP, a::PROBE, a::TIMING] HOST_SECONDS;
    /// Such calls that were left without a return: by an exception, by `longjmp`, or with their thread.
    OP_UNWOUND: Counter "engine.op.unwound" [""] [a::PID, a::EXECUTABLE, a::ENGINE, a::OP, a::PROBE];
    /// Such calls whose return value says that they failed.
    OP_FAILURES: Counter "engine.op.failures" [""] [a::PID, a::EXECUTABLE, a::ENGINE, a::OP, a::PROBE];
    /// Tokens of calls that state their number.
    OP_TOKENS: Counter "engine.op.tokens" [""] [a::PID, a::EXECUTABLE, a::ENGINE, a::OP, a::PROBE];
    /// Bytes moved, loaded or allocated by calls that state their number.
    OP_BYTES: Counter "engine.op.bytes" ["By"] [a::PID, a::EXECUTABLE, a::ENGINE, a::OP, a::PROBE];
    /// Blocks that calls of the class `cache_lookup` asked for, by `result`: `hit` or `miss`.
    CACHE_BLOCKS: Counter "engine.cache.blocks" [""] [a::PID, a::EXECUTABLE, a::ENGINE, a::PROBE, a::RESULT];

    /// Kernel executions.
    KERNEL_EXECUTIONS: Counter "gpu.kernel.executions" [""]
        [a::PID, a::EXECUTABLE, a::GPU, a::GPU_UUID, a::GPU_MODEL, a::KERNEL_CLASS, a::KERNEL_NAME];
    /// GPU time of one kernel execution.
    KERNEL_DURATION: Histogram "gpu.kernel.execution.duration" ["s"]
        [a::PID, a::EXECUTABLE, a::GPU, a::GPU_UUID, a::GPU_MODEL, a::KERNEL_CLASS, a::KERNEL_NAME, a::TIMING]
        GPU_SECONDS;
    /// Theoretical occupancy of a kernel's last launch configuration: resident warps over the most possible.
    KERNEL_OCCUPANCY: Gauge "gpu.kernel.occupancy.theoretical" ["1"]
        [a::PID, a::EXECUTABLE, a::GPU, a::GPU_UUID, a::GPU_MODEL, a::KERNEL_CLASS, a::KERNEL_NAME];

    /// Copies, memsets, allocations and frees.
    MEMORY_OPERATIONS: Counter "gpu.memory.operations" [""]
        [a::PID, a::EXECUTABLE, a::GPU, a::GPU_UUID, a::GPU_MODEL, a::OPERATION, a::DIRECTION, a::MEMORY_KIND];
    /// GPU time of one copy or memset.
    MEMORY_TRANSFER_DURATION: Histogram "gpu.memory.transfer.duration" ["s"]
        [a::PID, a::EXECUTABLE, a::GPU, a::GPU_UUID, a::GPU_MODEL, a::OPERATION, a::DIRECTION, a::TIMING]
        GPU_SECONDS;
    /// Bytes copied or set.
    MEMORY_TRANSFER_BYTES: Counter "gpu.memory.transfer.bytes" ["By"]
        [a::PID, a::EXECUTABLE, a::GPU, a::GPU_UUID, a::GPU_MODEL, a::OPERATION, a::DIRECTION];
    /// Bytes copied per GPU time spent copying (10⁹ bytes per second), over the last second that had a copy.
    MEMORY_BANDWIDTH: Gauge "gpu.memory.bandwidth" ["GBy/s"]
        [a::PID, a::EXECUTABLE, a::GPU, a::GPU_UUID, a::GPU_MODEL, a::OPERATION, a::DIRECTION];
    /// Memory allocated and not yet freed since the agent attached.
    MEMORY_USAGE: Gauge "gpu.memory.usage" ["By"]
        [a::PID, a::EXECUTABLE, a::GPU, a::GPU_UUID, a::GPU_MODEL, a::MEMORY_KIND];

    /// CUDA API calls traced: launches, copies, memsets, allocations. Host calls, not executions.
    API_CALLS: Counter "gpu.api.calls" [""] [a::PID, a::EXECUTABLE, a::API, a::FUNCTION];
    /// Host time of one CUDA API call.
    API_DURATION: Histogram "gpu.api.duration" ["s"]
        [a::PID, a::EXECUTABLE, a::API, a::FUNCTION, a::TIMING] HOST_SECONDS;
    /// CUDA API calls that returned an error. "Not ready", the answer of a query, is none.
    ERRORS: Counter "gpu.errors" [""] [a::PID, a::EXECUTABLE, a::API, a::FUNCTION, a::ERROR];
    /// Host time of one wait for the device.
    SYNC_DURATION: Histogram "gpu.sync.duration" ["s"]
        [a::PID, a::EXECUTABLE, a::ACTIVITY, a::TIMING] HOST_SECONDS;
    /// Whole graph launches (graph mode only: otherwise each node counts as a kernel or copy).
    GRAPH_LAUNCHES: Counter "gpu.graph.launches" [""]
        [a::PID, a::EXECUTABLE, a::GPU, a::GPU_UUID, a::GPU_MODEL];
    /// GPU time of one whole graph launch.
    GRAPH_DURATION: Histogram "gpu.graph.duration" ["s"]
        [a::PID, a::EXECUTABLE, a::GPU, a::GPU_UUID, a::GPU_MODEL, a::TIMING] GPU_SECONDS;
    /// Host time that CUPTI or the driver spent on their own work, as CUPTI reports it.
    PROFILING_OVERHEAD: Histogram "gpu.profiling.overhead.duration" ["s"]
        [a::PID, a::EXECUTABLE, a::ACTIVITY, a::TIMING] HOST_SECONDS;

    /// A device that a target uses; the value is always 1.
    DEVICE_INFO: Gauge "gpu.device.info" [""]
        [a::PID, a::EXECUTABLE, a::GPU, a::GPU_UUID, a::GPU_MODEL, a::COMPUTE_CAPABILITY];
    /// Total memory of a device.
    DEVICE_MEMORY: Gauge "gpu.device.memory" ["By"]
        [a::PID, a::EXECUTABLE, a::GPU, a::GPU_UUID, a::GPU_MODEL];
    /// Peak memory bandwidth of a device, as its driver states it.
    DEVICE_BANDWIDTH: Gauge "gpu.device.memory.bandwidth" ["By/s"]
        [a::PID, a::EXECUTABLE, a::GPU, a::GPU_UUID, a::GPU_MODEL];

    /// Records by stage and fate. At each stage, the sum over all outcomes is what the stage before passed on;
    /// `ring` gets the shim's own metadata records on top. Those of the probes' stages (`bpf`, `probes`, `correlate`) are the
    /// agent's, of all processes together. See docs/metrics.md, "Accounting".
    OWN_RECORDS: Counter "gpu_agent.records" [""] [a::PID, a::EXECUTABLE, a::HOP, a::OUTCOME];
    /// Records by which the shim describes devices, contexts and sessions; they enter the pipeline at `ring`.
    OWN_METADATA: Counter "gpu_agent.records.metadata" [""] [a::PID, a::EXECUTABLE];
    /// Records of work in CUDA graphs. Of graphs that were made before the attach, operations are known by kernel name only.
    OWN_GRAPH_RECORDS: Counter "gpu_agent.records.graph" [""] [a::PID, a::EXECUTABLE, a::GRAPH_MADE];
    /// CUDA graphs at work that were made before the attach, or of which CUPTI does not tell when they were made.
    OWN_GRAPHS: Counter "gpu_agent.graphs" [""] [a::PID, a::EXECUTABLE, a::GRAPH_MADE];
    /// Records that CUPTI handed out before their end was known; counted as passed, their time is left out.
    OWN_INCOMPLETE: Counter "gpu_agent.records.incomplete" [""] [a::PID, a::EXECUTABLE];
    /// Records whose other half was never seen: a free without its allocation, a reduce kernel without its main. A return
    /// without its entry is in `gpu_agent.records{hop="correlate"}`.
    OWN_ORPHANS: Counter "gpu_agent.orphans" [""] [a::PID, a::EXECUTABLE, a::ORPHAN];
    /// Probes that are attached in a process.
    OWN_PROBES: Gauge "gpu_agent.probes.attached" [""] [a::PID, a::EXECUTABLE, a::ENGINE];
    /// Calls of probed functions that wait for their return.
    OWN_OPEN_CALLS: Gauge "gpu_agent.probes.calls.open" [""] [];
    /// Calls of probed functions whose duration is not known, because records were lost meanwhile or too many were open.
    OWN_UNTIMED_CALLS: Counter "gpu_agent.probes.calls.untimed" [""] [];
    /// Reads of the BPF programs that met an address which cannot be read; the value is left out.
    OWN_FAULTED_READS: Counter "gpu_agent.probes.reads.faulted" [""] [];
    /// Values of probed calls that could not be read or contradict themselves; they are left out.
    OWN_UNREADABLE: Counter "gpu_agent.probes.values.unreadable" [""] [];
    /// Kernel names for which a target's name table had no room.
    OWN_NAMES_FULL: Counter "gpu_agent.names.full" [""] [a::PID, a::EXECUTABLE];
    /// CPU time that the shim spent copying records, in the target.
    OWN_SHIM_CPU: Counter "gpu_agent.shim.cpu.time" ["s"] [a::PID, a::EXECUTABLE];
    /// Errors of CUPTI calls in the shim.
    OWN_CUPTI_ERRORS: Counter "gpu_agent.cupti.errors" [""] [a::PID, a::EXECUTABLE];
    /// Targets by state.
    OWN_TARGETS: Gauge "gpu_agent.targets" [""] [a::STATE];
    /// Series held.
    OWN_SERIES: Gauge "gpu_agent.series" [""] [];
    /// Records counted under `_other`, because the series limit was reached.
    OWN_SERIES_OVERFLOW: Counter "gpu_agent.series.overflow" [""] [];
    /// Allocations that `gpu.memory.usage` leaves out, because the address table was full.
    OWN_ALLOCATIONS_UNTRACKED: Counter "gpu_agent.allocations.untracked" [""] [];
    /// CPU time of the agent.
    OWN_CPU: Counter "gpu_agent.cpu.time" ["s"] [];
    /// Resident memory of the agent.
    OWN_RSS: Gauge "gpu_agent.memory.rss" ["By"] [];
    /// Steps of the realtime clock seen.
    OWN_CLOCK_STEPS: Counter "gpu_agent.clock.steps" [""] [];
    /// Largest error with which event times are converted to Unix time.
    OWN_CLOCK_ERROR: Gauge "gpu_agent.clock.error" ["s"] [];
    /// Time between the two latest looks into the rings.
    OWN_POLL_INTERVAL: Gauge "gpu_agent.poll.interval" ["s"] [];
    /// Exports (pushes, scrapes, writes) by exporter and outcome: `passed`, `failed`.
    OWN_EXPORTS: Counter "gpu_agent.exports" [""] [a::EXPORTER, a::OUTCOME];
    /// Points, or lines of the JSON log, by exporter and outcome: `passed`, `failed`, `rejected`, `dropped`.
    OWN_EXPORT_ITEMS: Counter "gpu_agent.export.items" [""] [a::EXPORTER, a::OUTCOME];
    /// Attempts to export after a first one that failed.
    OWN_EXPORT_RETRIES: Counter "gpu_agent.export.retries" [""] [a::EXPORTER];
    /// Bytes exported: as sent over HTTP or written to the file; over gRPC before compression.
    OWN_EXPORT_BYTES: Counter "gpu_agent.export.bytes" ["By"] [a::EXPORTER];
    /// Items that wait for an exporter.
    OWN_EXPORT_QUEUE: Gauge "gpu_agent.export.queue.length" [""] [a::EXPORTER];
    /// This agent; the value is always 1.
    OWN_INFO: Gauge "gpu_agent.info" [""] [a::VERSION];
}
