//! Lines for single events.
//!
//! Enters: an event and its target. Leaves: one line for each target of the log that the event belongs to and the
//! filter wants. Refuses: to guess: what the directory does not know is left out.
//!
//! | event | log target | level |
//! |---|---|---|
//! | kernel | `kernel` | debug |
//! | kernel that makes or ends a paged-attention call | `paged_attention` as well | debug |
//! | kernel that makes one: how it was launched, no time | `paged_attention_call` as well | debug |
//! | kernel that writes the KV cache | `paged_attention_reshape` as well | debug |
//! | kernel that moves KV-cache blocks | `paged_attention_cache` as well | debug |
//! | copy, memset, allocation or free | `memcpy`, `memset`, `memory` | debug |
//! | API call, wait, overhead, graph launch | `api`, `sync`, `overhead`, `graph` | debug |
//! | call of a probed entry point | `op`, or that of its class among those above | debug |
//! | paged-attention call, at its start | `paged_attention_call` as well | debug |
//! | each tensor of a call | `tensor_metrics` as well | debug |
//! | device, context, session | `session` | info |
//! | records dropped by CUPTI | `losses` | warn |

use std::collections::HashMap;
use std::sync::Arc;

use tracing::Level;

use super::filter::Filter;
use super::line::{Line, render};
use crate::classes::{Class, Operation};
use crate::clock::Anchor;
use crate::event::{
    Api, Context, Device, DeviceId, Dropped, Event, GraphMade, GraphTrace, Interval, Kernel, Memcpy, Memory,
    Memset, NameId, Overhead, Place, Session, Synchronization, TargetId,
};
use crate::export::events::{EventKind, Wanted};
use crate::export::{Directory, TargetInfo};
use crate::semconv::attribute::{GRAPH_MADE, made, timing};

/// Entries of each cache; past it the cache is emptied and filled anew.
const MAX_CACHED: usize = 65_536;

mod op;

use op::{OP, TENSOR_METRICS};

const KERNEL: &str = "kernel";
const PAGED_ATTENTION: &str = "paged_attention";
const PAGED_ATTENTION_CALL: &str = "paged_attention_call";
const PAGED_ATTENTION_RESHAPE: &str = "paged_attention_reshape";
const PAGED_ATTENTION_CACHE: &str = "paged_attention_cache";
const MEMCPY: &str = "memcpy";
const MEMSET: &str = "memset";
const MEMORY: &str = "memory";
const API: &str = "api";
const SYNC: &str = "sync";
const OVERHEAD: &str = "overhead";
const GRAPH: &str = "graph";
const SESSION: &str = "session";
const LOSSES: &str = "losses";

/// Targets and level by kind of event: what the filter is asked before an event enters the queue.
fn targets(kind: EventKind) -> (&'static [&'static str], Level) {
    match kind {
        EventKind::Kernel => (
            &[KERNEL, PAGED_ATTENTION, PAGED_ATTENTION_CALL, PAGED_ATTENTION_RESHAPE, PAGED_ATTENTION_CACHE],
            Level::DEBUG,
        ),
        EventKind::Memcpy => (&[MEMCPY], Level::DEBUG),
        EventKind::Memset => (&[MEMSET], Level::DEBUG),
        EventKind::Memory => (&[MEMORY], Level::DEBUG),
        EventKind::Api => (&[API], Level::DEBUG),
        EventKind::Synchronization => (&[SYNC], Level::DEBUG),
        EventKind::Overhead => (&[OVERHEAD], Level::DEBUG),
        EventKind::GraphTrace => (&[GRAPH], Level::DEBUG),
        EventKind::Device | EventKind::Context | EventKind::Session => (&[SESSION], Level::INFO),
        EventKind::Dropped => (&[LOSSES], Level::WARN),
        EventKind::Op => (
            &[
                PAGED_ATTENTION,
                PAGED_ATTENTION_CALL,
                PAGED_ATTENTION_RESHAPE,
                PAGED_ATTENTION_CACHE,
                OP,
                TENSOR_METRICS,
            ],
            Level::DEBUG,
        ),
    }
}

/// Kinds of which the filter wants any line.
pub(super) fn wanted(filter: &Filter) -> Wanted {
    EventKind::ALL
        .into_iter()
        .filter(|kind| {
            let (names, level) = targets(*kind);
            names.iter().any(|name| filter.enabled(name, level))
        })
        .fold(Wanted::default(), Wanted::with)
}

/// Fields rendered once for many lines.
type Fields = Arc<[u8]>;

/// What is known of a kernel name.
#[derive(Debug, Clone)]
struct KernelFields {
    fields: Fields,
    targets: Arc<[&'static str]>,
}

/// Renders events; keeps what lines have in common.
pub(super) struct Renderer {
    directory: Arc<dyn Directory>,
    filter: Filter,
    /// Of the batch that is being rendered.
    anchor: Anchor,
    processes: HashMap<TargetId, (Arc<TargetInfo>, Fields)>,
    devices: HashMap<(TargetId, DeviceId), Fields>,
    kernels: HashMap<(TargetId, NameId), KernelFields>,
}

impl Renderer {
    pub(super) fn new(directory: Arc<dyn Directory>, filter: Filter) -> Self {
        Self {
            directory,
            filter,
            anchor: Anchor::now(),
            processes: HashMap::new(),
            devices: HashMap::new(),
            kernels: HashMap::new(),
        }
    }

    /// The events that follow were read when `anchor` stood.
    pub(super) fn set_anchor(&mut self, anchor: Anchor) {
        self.anchor = anchor;
    }

    /// Forgets what was kept of targets that the directory no longer knows; none of their events comes any more.
    pub(super) fn forget_gone(&mut self) {
        let Self { directory, processes, devices, kernels, .. } = self;
        // What is said of a process can change: that its device is simulated shows when it loads the driver.
        processes.retain(|target, (info, _)| directory.target(*target).is_some_and(|now| now == *info));
        // Whatever has a line has a process: what is dropped here though its target lives is made anew.
        devices.retain(|(target, _), _| processes.contains_key(target));
        kernels.retain(|(target, _), _| processes.contains_key(target));
    }

    /// Appends the event's lines to `buffer`.
    pub(super) fn render(&mut self, buffer: &mut Vec<u8>, target: TargetId, event: &Event) {
        match event {
            Event::Kernel(kernel) => self.kernel(buffer, target, kernel),
            Event::Memcpy(memcpy) => self.memcpy(buffer, target, memcpy),
            Event::Memset(memset) => self.memset(buffer, target, memset),
            Event::Memory(memory) => self.memory(buffer, target, memory),
            Event::Api(api) => self.api(buffer, target, api),
            Event::Synchronization(wait) => self.synchronization(buffer, target, wait),
            Event::Overhead(overhead) => self.overhead(buffer, target, overhead),
            Event::GraphTrace(graph) => self.graph(buffer, target, graph),
            Event::Device(device) => self.device(buffer, target, device),
            Event::Context(context) => self.context(buffer, target, context),
            Event::Session(session) => self.session(buffer, target, session),
            Event::Dropped(dropped) => self.dropped(buffer, target, dropped),
            Event::Op(op) => self.op(buffer, target, op),
        }
    }

    fn kernel(&mut self, buffer: &mut Vec<u8>, target: TargetId, kernel: &Kernel) {
        let known = self.kernel_fields(target, kernel.name);
        for log_target in known.targets.iter().copied() {
            if !self.filter.enabled(log_target, Level::DEBUG) {
                continue;
            }
            let mut line = self.begin(buffer, kernel.interval.end_ktime_ns, log_target, target);
            line.rendered(&self.device_fields(target, kernel.place.device)).rendered(&known.fields);
            if log_target != PAGED_ATTENTION_CALL {
                gpu_time(&mut line, kernel.interval, kernel.incomplete);
            }
            place(&mut line, kernel.place);
            line.whole("correlation_id", kernel.correlation.0)
                .extent("grid", kernel.grid)
                .extent("block", kernel.block)
                .whole("registers", kernel.registers)
                .whole("shared_bytes", kernel.shared_bytes);
            line.end();
        }
    }

    fn memcpy(&mut self, buffer: &mut Vec<u8>, target: TargetId, memcpy: &Memcpy) {
        let mut line = self.begin(buffer, memcpy.interval.end_ktime_ns, MEMCPY, target);
        line.rendered(&self.device_fields(target, memcpy.place.device));
        gpu_time(&mut line, memcpy.interval, memcpy.incomplete);
        bytes(&mut line, memcpy.size_bytes, memcpy.interval, memcpy.incomplete);
        line.text("direction", memcpy.direction.name())
            .text("source", memcpy.source.name())
            .text("destination", memcpy.destination.name())
            .whole("destination_gpu", memcpy.destination_device.0)
            .whole("copies", memcpy.copies)
            .boolean("async", memcpy.is_async);
        place(&mut line, memcpy.place);
        line.whole("correlation_id", memcpy.correlation.0);
        line.end();
    }

    fn memset(&mut self, buffer: &mut Vec<u8>, target: TargetId, memset: &Memset) {
        let mut line = self.begin(buffer, memset.interval.end_ktime_ns, MEMSET, target);
        line.rendered(&self.device_fields(target, memset.place.device));
        gpu_time(&mut line, memset.interval, memset.incomplete);
        bytes(&mut line, memset.size_bytes, memset.interval, memset.incomplete);
        line.text("memory_kind", memset.memory.name());
        place(&mut line, memset.place);
        line.whole("correlation_id", memset.correlation.0);
        line.end();
    }

    fn memory(&mut self, buffer: &mut Vec<u8>, target: TargetId, memory: &Memory) {
        let mut line = self.begin(buffer, memory.ktime_ns, MEMORY, target);
        line.rendered(&self.device_fields(target, memory.place.device))
            .text("operation", if memory.is_allocation { "alloc" } else { "free" })
            .text("memory_kind", memory.memory.name())
            .whole("size_bytes", memory.size_bytes);
        if memory.address != Memory::NO_ADDRESS {
            line.whole("address", memory.address);
        }
        if memory.place.device != DeviceId::UNKNOWN {
            place(&mut line, memory.place);
            line.whole("correlation_id", memory.correlation.0);
        }
        line.end();
    }

    fn api(&mut self, buffer: &mut Vec<u8>, target: TargetId, api: &Api) {
        let function = self.directory.api(api.is_runtime, api.cbid);
        let mut line = self.begin(buffer, api.interval.end_ktime_ns, API, target);
        line.text("api", if api.is_runtime { "runtime" } else { "driver" });
        if let Some(function) = function {
            line.text("function", function);
        }
        host_time(&mut line, api.interval);
        line.whole("cbid", api.cbid).whole("status", api.status).whole("thread", api.thread.0);
        // CUPTI counts from 1; a probe sees no correlation.
        if api.correlation.0 != 0 {
            line.whole("correlation_id", api.correlation.0);
        }
        line.end();
    }

    fn synchronization(&mut self, buffer: &mut Vec<u8>, target: TargetId, wait: &Synchronization) {
        let mut line = self.begin(buffer, wait.interval.end_ktime_ns, SYNC, target);
        line.text("activity", wait.what);
        host_time(&mut line, wait.interval);
        line.whole("context", wait.context.0)
            .whole("stream", wait.stream.0)
            .whole("correlation_id", wait.correlation.0);
        line.end();
    }

    fn overhead(&mut self, buffer: &mut Vec<u8>, target: TargetId, overhead: &Overhead) {
        let mut line = self.begin(buffer, overhead.interval.end_ktime_ns, OVERHEAD, target);
        line.text("activity", overhead.what);
        host_time(&mut line, overhead.interval);
        line.end();
    }

    fn graph(&mut self, buffer: &mut Vec<u8>, target: TargetId, graph: &GraphTrace) {
        let mut line = self.begin(buffer, graph.interval.end_ktime_ns, GRAPH, target);
        line.rendered(&self.device_fields(target, graph.place.device));
        gpu_time(&mut line, graph.interval, false);
        place(&mut line, graph.place);
        line.whole("correlation_id", graph.correlation.0);
        line.end();
    }

    fn device(&mut self, buffer: &mut Vec<u8>, target: TargetId, device: &Device) {
        let mut line = self.now(buffer, SESSION, Level::INFO, target);
        line.text("event", "device")
            .whole("gpu", device.id.0)
            .text("gpu_uuid", &device.uuid.to_string())
            .text("gpu_model", &device.name)
            .whole("memory_bytes", device.memory_bytes)
            .whole("bandwidth_bytes_per_s", device.bandwidth_bytes_per_s)
            .whole("multiprocessors", device.multiprocessors)
            .text(
                "compute_capability",
                &format!("{}.{}", device.compute_capability.0, device.compute_capability.1),
            );
        if let Some((gpu_instance, compute_instance)) = device.mig {
            line.whole("mig_gpu_instance", gpu_instance).whole("mig_compute_instance", compute_instance);
        }
        line.end();
    }

    fn context(&mut self, buffer: &mut Vec<u8>, target: TargetId, context: &Context) {
        let mut line = self.now(buffer, SESSION, Level::INFO, target);
        line.text("event", "context").whole("context", context.id.0).whole("gpu", context.device.0);
        line.end();
    }

    fn session(&mut self, buffer: &mut Vec<u8>, target: TargetId, session: &Session) {
        let unix_ns = self.anchor.unix_ns(session.ktime_ns);
        let process = self.process_fields(target);
        let mut line = Line::begin(buffer, unix_ns, Level::INFO, SESSION);
        line.rendered(&process)
            .text("event", if session.armed { "armed" } else { "disarmed" })
            .whole("cupti_version", session.cupti_version)
            .whole("driver_version", session.driver_version);
        line.end();
    }

    fn dropped(&mut self, buffer: &mut Vec<u8>, target: TargetId, dropped: &Dropped) {
        let unix_ns = self.anchor.unix_ns(dropped.ktime_ns);
        let process = self.process_fields(target);
        let mut line = Line::begin(buffer, unix_ns, Level::WARN, LOSSES);
        line.rendered(&process)
            .text("hop", "cupti")
            .text("outcome", "dropped")
            .whole("records", dropped.count);
        line.end();
    }

    fn begin<'a>(
        &mut self,
        buffer: &'a mut Vec<u8>,
        ktime_ns: u64,
        log_target: &str,
        target: TargetId,
    ) -> Line<'a> {
        let unix_ns = self.anchor.unix_ns(ktime_ns);
        let process = self.process_fields(target);
        let mut line = Line::begin(buffer, unix_ns, Level::DEBUG, log_target);
        line.rendered(&process);
        line
    }

    /// For events without a time of their own.
    fn now<'a>(
        &mut self,
        buffer: &'a mut Vec<u8>,
        log_target: &str,
        level: Level,
        target: TargetId,
    ) -> Line<'a> {
        let process = self.process_fields(target);
        let mut line = Line::begin(buffer, crate::export::stats::unix_now_ns(), level, log_target);
        line.rendered(&process);
        line
    }

    fn process_fields(&mut self, target: TargetId) -> Fields {
        let directory = &self.directory;
        let known = cached(&mut self.processes, target, || {
            let process = directory.target(target)?;
            let fields = render(|line| {
                line.whole("pid", process.pid.0)
                    .text("executable", &process.executable)
                    .boolean("simulated", process.simulated);
            });
            Some((process, Fields::from(fields)))
        });
        known.map(|(_, fields)| fields).unwrap_or_default()
    }

    fn device_fields(&mut self, target: TargetId, device: DeviceId) -> Fields {
        if device == DeviceId::UNKNOWN {
            return Fields::default();
        }
        let directory = &self.directory;
        let known = cached(&mut self.devices, (target, device), || {
            let info = directory.device(target, device)?;
            Some(Fields::from(render(|line| {
                line.whole("gpu", device.0).text("gpu_uuid", &info.uuid).text("gpu_model", &info.model);
            })))
        });
        known.unwrap_or_else(|| {
            Fields::from(render(|line| {
                line.whole("gpu", device.0);
            }))
        })
    }

    fn kernel_fields(&mut self, target: TargetId, name: NameId) -> KernelFields {
        let directory = &self.directory;
        let known = cached(&mut self.kernels, (target, name), || {
            let kernel = directory.kernel(target, name)?;
            let fields = render(|line| {
                line.text("kernel_name", &kernel.display).text("kernel_class", kernel.class.name());
                if let Some(Operation::PagedAttention { use_v1: Some(use_v1) }) = kernel.operation {
                    line.boolean("use_v1", use_v1);
                }
            });
            let targets = kernel_targets(kernel.class, kernel.operation);
            Some(KernelFields { fields: fields.into(), targets: targets.into() })
        });
        known.unwrap_or_else(|| KernelFields { fields: Fields::default(), targets: [KERNEL].into() })
    }
}

/// Log targets of a kernel's executions.
fn kernel_targets(class: Class, operation: Option<Operation>) -> Vec<&'static str> {
    let mut targets = vec![KERNEL];
    match operation {
        Some(Operation::PagedAttention { .. }) => targets.extend([PAGED_ATTENTION, PAGED_ATTENTION_CALL]),
        Some(Operation::PagedAttentionReduce) => targets.push(PAGED_ATTENTION),
        Some(Operation::CacheUpdate) => targets.push(PAGED_ATTENTION_RESHAPE),
        None if class == Class::KvCopy => targets.push(PAGED_ATTENTION_CACHE),
        None => {}
    }
    targets
}

/// From the cache, or made and kept; what is not known yet is not kept.
fn cached<K, V>(cache: &mut HashMap<K, V>, key: K, make: impl FnOnce() -> Option<V>) -> Option<V>
where
    K: std::hash::Hash + Eq,
    V: Clone,
{
    if let Some(value) = cache.get(&key) {
        return Some(value.clone());
    }
    let value = make()?;
    if cache.len() >= MAX_CACHED {
        cache.clear();
    }
    cache.insert(key, value.clone());
    Some(value)
}

fn gpu_time(line: &mut Line<'_>, interval: Interval, incomplete: bool) {
    if incomplete {
        line.boolean("incomplete", true);
    } else {
        line.number("duration_ms", milliseconds(interval)).text("timing", timing::GPU);
    }
}

fn host_time(line: &mut Line<'_>, interval: Interval) {
    line.number("duration_ms", milliseconds(interval)).text("timing", timing::HOST);
}

fn milliseconds(interval: Interval) -> f64 {
    interval.duration_ns() as f64 / 1e6
}

/// Size, and bandwidth where the time is known. Bytes per nanosecond are 10⁹ bytes per second.
fn bytes(line: &mut Line<'_>, size_bytes: u64, interval: Interval, incomplete: bool) {
    line.whole("size_bytes", size_bytes);
    let duration_ns = interval.duration_ns();
    if !incomplete && duration_ns > 0 {
        line.number("gb_per_second", size_bytes as f64 / duration_ns as f64);
    }
}

fn place(line: &mut Line<'_>, place: Place) {
    line.whole("context", place.context.0).whole("stream", place.stream.0);
    if place.graph.0 != 0 || place.graph_node.0 != 0 {
        line.whole("graph", place.graph.0).whole("graph_node", place.graph_node.0);
    }
    match place.graph_made {
        GraphMade::Attached => {}
        GraphMade::Before => {
            line.text(GRAPH_MADE, made::BEFORE);
        }
        GraphMade::Unknown => {
            line.text(GRAPH_MADE, made::UNKNOWN);
        }
    }
}

#[cfg(test)]
mod tests;
